"""The sources that a collection names -> paths or ids for the readers."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.qrels import qrels_file
from spladev3_anserini.collection.records import kind_of
from spladev3_anserini.demo.insuranceqa import SPLITS
from spladev3_anserini.demo.python_docs import DEMO_FILES
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import refuse_links_out
from spladev3_anserini.recipe.schema import is_path

_DEMO, _INSURANCEQA = "demo:", "insuranceqa:"


class Download(NamedTuple):
    """A command that writes a collection's files, and the file that it writes last."""

    argv: list[str]
    file: Path


def root_folder(file: Path, variable: str) -> Path:
    """Returns the folder that a variable (with its `$`) leads to; raises InputError if it is not
    set, naming the recipe's or collection's file."""
    if not (value := os.environ.get(variable[1:])):
        raise InputError(f"{file}: needs {variable}, the folder its data is in; set it and try "
                         "again")
    return Path(value)


class Sources:
    """Resolves the corpora, topics and qrels that a collection's or recipe's file names.

    Args:
        file: The file that names the sources.
        root: The environment variable, with its `$`, of the folder where paths start. None means
            the file's folder.
        downloads: The folder of collections that are downloaded or generated.
    """

    def __init__(self, file: Path, root: str | None, downloads: Path) -> None:
        self._file, self._root, self._downloads = file, root, downloads

    def download(self, source: str) -> Download | None:
        """Returns the command that writes a source's files.

        None means that no command writes them: the source is a path or a data set of ir_datasets.
        """
        if source == f"{_DEMO}corpus":
            name, file = "demo", self._demo_file("corpus")
        elif source.startswith(_INSURANCEQA):
            name, file = "insuranceqa", self._insuranceqa_file("corpus")
        else:
            return None
        return Download(["spladev3-anserini", "download", name, "--output", str(file.parent)],
                        file)

    def argument(self, source: str) -> str:
        """Returns a source as an argument of a command; looks nothing up and creates nothing."""
        if source.startswith(_DEMO):
            return str(self._demo_file(source.removeprefix(_DEMO)))
        if source.startswith(_INSURANCEQA):
            return str(self._insuranceqa_file(source.removeprefix(_INSURANCEQA)))
        if not is_path(source):
            return source
        return f"{self._root or self._file.parent}/{source}"

    def resolve(self, source: str) -> str:
        """Returns a source as the readers take it: an existing path, or `ir_datasets:ID`.

        Raises InputError if the root variable is not set, and for a path that leads out of the
        root or does not exist.
        """
        if source.startswith((_DEMO, _INSURANCEQA)):
            return self.argument(source)
        if not is_path(source):
            return source
        root = root_folder(self._file, self._root) if self._root else self._file.parent
        path = root / source
        if not path.resolve().is_relative_to(root.resolve()):
            raise InputError(f"{self._file}: the path {source!r} leads out of {root}")
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        if path.is_dir():
            files = [qrels_file(str(path)), *(file for file in path.iterdir() if kind_of(file))]
            refuse_links_out(root, files, str(root))
        return str(path)

    def _demo_file(self, name: str) -> Path:
        if name == "corpus":
            return self._downloads / f"python-{platform.python_version()}" / "corpus.jsonl"
        packaged = {file.partition(".")[0]: path for file, path in DEMO_FILES.items()}
        if name not in packaged:
            raise InputError(f"{self._file}: {_DEMO}{name}: expected corpus, "
                             f"{' or '.join(packaged)}")
        return packaged[name]

    def _insuranceqa_file(self, name: str) -> Path:
        names = {"corpus": "corpus.jsonl"} | {
            f"{kind}.{split}": f"{kind}.{split}.{ending}" for split in SPLITS
            for kind, ending in (("topics", "tsv"), ("qrels", "txt"))}
        if name not in names:
            raise InputError(f"{self._file}: {_INSURANCEQA}{name}: expected one of "
                             f"{', '.join(names)}")
        return self._downloads / "insuranceqa" / names[name]
