"""Which stages are done, with which inputs, and what they left."""

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

_NAME = "stages.json"


class _Done(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inputs: dict[str, str]
    outputs: dict[str, str] | None = None


class _Stages(BaseModel):
    model_config = ConfigDict(extra="forbid")
    stages: dict[str, _Done] = {}


class Journal:
    """The stages of one cell; use it as a context manager, which holds a lock.

    A stage whose inputs are those of last time, and whose outputs are byte for byte as it left
    them, is skipped and says so.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._record = _Stages()
        self._lock = FileLock(folder / ".lock")

    def __enter__(self) -> Journal:
        """Makes the folder and reads its journal; one that is damaged begins again. Raises
        InputError where another run is at work there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{self._folder}: another run is at work here; wait for it") from None
        with contextlib.suppress(ValidationError):
            if (self._folder / _NAME).exists():
                self._record = _Stages.model_validate_json(read_bytes(self._folder / _NAME))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._lock.release()

    def run(self, stage: Stage, work: Callable[[], str]) -> None:
        """Runs a stage unless it is done. `work` returns a line for people."""
        name, inputs = stage.name, stage.inputs()
        if not (changed := self._changed(name, inputs)):
            say_of_stage(name, "skipped: unchanged")
            return
        before = self._record.stages.get(name)
        self._record.stages[name] = _Done(inputs=dict(inputs))
        self._write()
        begun = time.monotonic()
        summary = work()
        self._record.stages[name].outputs = {
            str(path.relative_to(self._folder)): sha256_of(path) for path in stage.outputs()}
        self._write()
        again = "" if before is None or before.outputs is None else f"again ({changed}): "
        say_of_stage(name, f"{again}{summary}  ({time.monotonic() - begun:.0f} s)")

    def require(self, stage: Stage) -> None:
        """Raises InputError unless a stage that was not asked for is done."""
        if changed := self._changed(stage.name, stage.inputs()):
            raise InputError(f"`stages`: the stage {stage.name} is to be done first ({changed})")

    def _changed(self, name: str, inputs: Inputs) -> str:
        """What is new about a stage, empty if nothing is."""
        stage = self._record.stages.get(name)
        if stage is None:
            return "not done"
        for key in inputs.keys() | stage.inputs.keys():
            old, new = stage.inputs.get(key), inputs.get(key)
            if old != new:
                return f"{key} was {short(old)}, is {short(new)}"
        if stage.outputs is None:
            return "was interrupted"
        for path, digest in stage.outputs.items():
            file = self._folder / path
            if not file.is_file():
                return f"{path} is gone"
            if sha256_of(file) != digest:
                return f"{path} was changed"
        return ""

    def _write(self) -> None:
        with appearing(self._folder / _NAME) as stream:
            stream.write(self._record.model_dump_json(indent=1) + "\n")


def say_of_stage(stage: str, what: str) -> None:
    """One line about a stage on standard output."""
    progress.say(f"{stage:<20}  {what}")
