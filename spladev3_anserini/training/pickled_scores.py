"""A pickle of {query: {document: score}} -> scores, read opcode by opcode without running it."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn

from spladev3_anserini.collection.records import checked_id
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import existing_file, refuse_pointer
from spladev3_anserini.progress import progress
from spladev3_anserini.training.score_files import Scores, finite_score, write_scores

#: Python's pickler stores 1,000 items of a dictionary at a time, so its stack stays small.
_DEEPEST = 10_000
_MOST_MARKS = 16
_MOST_DOCUMENTS = 1_000_000
_MOST_REMEMBERED = 400_000_000
_LONGEST_TEXT = 4096

#: The names that a pickle may have, and their kinds. Nothing is imported or called for them.
_NAMES = {
    "builtins dict": "type", "builtins float": "type", "builtins int": "type",
    "__builtin__ dict": "type", "__builtin__ float": "type", "__builtin__ int": "type",
    "collections defaultdict": "dictionary", "collections OrderedDict": "dictionary",
    "numpy dtype": "dtype",
    "numpy.core.multiarray scalar": "scalar", "numpy._core.multiarray scalar": "scalar",
}


class _Name(NamedTuple):
    kind: str


class _Dtype:
    """A numpy type of numbers; a later opcode sets its byte order."""

    FORMATS: ClassVar[dict[str, str]] = {"f4": "f", "f8": "d", "i4": "i", "i8": "q"}

    def __init__(self, code: str) -> None:
        self.format, self.order = self.FORMATS[code], "<"


def convert_pickle(path: Path, output: Path) -> int:
    """Writes the scores of a pickle, gzipped or not, as JSON lines; returns the number of queries.

    Memory holds some queries, and all ids that are texts. Raises InputError as `read_pickle` does,
    and then writes no output.
    """
    with progress(read_pickle(path), "converting", unit="query") as items:
        return write_scores(output, items)


def read_pickle(path: Path) -> Iterator[Scores]:
    """Yields the scores of each query of a pickle (protocol 2 to 5), gzipped or not.

    Queries are yielded while the file is read. Ids are texts or whole numbers. Scores are Python's
    numbers or, from protocol 3 on, numpy's of 32 or 64 bits. No module is imported and nothing is
    called, whatever the file names.

    Raises:
        InputError: The file holds anything other than {query: {document: score}}: another opcode
            or name, a query or document that occurs twice, or a score that is not finite. The
            message names the byte. Also if the file is cut short or damaged.
    """
    with existing_file(path).open("rb") as raw:
        refuse_pointer(path, raw.peek(64))
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        source: Any = gzip.GzipFile(fileobj=raw, mode="rb") if packed else raw
        try:
            yield from _PickleReader(path, io.BufferedReader(source, 1 << 20)).queries()
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise InputError(f"{path}: is damaged or ends early") from None


class _PickleReader:
    """The stack and memo of a pickle that is being read.

    Items of the outermost dictionary are yielded at once and not kept. The memo keeps neither
    dictionaries nor tuples: Python's pickler never refers to those of such a file again.
    """

    def __init__(self, path: Path, stream: io.BufferedReader) -> None:
        self._path, self._stream = path, stream
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: list[Any] = []
        self._texts: dict[str, str] = {}
        self._seen: set[str] = set()
        self._outer: dict[str, float] | None = None
        self._ready: list[Scores] = []

    def queries(self) -> Iterator[Scores]:
        """Yields each query after its last opcode."""
        if self._read(1) != b"\x80" or self._read(1)[0] not in range(2, 6):
            self._refuse("no pickle of protocol 2 to 5")
        handlers, read, stack = self._handlers(), self._stream.read, self._stack
        while (code := read(1)) != b".":
            if not code:
                raise EOFError
            if (handler := handlers.get(code)) is None:
                self._refuse(f"the opcode {code!r}")
            handler()
            if self._ready:
                yield from self._ready
                self._ready.clear()
            if len(stack) > _DEEPEST:
                self._refuse("a stack that no pickler writes")
        if len(stack) != 1 or stack[0] is not self._outer or not self._seen:
            self._refuse("no dictionary with a query in it")
        if read(1):  # a second pickle would not be converted
            self._refuse("bytes after its end")

    def _handlers(self) -> dict[bytes, Callable[[], object]]:
        """What each allowed opcode does."""
        push, read, unpack = self._stack.append, self._read, struct.unpack
        return {
            b"\x95": lambda: read(8),  # FRAME
            b"}": lambda: self._push_dictionary(),
            b"(": self._push_mark,
            b"N": lambda: push(None),
            b"\x88": lambda: push(True),
            b"\x89": lambda: push(False),
            b"J": lambda: push(unpack("<i", read(4))[0]),
            b"K": lambda: push(read(1)[0]),
            b"M": lambda: push(unpack("<H", read(2))[0]),
            b"\x8a": lambda: push(int.from_bytes(self._read_sized(1, 16), "little", signed=True)),
            b"G": lambda: push(unpack(">d", read(8))[0]),
            b"\x8c": lambda: push(self._decoded(self._read_sized(1, _LONGEST_TEXT))),
            b"X": lambda: push(self._decoded(self._read_sized(4, _LONGEST_TEXT))),
            b"C": lambda: push(self._read_sized(1, 8)),
            b"\x94": lambda: self._remember(len(self._memo)),
            b"q": lambda: self._remember(read(1)[0]),
            b"r": lambda: self._remember(unpack("<I", read(4))[0]),
            b"h": lambda: self._recall(read(1)[0]),
            b"j": lambda: self._recall(unpack("<I", read(4))[0]),
            b")": lambda: push(()),
            b"\x85": lambda: push(self._pop(1)),
            b"\x86": lambda: push(self._pop(2)),
            b"\x87": lambda: push(self._pop(3)),
            b"t": lambda: push(self._pop_to_mark()),
            b"s": lambda: self._set_items(self._pop(2)),
            b"u": lambda: self._set_items(self._pop_to_mark()),
            b"c": lambda: self._push_name(self._read_line(), self._read_line()),
            b"\x93": lambda: self._push_name(*self._pop(2)),
            b"R": lambda: self._push_call(*self._pop(2)),
            b"b": lambda: self._set_byte_order(*self._pop(2)),
        }

    def _read(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def _read_sized(self, width: int, most: int) -> bytes:
        size = int.from_bytes(self._read(width), "little")
        if size > most:
            self._refuse(f"a value of {size:,} bytes")
        return self._read(size)

    def _decoded(self, data: bytes) -> str:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            self._refuse("a text that is not UTF-8")
        if text not in self._texts:
            where = f"{self._path}: byte {self._stream.tell():,}"
            self._texts[checked_id(text, where)] = text
        return self._texts[text]

    def _read_line(self) -> str:
        line = self._stream.readline(300)
        if not line.endswith(b"\n"):
            self._refuse("a name without an end")
        return self._decoded(line[:-1])

    def _push_mark(self) -> None:
        self._marks.append(len(self._stack))
        if len(self._marks) > _MOST_MARKS:
            self._refuse("marks that no pickler writes")

    def _pop(self, count: int) -> tuple[Any, ...]:
        start = len(self._stack) - count
        if start < (self._marks[-1] if self._marks else 0):
            self._refuse("an opcode without its values")
        values = tuple(self._stack[start:])
        del self._stack[start:]
        return values

    def _pop_to_mark(self) -> tuple[Any, ...]:
        if not self._marks:
            self._refuse("an opcode without its mark")
        values = tuple(self._stack[self._marks[-1] :])
        del self._stack[self._marks.pop() :]
        return values

    def _remember(self, place: int) -> None:
        if place != len(self._memo) or place > _MOST_REMEMBERED or not self._stack:
            self._refuse("a memo that no pickler writes")
        top = self._stack[-1]
        self._memo.append(top if isinstance(top, str | float | int | _Name | _Dtype) else None)

    def _recall(self, place: int) -> None:
        if place >= len(self._memo) or self._memo[place] is None:
            self._refuse("a dictionary or tuple that is there twice")
        self._stack.append(self._memo[place])

    def _push_dictionary(self) -> None:
        dictionary: dict[str, float] = {}
        if self._outer is None and not self._stack:
            self._outer = dictionary
        self._stack.append(dictionary)

    def _set_items(self, values: tuple[Any, ...]) -> None:
        target = self._stack[-1] if self._stack else None
        if type(target) is not dict or len(values) % 2:
            self._refuse("items of no dictionary")
        pairs = zip(values[::2], values[1::2], strict=True)
        if target is self._outer:
            self._ready.extend(self._scores(key, value) for key, value in pairs)
            return
        before = len(target)
        target.update((self._id(key), self._score(value)) for key, value in pairs)
        if len(target) != before + len(values) // 2 or len(target) > _MOST_DOCUMENTS:
            self._refuse("a document that is there twice for a query (or more than a million)")

    def _scores(self, key: Any, value: Any) -> Scores:
        query = self._id(key)
        if type(value) is not dict or value is self._outer or not value:
            self._refuse(f"the query {query!r} without a dictionary of scores")
        if query in self._seen:
            self._refuse(f"the query {query!r} twice")
        self._seen.add(query)
        return Scores(query, value)

    def _id(self, key: Any) -> str:
        if type(key) is not int and type(key) is not str:
            self._refuse("an id that is neither a text nor a whole number")
        return str(key)

    def _score(self, value: Any) -> float:
        if type(value) is float and value - value == 0:  # finite, without a call
            return value
        if type(value) not in {float, int}:
            self._refuse("a score that is no number")
        return finite_score(value, f"{self._path}: byte {self._stream.tell():,}: a score")

    def _push_name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            self._refuse("a name that is no text")
        kind = _NAMES.get(f"{module} {name}")
        if kind is None:
            self._refuse(f"the name {module[:40]}.{name[:40]}")
        self._stack.append(_Name(kind))

    def _push_call(self, function: Any, arguments: Any) -> None:
        """Pushes the result of an allowed call: a dictionary, a dtype or a number."""
        kind = function.kind if type(function) is _Name else None
        values = arguments if type(arguments) is tuple else (None,)
        if kind == "dictionary" and all(type(v) is _Name and v.kind == "type" for v in values):
            self._push_dictionary()
        elif kind == "dtype" and values and type(values[0]) is str and values[0] in _Dtype.FORMATS:
            self._stack.append(_Dtype(values[0]))
        elif kind == "scalar" and [type(value) for value in values] == [_Dtype, bytes]:
            layout = values[0].order + values[0].format
            if struct.calcsize(layout) != len(values[1]):
                self._refuse("a number of another size than its type")
            self._stack.append(struct.unpack(layout, values[1])[0])
        else:
            self._refuse("a call")

    def _set_byte_order(self, dtype: Any, state: Any) -> None:
        order = state[1] if type(state) is tuple and len(state) > 1 else None
        # types first: to hash or compare nested values of the file could overflow Python's stack
        if type(dtype) is not _Dtype or type(order) is not str or order not in ("<", ">"):
            self._refuse("an object with a state")
        dtype.order = order
        self._stack.append(dtype)

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(f"{self._path}: byte {self._stream.tell():,}: has {what}; only "
                         "dictionaries {query: {document: score}} of texts and numbers are read, "
                         "and nothing of the file was run")
