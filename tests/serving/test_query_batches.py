"""Queries that come at the same time are encoded in one call, and have the impacts of a query alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any, cast

import pytest
from conftest import WORDS
from served import make_index

import spladev3_anserini as splade
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.lucene.check import read_index_manifest
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.serving.batching import Batcher
from spladev3_anserini.serving.query_encoders import EncodedText, QueryEncoders, words_by


class Stub:
    """Encodes a text to its length; notes its calls, and waits in the first one."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.first, self.go_on = Event(), Event()

    def encode(self, mode: str, texts: Sequence[str]) -> list[EncodedText]:
        self.calls.append([*texts])
        self.first.set()
        self.go_on.wait(30)
        if "bad" in texts:
            raise InputError("`query`: bad")
        return [EncodedText({mode: len(text)}, frozenset()) for text in texts]


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    batcher = Batcher()
    yield batcher
    batcher.close()


def gathered(batcher: Batcher, stub: Stub, texts: Sequence[str], mode: str = "bow") -> list[Any]:
    """Has the first text encoded while the others come, all at once; returns results and errors."""

    async def ask() -> list[Any]:
        encoders = cast(QueryEncoders, stub)
        tasks = [asyncio.create_task(batcher.encode(encoders, mode, texts[0]))]  # type: ignore[arg-type]
        await asyncio.to_thread(stub.first.wait, 30)
        tasks += [asyncio.create_task(batcher.encode(encoders, mode, text)) for text in texts[1:]]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        if "gone" in texts:
            tasks[texts.index("gone")].cancel()
            await asyncio.sleep(0)
        stub.go_on.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(ask())


def test_what_waits_is_one_call_and_nothing_waits_for_more(batcher: Batcher) -> None:
    stub = Stub()
    texts = [str(10**n) for n in range(8)]
    results = gathered(batcher, stub, texts)
    assert [result.impacts for result in results] == [{"bow": len(text)} for text in texts]
    assert stub.calls == [texts[:1], texts[1:]]


def test_a_call_has_32_texts_at_most(batcher: Batcher) -> None:
    stub = Stub()
    texts = [str(n) for n in range(80)]
    assert len(gathered(batcher, stub, texts)) == 80
    assert stub.calls == [texts[:1], texts[1:33], texts[33:65], texts[65:]]


def test_one_bad_text_spoils_no_other(batcher: Batcher) -> None:
    stub = Stub()
    results = gathered(batcher, stub, ["a", "b", "bad", "c"])
    assert [type(result) for result in results] == [EncodedText, EncodedText, InputError, EncodedText]
    assert stub.calls == [["a"], ["b", "bad", "c"], ["b"], ["bad"], ["c"]]


def test_a_text_that_nobody_waits_for_is_not_encoded(batcher: Batcher) -> None:
    stub = Stub()
    results = gathered(batcher, stub, ["a", "b", "gone", "c"])
    assert isinstance(results[2], asyncio.CancelledError)
    assert stub.calls == [["a"], ["b", "c"]]


def test_impacts_are_those_of_each_query_alone(tiny: Path, tmp_path: Path, batcher: Batcher) -> None:
    """Bit for bit: on a CPU a query is never padded to the length of another."""
    folder = make_index(tiny, tmp_path)
    record = read_index_manifest(folder)
    assert record is not None
    encoders = QueryEncoders(folder, record, None, EncoderSettings())
    texts = [" ".join(WORDS[start : start + length]) for start in range(0, 40, 3) for length in (1, 4, 9)]

    async def ask() -> list[EncodedText]:
        return await asyncio.gather(*(batcher.encode(encoders, "expand", text) for text in texts))

    index = splade.open_index(folder)
    assert [encoded.impacts for encoded in asyncio.run(ask())] == [index.impacts(text) for text in texts]


def test_words_for_snippets_are_those_of_the_tokenizer(tiny: Path) -> None:
    """BERT reads each word by itself, so a word is read once; another tokenizer reads the whole text."""
    tokenizer = Tokenizer(tiny)
    text = "The Cats, sat_on é mats: cats"
    expected = [word for word in tokenizer.words(text) if word[2] not in ([","], ["_"], ["[UNK]"], [":"])]
    assert [word for word in words_by(tokenizer)(text) if [*word[2]] != ["[UNK]"]] == expected
    assert len(expected) >= 5

    class Whole:
        """Reads a word inside a text otherwise than alone."""

        def words(self, text: str) -> list[tuple[int, int, list[str]]]:
            return [(0, len(text), ["whole"])]

        def pieces(self, text: str) -> list[str]:
            return ["alone"]

    assert words_by(cast(Tokenizer, Whole()))("a b") == [(0, 3, ["whole"])]
