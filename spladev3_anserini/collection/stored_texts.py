"""The texts of an index, in compressed blocks beside it -> the text of any document."""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spladev3_anserini.collection.mapped import mapped_file
from spladev3_anserini.collection.records import id_hash
from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.files import appearing

#: The name of the format's version among the versions of an index's manifest.
TEXTS = "texts"
#: The version that this package reads and writes.
TEXTS_FORMAT = "1"
#: The beginning of the names of the files.
TEXTS_PREFIX = f"{TEXTS}."

#: The first bytes of the file of blocks.
_HEAD = f"spladev3-anserini texts {TEXTS_FORMAT}\n".encode()
#: Bytes of ids and texts that are compressed together; a longer text has a block of its own.
_BLOCK = 1 << 14
#: Before each id and its text: their lengths in bytes.
_LENGTHS = struct.Struct("<II")


class _Part(NamedTuple):
    """The files of texts in one folder, mapped into memory.

    Attributes:
        file: The file of blocks.
        blocks: Its bytes: `_HEAD`, then zlib's blocks.
        starts: int64, one more than blocks: where each block begins, and where the last one ends.
        hashes: uint64, one per document, ascending: the hashes of the ids.
        numbers: uint32, one per hash: the block that has the document.
    """

    file: Path
    blocks: NDArray[np.uint8]
    starts: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    numbers: NDArray[np.uint32]

    def items(self, number: int) -> Iterator[tuple[str, str]]:
        """Yields the ids and texts of a block; raises InputError for a damaged one."""
        start, end = self.starts[number : number + 2].tolist()
        try:
            content = zlib.decompress(self.blocks[start:end].data)
            place = 0
            while place < len(content):
                of_id, of_text = _LENGTHS.unpack_from(content, place)
                place += _LENGTHS.size
                middle, end = place + of_id, place + of_id + of_text
                yield content[place:middle].decode(), content[middle:end].decode()
                place = end
        except (zlib.error, struct.error, UnicodeDecodeError) as error:
            raise InputError(f"{self.file}: damaged at byte {start:,}: {first_line(error)}; build "
                             "the index again: spladev3-anserini index --overwrite") from None


class StoredTexts:
    """The texts of an index's documents. Threads may share it.

    The files stay open and mapped, so the texts are those of the index that was opened, also if
    another one takes its place. `len` counts the documents.
    """

    def __init__(self, parts: list[_Part]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(len(part.hashes) for part in self._parts)

    def text(self, docid: str) -> str:
        """Returns the text of a document; raises KeyError if there is no such document.

        Raises InputError, naming the file, if its bytes are damaged.
        """
        try:
            own = np.uint64(id_hash(docid))
        except UnicodeEncodeError:  # no id has an unpaired surrogate
            raise KeyError(docid) from None
        for part in self._parts:
            low, high = (np.searchsorted(part.hashes, own, side) for side in ("left", "right"))
            for number in part.numbers[low:high].tolist():
                for identifier, text in part.items(number):
                    if identifier == docid:
                        return text
        raise KeyError(docid)

    def items(self) -> Iterator[tuple[str, str]]:
        """Yields all ids with their texts, in the order of the corpus; raises as `text`."""
        for part in self._parts:
            for number in range(len(part.starts) - 1):
                yield from part.items(number)


def open_texts(index: Path) -> StoredTexts | None:
    """Opens the texts of an index; None if it has none, or if one of its parts has none.

    Raises InputError, naming the file, if they are not of this format or not of one index.
    """
    folders = sorted(index.glob("parts/*-of-*")) or [index]
    if not all(_file(folder, "blocks").is_file() for folder in folders):
        return None
    return StoredTexts([_opened(folder) for folder in folders])


def write_texts(index: Path, texts: Iterable[tuple[str, str]]) -> int:
    """Writes the texts of documents into an index's folder, synced to disk; returns their number.

    Memory holds a block, and 12 bytes per document.

    Args:
        index: The folder.
        texts: The ids, each there once, with their texts.
    """
    hashes, numbers, starts = array("Q"), array("I"), array("q", [len(_HEAD)])
    with appearing(_file(index, "blocks"), "wb") as stream:
        stream.write(_HEAD)

        def write(content: bytearray) -> None:
            starts.append(starts[-1] + stream.write(zlib.compress(content)))

        block = bytearray()
        for identifier, text in texts:
            own, body = identifier.encode(), text.encode()
            if block and len(block) + len(own) + len(body) > _BLOCK:
                write(block)
                block.clear()
            block += _LENGTHS.pack(len(own), len(body)) + own + body
            hashes.append(id_hash(identifier))
            numbers.append(len(starts) - 1)
        if block:
            write(block)
    unsorted = np.frombuffer(hashes, np.uint64) if hashes else np.empty(0, np.uint64)
    order = np.argsort(unsorted, kind="stable")
    for name, values in (("starts", np.array(starts, np.int64)), ("hashes", unsorted[order]),
                         ("numbers", np.array(numbers, np.uint32)[order])):
        with appearing(_file(index, name), "wb") as stream:
            np.save(stream, values)
    return len(order)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{TEXTS_PREFIX}{name}{'' if name == 'blocks' else '.npy'}"


def _opened(folder: Path) -> _Part:
    """Maps the texts of one folder; raises InputError if their files do not fit together."""
    blocks, starts, hashes, numbers = arrays = [
        mapped_file(_file(folder, name)) for name in ("blocks", "starts", "hashes", "numbers")]
    file, kinds = _file(folder, "blocks"), (np.uint8, np.int64, np.uint64, np.uint32)
    if [(values.dtype, values.ndim) for values in arrays] != [
            (np.dtype(kind), 1) for kind in kinds] or not (
            bytes(blocks[: len(_HEAD)]) == _HEAD and len(hashes) == len(numbers)
            and len(starts) and starts[0] == len(_HEAD) and starts[-1] == len(blocks)
            and (np.diff(starts) > 0).all()
            and (not len(numbers) or numbers.max() < len(starts) - 1)):
        raise InputError(f"{file}: not the texts of this index, or of another format than "
                         f"{TEXTS_FORMAT}; build it again: spladev3-anserini index --overwrite")
    return _Part(file, blocks, starts, hashes, numbers)
