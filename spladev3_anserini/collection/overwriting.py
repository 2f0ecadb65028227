"""An output and the inputs of a command -> a refusal where both are one file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spladev3_anserini.collection.corpus import corpus_files
from spladev3_anserini.collection.ir_datasets_source import irds_id
from spladev3_anserini.collection.qrels import qrels_file
from spladev3_anserini.collection.topics import topics_file
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import is_stdout

_FROM_FOLDERS = {"topics": lambda source: [topics_file(source)],
                 "qrels": lambda source: [qrels_file(source)],
                 "corpus": lambda source: corpus_files(Path(source)),
                 "input": lambda source: corpus_files(Path(source))}
#: What a user may keep in the folder of an index or of a model, and write once more.
_RESULTS = {".txt", ".run", ".trec", ".tsv", ".html", ".svg", ".png"}
_VOCABULARIES = {"vocab.txt", "merges.txt"}


def refuse_overwriting(output: Path, option: str = "`output`",
                       **inputs: str | Path | Iterable[str | Path] | None) -> None:
    """Raises InputError where an output is a folder, or where it, or what a link there leads to, is
    a file that the command reads. `inputs` are named as the options are; of a folder, the files
    read there count.
    """
    if output.is_dir():
        raise InputError(f"{output}: is a folder, expected a file")
    if is_stdout(output) or not output.is_file():
        return
    for name, given in inputs.items():
        sources = [given] if isinstance(given, str | Path) else given or []
        for source in sources:
            if any(file.is_file() and output.samefile(file) for file in _files(name, str(source))):
                raise InputError(f"{option} {output}: is an input as well ({name}: {source}); "
                                 "choose another")


def _files(name: str, source: str) -> Iterable[Path]:
    path = Path(source)
    if irds_id(source) is not None or not path.is_dir():
        return [path]
    if name in _FROM_FOLDERS:
        try:
            return _FROM_FOLDERS[name](source)
        except InputError:  # the reader says it
            return []
    return (file for file in path.rglob("*") if file.name in _VOCABULARIES
            or file.with_name(file.name.removesuffix(".gz")).suffix not in _RESULTS)
