"""The sources a collection names -> what the readers take, and a mark of what is there."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from spladev3_anserini.collection.corpus import corpus_files
from spladev3_anserini.collection.ir_datasets_source import import_irds, irds_id
from spladev3_anserini.collection.qrels import qrels_file
from spladev3_anserini.collection.records import kind_of
from spladev3_anserini.collection.topics import topics_file
from spladev3_anserini.demo.insuranceqa import SPLITS, write_insuranceqa
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import refuse_links_out, sha256_of
from spladev3_anserini.recipe.schema import is_path

_DEMO, _INSURANCEQA = "demo:", "insuranceqa:"


class Sources:
    """Resolves what one file names, from its own folder or from `root`, a variable; `made` is where
    a generated corpus goes."""

    def __init__(self, file: Path, root: str | None, made: Path) -> None:
        self._file, self._root, self._made = file, root, made

    def commands(self, source: str) -> list[list[str]]:
        """The commands that make the file of a source, where it is one that is made."""
        if source == f"{_DEMO}corpus":
            target = Path(self.shown(source))
            return [["mkdir", "-p", str(target.parent)], demo_command(target)]
        if source.startswith(_INSURANCEQA):
            return [insuranceqa_command(self._made / "insuranceqa")]
        return []

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
        """A source as the readers take it, what is generated made where it is not there.

        Raises InputError where the root is a variable that is not set, and for a path that leads
        out of it or to nothing.
        """
        if source.startswith(_DEMO):
            file = self._demo_file(source.removeprefix(_DEMO))
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                _run(demo_command(file), file)
            return str(file)
        if source.startswith(_INSURANCEQA):
            file = self._insuranceqa_file(source.removeprefix(_INSURANCEQA))
            if not (file.parent / "corpus.jsonl").exists():
                write_insuranceqa(file.parent)
            return str(file)
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
            read = [qrels_file(str(path)), *(own for own in path.iterdir() if kind_of(own))]
            refuse_links_out(root, read, str(root))
        return str(path)

    def _demo_file(self, name: str) -> Path:
        packaged = {"topics": "topics.tsv", "qrels": "qrels.txt"}
        if name == "corpus":
            return self._made / f"python-{platform.python_version()}" / "corpus.jsonl"
        if name not in packaged:
            raise InputError(f"{self._file}: {_DEMO}{name}: expected corpus, topics or qrels")
        return Path(str(files("spladev3_anserini.demo").joinpath(packaged[name])))

    def _insuranceqa_file(self, name: str) -> Path:
        names = {"corpus": "corpus.jsonl"} | {
            f"{kind}.{split}": f"{kind}.{split}.{ending}" for split in SPLITS
            for kind, ending in (("topics", "tsv"), ("qrels", "txt"))}
        if name not in names:
            raise InputError(f"{self._file}: {_INSURANCEQA}{name}: expected one of "
                             f"{', '.join(names)}")
        return self._made / "insuranceqa" / names[name]


def _run(command: list[str], file: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"its command ended with {done.returncode}"]
        raise InputError(f"{file}: cannot be made: {said[-1]}")


def demo_command(target: Path) -> list[str]:
    """The command that writes the running Python's documentation as a corpus."""
    script = str(files("spladev3_anserini.demo").joinpath("pydocs.py"))
    return [sys.executable, "-I", "-S", "-E", script, str(target)]


def insuranceqa_command(folder: Path) -> list[str]:
    """The command that fetches InsuranceQA and writes it as corpus, topics and qrels."""
    return [sys.executable, "-P", "-m", "spladev3_anserini", "download", "insuranceqa",
            "--output", str(folder)]


def mark(source: str, part: str) -> str:
    """Changes whenever what is behind a resolved source may have: a hash of local files. The files
    of ir_datasets, checked by their md5 when they come, are known by id, version and place."""
    if dataset := irds_id(source):
        ir_datasets = import_irds(dataset)
        return f"{source} {ir_datasets.__version__} {ir_datasets.util.home_path()}"
    if part == "docs":
        found = corpus_files(Path(source))
    else:
        found = [(topics_file if part == "queries" else qrels_file)(source)]
    return " ".join(sha256_of(file) for file in found)
