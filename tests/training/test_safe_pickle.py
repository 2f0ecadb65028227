"""Pickles of scores: naver's and sentence-transformers' read; everything else refused, nothing run."""

from __future__ import annotations

import collections
import gzip
import os
import pickle
import pickletools
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spladev3_anserini.errors import InputError
from spladev3_anserini.training.pickled_scores import convert_pickle, read_pickle
from spladev3_anserini.training.score_files import read_scores

WANTED = {"1": {"2": 1.5, "8841822": -2.0}, "q": {"dé": 3.0}}


def read(data: bytes, folder: Path) -> dict[str, dict[str, float]]:
    (folder / "scores.pkl").write_bytes(data)
    return {own.query: own.scores for own in read_pickle(folder / "scores.pkl")}


def refusal(data: bytes, folder: Path) -> str:
    (folder / "scores.pkl").write_bytes(data)
    with pytest.raises(InputError) as refused:
        convert_pickle(folder / "scores.pkl", folder / "scores.jsonl")
    assert [path.name for path in folder.iterdir()] == ["scores.pkl"]
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_dictionaries_of_numbers(protocol: int, pack: Any, tmp_path: Path) -> None:
    scores = {1: {2: 1.5, 8841822: -2.0}, "q": {"dé": 3}}
    assert read(pack(pickle.dumps(scores, protocol)), tmp_path) == WANTED
    assert read(pack(pickletools.optimize(pickle.dumps(scores, protocol))), tmp_path) == WANTED
    assert read(pack(pickle._dumps(scores, protocol)), tmp_path) == WANTED  # type: ignore[attr-defined]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_default_and_ordered_dictionaries(protocol: int, tmp_path: Path) -> None:
    scores: Any = collections.defaultdict(dict)
    scores[1] = collections.OrderedDict({2: 1.5, 8841822: -2.0})
    scores["q"]["dé"] = 3.0
    assert read(pickle.dumps(scores, protocol), tmp_path) == WANTED


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.int32])
def test_numpy_numbers_without_numpy_being_called(kind: Any, protocol: int,
                                                  tmp_path: Path) -> None:
    same = kind(7)
    scores = {1: {2: kind(3), 3: kind(-2)}, 2: {4: same, 5: same}}
    data = pickle.dumps(scores, protocol)
    expected = {"1": {"2": 3.0, "3": -2.0}, "2": {"4": 7.0, "5": 7.0}}
    assert read(data, tmp_path) == expected
    old = b"\x80\x03" + pickle.dumps(scores, 3)[2:].replace(b"numpy._core.", b"numpy.core.")
    assert read(old, tmp_path) == expected


def test_big_endian_numbers(tmp_path: Path) -> None:
    value = np.array([1.5], dtype=">f4")[0]
    data = pickle.dumps({1: {2: value}})
    assert read(data, tmp_path) == {"1": {"2": 1.5}}


@settings(max_examples=60, deadline=None)
@given(scores=st.dictionaries(
    st.integers(-2**63, 2**63), st.dictionaries(
        st.integers(0, 10**9), st.floats(allow_nan=False, allow_infinity=False), min_size=1,
        max_size=5), min_size=1, max_size=5), protocol=st.integers(2, 5))
def test_any_such_dictionary_comes_back_as_it_is(
        scores: dict[int, dict[int, float]], protocol: int,
        tmp_path_factory: pytest.TempPathFactory) -> None:
    found = read(pickle.dumps(scores, protocol), tmp_path_factory.mktemp("pickle"))
    assert found == {str(q): {str(d): s for d, s in own.items()} for q, own in scores.items()}


def test_more_than_a_thousand_items_come_in_several_batches(tmp_path: Path) -> None:
    scores = {q: {d: q + d / 4 for d in range(2500 if q == 5 else 3)} for q in range(2300)}
    (tmp_path / "s.pkl.gz").write_bytes(gzip.compress(pickle.dumps(scores), mtime=0))
    assert convert_pickle(tmp_path / "s.pkl.gz", tmp_path / "s.jsonl") == 2300
    found = {own.query: own.scores for own in read_scores(tmp_path / "s.jsonl")}
    assert found == {str(q): {str(d): s for d, s in own.items()} for q, own in scores.items()}


class _Calls:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._reduced = function, arguments

    def __reduce__(self) -> Any:
        return self._reduced


