"""A corpus or topics -> places in it, and the texts from a place on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.addresses import Address, shown_source, state_of
from spladev3_anserini.collection.corpus import files_of_corpus, read_corpus
from spladev3_anserini.collection.corpus_file import Rejects, documents_from
from spladev3_anserini.collection.ir_datasets_source import irds_id
from spladev3_anserini.collection.records import IdentifiedText, kind_of
from spladev3_anserini.collection.tables import is_table, row_place
from spladev3_anserini.collection.topics import read_topics, topics_file
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import existing_file

#: Bytes of a corpus that are read in one go, at most, unless a file cannot be divided.
CHUNK = 1 << 28


class TextPlace(NamedTuple):
    """Where a text begins.

    Attributes:
        file: The name of its file in the corpus's folder; empty if the corpus is one file.
        start: The bytes of this file before it, unpacked; the rows of a table before it; the texts
            before it in topics and in ir_datasets, which can only be read from the beginning.
        line: The lines, rows or texts before it.
    """

    file: str
    start: int
    line: int


class Stretch(NamedTuple):
    """A file of a corpus, or a part of it: its first place, and the byte at which it ends.

    `end` is None at the end of the file. The line is not known in the middle of a file: it is 1.
    """

    place: TextPlace
    end: int | None


class LocatedText(NamedTuple):
    """A text and its place."""

    text: IdentifiedText
    place: TextPlace


def sizes_of_files(source: str, side: str) -> tuple[tuple[str, int], ...]:
    """Returns the names and sizes in bytes of a corpus's files; none for other sources.

    Raises InputError as `files_of_corpus`.
    """
    if is_read_from_its_beginning(source, side):
        return ()
    return tuple((name, _size_of(path)) for name, path in files_of_corpus(source).items())


def _size_of(path: Path | Address) -> int:
    return state_of(path).size if isinstance(path, Address) else existing_file(path).stat().st_size


def is_read_from_its_beginning(source: str, side: str) -> bool:
    """Whether a text can only be reached by reading all texts before it."""
    return side != "document" or bool(irds_id(source))


def chunks_of(source: str, side: str, size: int = CHUNK) -> list[list[Stretch]]:
    """Divides a corpus into chunks, which may be read at the same time.

    A chunk is a part of a large file, or consecutive files of up to `size` bytes in all. Gzipped
    files, CSV files, tables and files at addresses are not divided. Topics and data sets of
    ir_datasets are one chunk. So is every corpus of at most `size` bytes.

    Args:
        source: The corpus or the topics.
        side: `document` or `query`.
        size: The bytes of a chunk.

    Returns:
        The chunks, in the order of the texts.

    Raises:
        InputError: There is no such file, or as `files_of_corpus`.
    """
    if is_read_from_its_beginning(source, side):
        if not irds_id(source):
            existing_file(topics_file(source))  # a stream could not be read twice
        return [[Stretch(TextPlace("", 0, 0), None)]]
    chunks: list[list[Stretch]] = []
    room = 0
    for name, path in files_of_corpus(source).items():
        length = _size_of(path)
        if length > size and isinstance(path, Path) and _can_be_divided(path):
            starts = _line_starts(path, range(0, length, size))
            chunks += [[Stretch(TextPlace(name, start, int(start > 0)), end)]
                       for start, end in zip(starts, [*starts[1:], None], strict=True)]
            room = 0
            continue
        if not chunks or length > room:
            chunks.append([])
            room = size
        chunks[-1].append(Stretch(TextPlace(name, 0, 0), None))
        room -= length
    return chunks


def _can_be_divided(path: Path) -> bool:
    """Whether lines can be counted from any byte on; a quoted cell of CSV may have a line end."""
    return not is_table(path) and kind_of(path) != "csv" and path.suffix.lower() != ".gz"


def _line_starts(path: Path, offsets: Sequence[int]) -> list[int]:
    """Returns where the first line at or after each byte begins, without repetitions."""
    starts = [0]
    with path.open("rb") as stream:
        for offset in offsets[1:]:
            stream.seek(offset - 1)
            while (line := stream.readline(1 << 20)) and not line.endswith(b"\n"):
                pass
            if starts[-1] < stream.tell() < path.stat().st_size:
                starts.append(stream.tell())
    return starts


def count_lines(source: str, stretch: Stretch) -> int:
    """Counts the lines of a stretch of a file on disk that is not gzipped."""
    count, left = 0, (stretch.end or 0) - stretch.place.start
    path = _file_of(source, files_of_corpus(source), stretch.place)
    assert isinstance(path, Path)  # a file at an address is not divided
    with path.open("rb") as stream:
        stream.seek(stretch.place.start)
        while left > 0 and (block := stream.read(min(left, 1 << 20))):
            count += block.count(b"\n")
            left -= len(block)
    return count


def texts_of_chunk(source: str, side: str, chunk: Sequence[Stretch],
                   rejects: Rejects | None = None) -> Iterator[LocatedText]:
    """Yields the texts of a chunk; raises InputError as `read_corpus` and `read_topics` do.

    Args:
        source: The corpus or the topics.
        side: `document` or `query`.
        chunk: What to read of it.
        rejects: Collects the bad lines of a corpus, which are then skipped.
    """
    if is_read_from_its_beginning(source, side):
        first = chunk[0].place.start
        texts = read_corpus(source, rejects) if side == "document" else iter(read_topics(source))
        for number, text in enumerate(islice(texts, first, None), first):
            yield LocatedText(text, TextPlace("", number, number))
        return
    files = files_of_corpus(source)
    for place, end in chunk:
        for text, start, line in documents_from(_file_of(source, files, place), rejects,
                                                place.start, place.line, end):
            yield LocatedText(text, TextPlace(place.file, start, line))


def texts_from(source: str, side: str, place: TextPlace,
               rejects: Rejects | None = None) -> Iterator[LocatedText]:
    """Yields all texts from a place to the end of the corpus, as `texts_of_chunk` does."""
    names = [] if is_read_from_its_beginning(source, side) else list(files_of_corpus(source))
    following = names[names.index(place.file) + 1 :] if place.file in names else []
    yield from texts_of_chunk(source, side, [
        Stretch(place, None), *(Stretch(TextPlace(name, 0, 0), None) for name in following)],
        rejects)


def shown_place(source: str, place: TextPlace) -> str:
    """Returns a place as text for messages: file and line, or row."""
    file = f"{shown_source(source)}/{place.file}" if place.file else shown_source(source)
    return row_place(Path(file), place.line + 1) if is_table(Path(file)) else (
        f"{file}:{place.line + 1}")


def _file_of(source: str, files: Mapping[str, Path | Address], place: TextPlace) -> Path | Address:
    """Returns a place's file; raises InputError if the corpus has no such file any more."""
    if place.file not in files:
        raise InputError(f"{shown_source(source)}: has no file {place.file or 'of its own name'} "
                         "any more; plan again")
    return files[place.file]
