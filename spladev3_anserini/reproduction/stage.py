"""A stage of a pipeline: its commands, the inputs that decide its files, and these files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spladev3_anserini.impacts.shards import IMPACTS, MANIFEST, read_manifest

#: The inputs that decide a stage's files: hashes and values, by name.
Inputs = Mapping[str, str]

#: The parts of a pipeline, in the order data flows. `reproduce run` calls them stages.
PARTS = ("train", "download", "encode", "index", "check", "search", "evaluate")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of an experiment. `show` prints its commands, and `run` invokes them.

    Attributes:
        name: The name in the journal, such as `search dl19`.
        part: The one of PARTS that the stage belongs to.
        folder: The folder of the journal that records the stage.
        commands: Command lines, each as a list of words. There are several if each query set
            needs a command.
        replacements: Returns {word: replacement} for words that differ on this machine: a
            variable in a path, a model whose pickle was converted, a prebuilt index.
        inputs: Returns the values that decide the stage's files. Called when the earlier stages
            are done.
        outputs: Returns the files that the stage wrote. Called when it is done.
        record_values: Set if the numbers of the command are recorded. The command then runs with
            `--format json`. The function gets the parsed answer, writes it down, and returns a
            line for people.
        of: What the stage belongs to, in messages, such as `round 1 of 2`.
    """

    name: str
    part: str
    folder: Path
    commands: list[list[str]]
    replacements: Callable[[], Mapping[str, str]]
    inputs: Callable[[], Inputs]
    outputs: Callable[[], Iterable[Path]]
    record_values: Callable[[Any], str] | None = None
    of: str = ""

    @property
    def label(self) -> str:
        """The name in messages."""
        return f"{self.name} ({self.of})" if self.of else self.name


def option(name: str, value: object) -> list[str]:
    """Returns an option as words of a command line: `--name value`.

    None and False give no words. True gives only `--name`.
    """
    if value is None or value is False:
        return []
    return [f"--{name}"] if value is True else [f"--{name}", str(value)]


def encoded_files(folder: Path) -> Iterator[Path]:
    """Yields the files of an encoded directory that a stage records: the manifest and shards."""
    yield folder / MANIFEST
    for shard in read_manifest(folder).shards:
        yield folder / IMPACTS / shard.name
