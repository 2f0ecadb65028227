"""A pickle of {query: {document: score}} -> scores, read opcode by opcode, nothing of it run."""

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

#: Python's pickler stores 1,000 items of a dictionary at a time, so an honest stack is small.
_DEEPEST = 10_000
_MOST_MARKS = 16
_MOST_DOCUMENTS = 1_000_000
_MOST_REMEMBERED = 400_000_000
_LONGEST_TEXT = 4096

#: What a pickle may name, and as what it is taken: for none of them is anything imported or called.
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
    """A numpy type of numbers; its byte order comes after it."""

    FORMATS: ClassVar[dict[str, str]] = {"f4": "f", "f8": "d", "i4": "i", "i8": "q"}

    def __init__(self, code: str) -> None:
        self.format, self.order = self.FORMATS[code], "<"


def convert_pickle(path: Path, output: Path) -> int:
    """Writes the scores of a pickle, gzipped or not, as JSON lines; returns how many queries.

    Memory holds some queries, and all ids where they are texts. Raises InputError as
    `read_pickle`, and leaves nothing then.
    """
    with progress(read_pickle(path), "converting", unit="query") as items:
        return write_scores(output, items)


def read_pickle(path: Path) -> Iterator[Scores]:
    """Yields the scores of each query of a pickle (protocol 2 to 5), gzipped or not, as they are
    read. Ids are texts or whole numbers, scores Python's numbers or, from protocol 3 on, numpy's of
    32 or 64 bits. No module is imported and no callable called, whatever the file names.

    Raises InputError naming the byte for anything else than {query: {document: score}}: another
    opcode or name, a query or a document that is there twice, a score that is not finite; and for
    a file that is cut short or damaged.
    """
    with existing_file(path).open("rb") as raw:
        refuse_pointer(path, raw.peek(64))
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        source: Any = gzip.GzipFile(fileobj=raw, mode="rb") if packed else raw
        try:
            yield from _Machine(path, io.BufferedReader(source, 1 << 20)).run()
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise InputError(f"{path}: is damaged or ends early") from None


