"""The sources a collection names -> what the readers take, and a fingerprint of what is there."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.corpus import corpus_files
from spladev3_anserini.collection.ir_datasets_source import import_irds, irds_id
from spladev3_anserini.collection.qrels import qrels_file
from spladev3_anserini.collection.records import kind_of
from spladev3_anserini.collection.topics import topics_file
from spladev3_anserini.demo.insuranceqa import SPLITS
from spladev3_anserini.demo.python_docs import DEMO_FILES
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import refuse_links_out, sha256_of
from spladev3_anserini.recipe.schema import is_path

_DEMO, _INSURANCEQA = "demo:", "insuranceqa:"


class Download(NamedTuple):
    """The command that writes a collection's files, and the file that it writes last."""

    argv: list[str]
    file: Path


class Sources:
    """Finds what one file names, from its own folder or from `root`, a variable. Collections that
    are downloaded or generated go into `downloads`."""

    def __init__(self, file: Path, root: str | None, downloads: Path) -> None:
        self._file, self._root, self._downloads = file, root, downloads

    def download(self, source: str) -> Download | None:
        """What makes the files of a source, None where they are there already or elsewhere."""
        if source == f"{_DEMO}corpus":
            name, file = "demo", self._demo_file("corpus")
        elif source.startswith(_INSURANCEQA):
            name, file = "insuranceqa", self._insuranceqa_file("corpus")
        else:
            return None
        return Download(["spladev3-anserini", "download", name, "--output", str(file.parent)],
                        file)

    def shown(self, source: str) -> str:
        """A source as a command would name it; nothing is looked up or made."""
        if source.startswith(_DEMO):
            return str(self._demo_file(source.removeprefix(_DEMO)))
        if source.startswith(_INSURANCEQA):
            return str(self._insuranceqa_file(source.removeprefix(_INSURANCEQA)))
        if not is_path(source):
            return source
        return f"{self._root or self._file.parent}/{source}"

    def resolve(self, source: str) -> str:
        """A source as the readers take it.

        Raises InputError where the root is a variable that is not set, and for a path that leads
        out of it or to nothing.
        """
        if source.startswith((_DEMO, _INSURANCEQA)):
            return self.shown(source)
        if not is_path(source):
            return source
        root = self._file.parent
        if variable := self._root:
            named = os.environ.get(variable[1:])
            if not named:
                raise InputError(f"{self._file}: needs {variable}, the folder its data is in; "
                                 "set it and try again")
            root = Path(named)
        path = root / source
        if not path.resolve().is_relative_to(root.resolve()):
            raise InputError(f"{self._file}: the path {source!r} leads out of {root}")
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        if path.is_dir():
            read = [qrels_file(str(path)), *(file for file in path.iterdir() if kind_of(file))]
            refuse_links_out(root, read, str(root))
        return str(path)

    def _demo_file(self, name: str) -> Path:
        if name == "corpus":
            return self._downloads / f"python-{platform.python_version()}" / "corpus.jsonl"
        packaged = {file.partition(".")[0]: path for file, path in DEMO_FILES.items()}
        if name not in packaged:
            raise InputError(f"{self._file}: {_DEMO}{name}: expected corpus, topics or qrels")
        return packaged[name]

    def _insuranceqa_file(self, name: str) -> Path:
        names = {"corpus": "corpus.jsonl"} | {
            f"{kind}.{split}": f"{kind}.{split}.{ending}" for split in SPLITS
            for kind, ending in (("topics", "tsv"), ("qrels", "txt"))}
        if name not in names:
            raise InputError(f"{self._file}: {_INSURANCEQA}{name}: expected one of "
                             f"{', '.join(names)}")
        return self._downloads / "insuranceqa" / names[name]


def source_fingerprint(source: str, part: str) -> str:
    """A string that changes whenever the content of a resolved source may have changed: the hashes
    of local files. The files of ir_datasets, whose md5 is checked when they come, are known by id,
    version and place. `part` is docs, queries or qrels."""
    if dataset := irds_id(source):
        ir_datasets = import_irds(dataset)
        return f"{source} {ir_datasets.__version__} {ir_datasets.util.home_path()}"
    if part == "docs":
        files = corpus_files(Path(source))
    else:
        files = [(topics_file if part == "queries" else qrels_file)(source)]
    return " ".join(sha256_of(file) for file in files)
