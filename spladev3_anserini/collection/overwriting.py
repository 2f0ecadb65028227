"""An output and the inputs of a command -> an error if the output is one of the inputs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spladev3_anserini.collection.corpus import corpus_files
from spladev3_anserini.collection.ir_datasets_source import irds_id
from spladev3_anserini.collection.qrels import qrels_file
from spladev3_anserini.collection.topics import topics_file
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import is_stdout

#: The files that are read from a folder, by the name of the option.
_FILES_IN_FOLDER = {"topics": lambda source: [topics_file(source)],
                    "qrels": lambda source: [qrels_file(source)],
                    "corpus": lambda source: corpus_files(Path(source)),
                    "input": lambda source: corpus_files(Path(source))}
#: Results that a user may keep in the folder of an index or of a model, and may overwrite.
_RESULT_SUFFIXES = {".txt", ".run", ".trec", ".tsv", ".html", ".svg", ".png"}
_VOCABULARIES = {"vocab.txt", "merges.txt"}


def refuse_overwriting(output: Path, option: str = "`output`",
                       **inputs: str | Path | Iterable[str | Path] | None) -> None:
    """Raises InputError if an output is a folder, or a file that the command reads.

    Links are followed.

    Args:
        output: The file to write.
        option: The output's option, for the message.
        inputs: One or several inputs by the name of their option. Of a folder, only the files that
            the command reads are compared.
    """
    if output.is_dir():
        raise InputError(f"{output}: is a folder, expected a file")
    if is_stdout(output) or not output.is_file():
        return
    for name, value in inputs.items():
        sources = [value] if isinstance(value, str | Path) else value or []
        for source in sources:
            if any(file.is_file() and output.samefile(file) for file in _files(name, str(source))):
                raise InputError(f"{option} {output}: is an input as well ({name}: {source}); "
                                 "choose another")


def _files(name: str, source: str) -> Iterable[Path]:
    path = Path(source)
    if irds_id(source) is not None or not path.is_dir():
        return [path]
    if name in _FILES_IN_FOLDER:
        try:
            return _FILES_IN_FOLDER[name](source)
        except InputError:  # the reader will report it
            return []
    return (file for file in path.rglob("*") if file.name in _VOCABULARIES
            or file.with_name(file.name.removesuffix(".gz")).suffix not in _RESULT_SUFFIXES)
