"""The journal of an experiment: which stages are done, with which inputs and output files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from spladev3_anserini import progress
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, read_bytes, sha256_of, short
from spladev3_anserini.reproduction.stage import Inputs, Stage

#: The file of a folder's journal.
JOURNAL = "stages.json"


class _StageRecord(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inputs: dict[str, str]
    outputs: dict[str, str] | None = None


class _Stages(BaseModel):
    model_config = ConfigDict(extra="forbid")
    stages: dict[str, _StageRecord] = {}


class Journal:
    """Records the finished stages of one folder; a context manager that holds the folder's lock.

    A stage is skipped, with a message, if neither its inputs nor the bytes of its output files
    have changed since it ran.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._record = _Stages()
        self._lock = FileLock(folder / ".lock")

    def __enter__(self) -> Journal:
        """Creates and locks the folder, and reads its journal; a damaged journal is ignored.

        Raises InputError if another run holds the lock.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{self._folder}: another run is at work here; wait for it") from None
        with contextlib.suppress(ValidationError):
            if (self._folder / JOURNAL).exists():
                self._record = _Stages.model_validate_json(read_bytes(self._folder / JOURNAL))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._lock.release()

    def run(self, stage: Stage, work: Callable[[], str]) -> None:
        """Runs a stage unless it is done, and reports either.

        `work` does the stage's work and returns a line for people.
        """
        name, inputs = stage.name, stage.inputs()
        if not (reason := self._reason_to_run(name, inputs)):
            report_stage(stage.label, "skipped: unchanged")
            return
        earlier = self._record.stages.get(name)
        self._record.stages[name] = _StageRecord(inputs=dict(inputs))
        self._write()
        started = time.monotonic()
        summary = work()
        self._record.stages[name].outputs = {
            str(path.relative_to(self._folder)): sha256_of(path) for path in stage.outputs()}
        self._write()
        again = "" if earlier is None or earlier.outputs is None else f"again ({reason}): "
        report_stage(stage.label, f"{again}{summary}  ({time.monotonic() - started:.0f} s)")

    def require(self, stage: Stage) -> None:
        """Raises InputError unless a stage is done that this run does not include."""
        if reason := self._reason_to_run(stage.name, stage.inputs()):
            raise InputError(f"`stages`: the stage {stage.label} must be done first ({reason})")

    def _reason_to_run(self, name: str, inputs: Inputs) -> str:
        """Returns why a stage must run; an empty string if it is done and unchanged."""
        record = self._record.stages.get(name)
        if record is None:
            return "not done"
        for key in inputs.keys() | record.inputs.keys():
            old, new = record.inputs.get(key), inputs.get(key)
            if old != new:
                return f"{key} was {short(old)}, is {short(new)}"
        if record.outputs is None:
            return "was interrupted"
        for path, digest in record.outputs.items():
            file = self._folder / path
            if not file.is_file():
                return f"{path} is gone"
            if sha256_of(file) != digest:
                return f"{path} was changed"
        return ""

    def _write(self) -> None:
        with appearing(self._folder / JOURNAL) as stream:
            stream.write(self._record.model_dump_json(indent=1) + "\n")


def report_stage(stage: str, what: str) -> None:
    """Prints one line about a stage on standard output."""
    progress.say(f"{stage:<20}  {what}")