def _touching(folder: Path) -> list[Any]:
    target = str(folder / "PWNED")
    return [_Calls(os.system, f"touch {target}"), _Calls(eval, f"open({target!r}, 'w')"),
            _Calls(exec, f"open({target!r}, 'w')"), _Calls(open, target, "w"),
            _Calls(os.mkdir, target), _Calls(getattr, "a", "upper"), _Calls(__import__, "os"),
            _Calls(np.frombuffer, b"1234", "f4"), _Calls(np.load, target),
            _Calls(np.ndarray, (2,)), _Calls(bytearray, 10**12), _Calls(dict, [(1, 2)]),
            _Calls(collections.Counter, "a"), _Calls(pickle.loads, b"N."), np.ones(3), Path(target),
            object(), os.system, range(3), {1}, [1.0], (1.0,), b"12345678", "1 2", None, True,
            1 + 2j, float("nan"), float("inf"), 10**400, {2: 1.0}]


@pytest.mark.fault(19, "pickled scores that call something",
                   detected="opcodes; nothing of it is run")
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_anything_else_is_refused_and_not_run(protocol: int, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for value in _touching(tmp_path):
        for scores in ({1: {2: 1.0, 3: value}}, {1: {value: 1.0}} if value.__hash__ else [value]):
            message = refusal(pickle.dumps(scores, protocol), folder)
            assert message.startswith(f"{folder / 'scores.pkl'}: byte ")
            assert not (tmp_path / "PWNED").exists()


def _proto(*opcodes: bytes) -> bytes:
    return b"\x80\x04" + b"".join(opcodes) + b"."


def _global(name: bytes) -> bytes:
    return b"c" + name.replace(b" ", b"\n") + b"\n"


@pytest.mark.parametrize(("data", "message"), [
    (_proto(_global(b"os system"), b"X\x02\x00\x00\x00id", b"\x85R"), "the name os.system"),
    (_proto(b"\x8c\x05posix\x8c\x06system\x93"), "the name posix.system"),
    (_proto(b"}\x93"), "an opcode without its values"),
    (_proto(b"K\x01K\x02\x93"), "a name that is no text"),
    (_proto(_global(b"numpy dtype"), b")R"), "a call"),
    (_proto(_global(b"numpy dtype"), b"X\x02\x00\x00\x00f4\x85RK\x03}\x86b"), "an object with a state"),
    # hashing a tuple nested so deep ended the process
    pytest.param(
        _proto(_global(b"numpy dtype"), b"X\x02\x00\x00\x00f4\x85RK\x03)", b"\x85" * 500_000, b"\x86b"),
        "an object with a state", id="deep state"),
    pytest.param(_proto(b")", b"\x85" * 500_000, b"K\x01\x93"), "a name that is no text", id="deep name"),
    (_proto(_global(b"builtins dict"), b")R"), "a call"),
    (_proto(_global(b"numpy dtype"), b"X\x02\x00\x00\x00O8", b"\x85R"), "a call"),
    (_proto(_global(b"numpy dtype"), b"X\x02\x00\x00\x00V8", b"\x85R"), "a call"),
    (_proto(_global(b"numpy.core.multiarray scalar"), b"K\x01C\x01a\x86R"), "a call"),
    (_proto(_global(b"numpy.core.multiarray scalar"), _global(b"numpy dtype"),
            b"X\x02\x00\x00\x00f4", b"\x85RC\x03abc\x86R"), "another size than its type"),
    (_proto(_global(b"collections defaultdict"), _global(b"numpy dtype"), b"\x85R"), "a call"),
    (_proto(b"}K\x01b"), "an object with a state"),
    (_proto(b"}K\x01K\x02s"), "the query '1' without a dictionary"),
    (_proto(b"}\x94K\x01h\x00s"), "a dictionary or tuple that is there twice"),
    (_proto(b"h\x00"), "a dictionary or tuple that is there twice"),
    (_proto(b"r\xff\xff\xff\xff"), "a memo that no pickler writes"),
    (_proto(b"\x94"), "a memo that no pickler writes"),
    (_proto(b"u"), "an opcode without its mark"),
    (_proto(b"(u"), "items of no dictionary"),
    (_proto(b"}(K\x01u"), "items of no dictionary"),
    (_proto(b"K\x01(K\x01K\x01u"), "items of no dictionary"),
    (_proto(b"(" * 100), "marks that no pickler writes"),
    (_proto(b"}" * 20_000), "a stack that no pickler writes"),
    (_proto(b"K\x01" * 20_000), "a stack that no pickler writes"),
    (_proto(b"K\x01" + b"\x85" * 100_000), "no dictionary with a query"),
    (_proto(b"X\xff\xff\xff\x7f"), "a value of 2,147,483,647 bytes"),
    (_proto(b"\x8a\xff" + b"1" * 255), "a value of 255 bytes"),
    (_proto(b"X\x02\x00\x00\x00\xff\xfe"), "a text that is not UTF-8"),
    (_proto(b"c" + b"a" * 400), "a name without an end"),
    (_proto(b"P1\n"), "the opcode b'P'"),
    (_proto(b"K\x01Q"), "the opcode b'Q'"),
    (_proto(b"\x82\x01"), r"the opcode b'\\x82'"),
    (_proto(b"(ios\nsystem\n"), "the opcode b'i'"),
    (_proto(b"(o"), "the opcode b'o'"),
    (_proto(b"}\x81"), r"the opcode b'\\x81'"),
    (_proto(b"}2"), "the opcode b'2'"),
    (_proto(b"}0"), "the opcode b'0'"),
    (_proto(b"}"), "no dictionary with a query"),
    (_proto(b""), "no dictionary with a query"),
    (_proto(b"}K\x01}K\x02G" + struct.pack(">d", 1.0) + b"ss}"), "no dictionary with a query"),
    (b"\x80\x06N.", "no pickle of protocol 2 to 5"),
    (b"(dp0\n.", "no pickle of protocol 2 to 5"),
    (b'{"query": "q1"}', "no pickle of protocol 2 to 5"),
    (b"", "is damaged or ends early"),
    (b"\x80\x04", "is damaged or ends early"),
    (pickle.dumps({1: {2: 1.0}})[:-3], "is damaged or ends early"),
    (gzip.compress(pickle.dumps({1: {2: 1.0}}), mtime=0)[:-12], "is damaged or ends early"),
    (b"\x1f\x8b nonsense", "is damaged or ends early"),
    (pickle.dumps({1: {2: 1.0}, "1": {2: 1.0}}), "the query '1' twice"),
    (pickle.dumps({1: {2: 1.0, "2": 1.0}}), "a document that is there twice"),
    (pickle.dumps({1: {}}), "the query '1' without a dictionary"),
    (pickle.dumps({1.5: {2: 1.0}}), "an id that is neither"),
    (pickle.dumps({True: {2: 1.0}}), "an id that is neither"),
    (pickle.dumps({"a b": {2: 1.0}}), "white space"),
])
def test_files_made_by_hand(data: bytes, message: str, tmp_path: Path) -> None:
    assert re.search(message, refusal(data, tmp_path))


@pytest.mark.fault(21, "bytes after a pickle of scores, such as a second one",
                   detected="the file's end, which is the pickle's")
@pytest.mark.parametrize("pack", [bytes, lambda data: gzip.compress(data, mtime=0)])
def test_bytes_after_the_end(pack: Any, tmp_path: Path) -> None:
    whole = pickle.dumps({1: {2: 1.0}})
    for data in (pack(whole + b"\n"), pack(whole + whole), pack(whole) + pack(whole)):
        assert "has bytes after its end" in refusal(data, tmp_path)
    packed = bytearray(gzip.compress(whole, mtime=0))
    packed[-8] ^= 1  # its checksum
    assert "is damaged" in refusal(bytes(packed), tmp_path)


def test_a_nested_bomb_of_dictionaries_and_of_gzip(tmp_path: Path) -> None:
    deep: Any = 1.0
    for _ in range(400):
        deep = {1: deep}
    assert "scores.pkl: byte " in refusal(pickle.dumps(deep), tmp_path)
    assert "stack" in refusal(gzip.compress(_proto(b"K\x01" * 20_000_000), mtime=0), tmp_path)


def test_the_command(cli: Any, refused: Any, tmp_path: Path) -> None:
    (tmp_path / "s.pkl").write_bytes(pickle.dumps({1: {2: 1.5}}))
    result = cli("convert-scores", tmp_path / "s.pkl", "--output", tmp_path / "s.jsonl")
    assert result.code == 0
    assert result.out == f"{tmp_path / 's.jsonl'}: scores of 1 query\n"
    assert (tmp_path / "s.jsonl").read_text() == '{"query": "1", "scores": {"2": 1.5}}\n'
    (tmp_path / "s.pkl").write_bytes(pickle.dumps({1: {2: os.system}}))
    assert "nothing of the file was run" in refused("convert-scores", tmp_path / "s.pkl",
                                                    "--output", tmp_path / "t.jsonl")
    assert not (tmp_path / "t.jsonl").exists()
    assert "no such file" in refused("convert-scores", tmp_path / "none", "--output",
                                     tmp_path / "t.jsonl")
    assert "there is no folder" in refused("convert-scores", tmp_path / "s.pkl", "--output",
                                     tmp_path / "no" / "t.jsonl")
