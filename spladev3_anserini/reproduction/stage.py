"""A stage of a pipeline: one command, what decides its files, and the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: What decides a stage's files: hashes and values by name.
Inputs = Mapping[str, str]

#: The parts of a pipeline, as --stages names them, in the order data flows.
PARTS = ("train", "download", "encode", "index", "check", "search", "evaluate")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What `show` prints, `run` invokes, and a journal has a record of.

    Attributes:
        name: How the journal and its reader know it, such as `search dl19`.
        part: The one of PARTS that it belongs to.
        folder: The folder of its journal.
        commands: Words of the command line. Several where each query set has its own.
        words: What stands for a word of a command on this machine: the value of a variable in a
            path, a model whose pickle was converted, the folder of a prebuilt index.
        inputs: What decides its files. Asked for when the stages before it are done.
        outputs: The files it leaves. Asked for when it is done.
        keep: For a command whose numbers are kept: it is invoked with `--format json`, and this
            writes its answer down and returns a line for people.
    """

    name: str
    part: str
    folder: Path
    commands: list[list[str]]
    words: Callable[[], Mapping[str, str]]
    inputs: Callable[[], Inputs]
    outputs: Callable[[], Iterable[Path]]
    keep: Callable[[Any], str] | None = None


def option(name: str, value: object) -> list[str]:
    """An option and its value as words; none for None and False, the name alone for True."""
    if value is None or value is False:
        return []
    return [f"--{name}"] if value is True else [f"--{name}", str(value)]