class _Machine:
    """A pickle's stack and memo. Items of the outermost dictionary are given out as they come and
    not kept; neither are other dictionaries and tuples, to which no honest file refers again."""

    def __init__(self, path: Path, stream: io.BufferedReader) -> None:
        self._path, self._stream = path, stream
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: list[Any] = []
        self._texts: dict[str, str] = {}
        self._seen: set[str] = set()
        self._outer: dict[str, float] | None = None
        self._ready: list[Scores] = []

    def run(self) -> Iterator[Scores]:
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
                self._refuse("a stack as no pickler makes it")
        if len(stack) != 1 or stack[0] is not self._outer or not self._seen:
            self._refuse("no dictionary with a query in it")
        if read(1):  # a second pickle would not be converted
            self._refuse("bytes after its end")

    def _handlers(self) -> dict[bytes, Callable[[], object]]:
        push, read, unpack = self._stack.append, self._read, struct.unpack
        return {
            b"\x95": lambda: read(8),  # FRAME
            b"}": lambda: self._push_dictionary(),
            b"(": self._mark,
            b"N": lambda: push(None),
            b"\x88": lambda: push(True),
            b"\x89": lambda: push(False),
            b"J": lambda: push(unpack("<i", read(4))[0]),
            b"K": lambda: push(read(1)[0]),
            b"M": lambda: push(unpack("<H", read(2))[0]),
            b"\x8a": lambda: push(int.from_bytes(self._sized(1, 16), "little", signed=True)),
            b"G": lambda: push(unpack(">d", read(8))[0]),
            b"\x8c": lambda: push(self._text(self._sized(1, _LONGEST_TEXT))),
            b"X": lambda: push(self._text(self._sized(4, _LONGEST_TEXT))),
            b"C": lambda: push(self._sized(1, 8)),
            b"\x94": lambda: self._remember(len(self._memo)),
            b"q": lambda: self._remember(read(1)[0]),
            b"r": lambda: self._remember(unpack("<I", read(4))[0]),
            b"h": lambda: self._recall(read(1)[0]),
            b"j": lambda: self._recall(unpack("<I", read(4))[0]),
            b")": lambda: push(()),
            b"\x85": lambda: push(self._popped(1)),
            b"\x86": lambda: push(self._popped(2)),
            b"\x87": lambda: push(self._popped(3)),
            b"t": lambda: push(self._to_mark()),
            b"s": lambda: self._set(self._popped(2)),
            b"u": lambda: self._set(self._to_mark()),
            b"c": lambda: self._named(self._line(), self._line()),
            b"\x93": lambda: self._named(*self._popped(2)),
            b"R": lambda: self._reduced(*self._popped(2)),
            b"b": lambda: self._built(*self._popped(2)),
        }

    def _read(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def _sized(self, width: int, most: int) -> bytes:
        size = int.from_bytes(self._read(width), "little")
        if size > most:
            self._refuse(f"a value of {size:,} bytes")
        return self._read(size)

    def _text(self, data: bytes) -> str:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            self._refuse("a text that is not UTF-8")
        if text not in self._texts:
            where = f"{self._path}: byte {self._stream.tell():,}"
            self._texts[checked_id(text, where)] = text
        return self._texts[text]

    def _line(self) -> str:
        line = self._stream.readline(300)
        if not line.endswith(b"\n"):
            self._refuse("a name without an end")
        return self._text(line[:-1])

    def _mark(self) -> None:
        self._marks.append(len(self._stack))
        if len(self._marks) > _MOST_MARKS:
            self._refuse("marks as no pickler makes them")

    def _popped(self, count: int) -> tuple[Any, ...]:
        start = len(self._stack) - count
        if start < (self._marks[-1] if self._marks else 0):
            self._refuse("an opcode without its values")
        values = tuple(self._stack[start:])
        del self._stack[start:]
        return values

    def _to_mark(self) -> tuple[Any, ...]:
        if not self._marks:
            self._refuse("an opcode without its mark")
        values = tuple(self._stack[self._marks[-1] :])
        del self._stack[self._marks.pop() :]
        return values

    def _remember(self, place: int) -> None:
        if place != len(self._memo) or place > _MOST_REMEMBERED or not self._stack:
            self._refuse("a memo as no pickler makes it")
        top = self._stack[-1]
        self._memo.append(top if isinstance(top, str | float | int | _Name | _Dtype) else None)

    def _recall(self, place: int) -> None:
        if place >= len(self._memo) or self._memo[place] is None:
            self._refuse("a dictionary or tuple that is there twice")
        self._stack.append(self._memo[place])

    def _push_dictionary(self) -> None:
        made: dict[str, float] = {}
        if self._outer is None and not self._stack:
            self._outer = made
        self._stack.append(made)

    def _set(self, values: tuple[Any, ...]) -> None:
        target = self._stack[-1] if self._stack else None
        if type(target) is not dict or len(values) % 2:
            self._refuse("items of no dictionary")
        pairs = zip(values[::2], values[1::2], strict=True)
        if target is self._outer:
            self._ready.extend(self._scores(key, value) for key, value in pairs)
            return
        before = len(target)
        target.update((self._id(key), self._number(value)) for key, value in pairs)
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

    def _number(self, value: Any) -> float:
        if type(value) is float and value - value == 0:  # finite, without a call
            return value
        if type(value) not in {float, int}:
            self._refuse("a score that is no number")
        return finite_score(value, f"{self._path}: byte {self._stream.tell():,}: a score")

    def _named(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            self._refuse("a name that is no text")
        kind = _NAMES.get(f"{module} {name}")
        if kind is None:
            self._refuse(f"the name {module[:40]}.{name[:40]}")
        self._stack.append(_Name(kind))

    def _reduced(self, named: Any, arguments: Any) -> None:
        kind = named.kind if type(named) is _Name else None
        given = arguments if type(arguments) is tuple else (None,)
        if kind == "dictionary" and all(type(own) is _Name and own.kind == "type" for own in given):
            self._push_dictionary()
        elif kind == "dtype" and given and type(given[0]) is str and given[0] in _Dtype.FORMATS:
            self._stack.append(_Dtype(given[0]))
        elif kind == "scalar" and [type(own) for own in given] == [_Dtype, bytes]:
            layout = given[0].order + given[0].format
            if struct.calcsize(layout) != len(given[1]):
                self._refuse("a number of another size than its type")
            self._stack.append(struct.unpack(layout, given[1])[0])
        else:
            self._refuse("a call")

    def _built(self, made: Any, state: Any) -> None:
        order = state[1] if type(state) is tuple and len(state) > 1 else None
        # its type first: hashing or comparing what the file has nested could overflow the stack
        if type(made) is not _Dtype or type(order) is not str or order not in ("<", ">"):
            self._refuse("an object with a state")
        made.order = order
        self._stack.append(made)

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(f"{self._path}: byte {self._stream.tell():,}: has {what}; only "
                         "dictionaries {query: {document: score}} of texts and numbers are read, "
                         "and nothing of the file was run")
