"""Terms Lucene keeps whole, against Java itself."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladev3_anserini.impacts.terms import indexed_terms, splits, term_fault


def test_white_space_is_that_of_java_for_every_character() -> None:
    from spladev3_anserini.lucene.jvm import java_class

    character = java_class("java.lang.Character")
    surrogates = range(0xD800, 0xE000)
    # every code point of the basic plane, and a sample of the others (none of them is a space)
    points = [*range(0x10000), *range(0x10000, sys.maxunicode, 4099)]
    ours = {p for p in points if p not in surrogates and splits(chr(p))}
    assert ours == {p for p in points if p not in surrogates and character.isWhitespace(p)}


@pytest.mark.parametrize(("term", "reason"), [
    ("", "empty"), ("a b", "white space"), ("a\u3000b", "white space"), ("\t", "white space"),
    ("\x1f", "white space"), ("\ud800", "surrogate"), ("x" * 256, "255"), ("😀" * 128, "255"),
])
def test_a_term_lucene_would_change_is_told(term: str, reason: str) -> None:
    assert reason in str(term_fault(term))


@pytest.mark.parametrize("term", ["cat", "##ing", '"', "\\", "é", "中", "\u00a0", "\u200b",
                                  "x" * 255, "😀" * 127, "▁word", "Ġword"])
def test_a_whole_term_is_kept(term: str) -> None:
    assert term_fault(term) is None


_ODD = st.text(st.sampled_from("ab \t\u2028\\#u0012\ud800x"), max_size=9) | st.none()


@given(st.lists(_ODD, max_size=12, unique_by=lambda token: token if token is not None else object()))
def test_names_are_unique_and_whole_and_change_no_sound_term(tokens: list[str | None]) -> None:
    names = indexed_terms(tokens)
    assert len(set(names)) == len(tokens)
    for token, name in zip(tokens, names, strict=True):
        assert term_fault(name) is None
        assert name == token or token is None or term_fault(token) is not None


def test_names_of_faulty_terms_can_be_read() -> None:
    tokens = ["a b", "", None, "\u2028", "y" * 300, r"a\u0020b", r"\#2", "\t", "cat", " " * 60]
    assert indexed_terms(tokens) == [r"\#0", r"\#1", r"\##2", r"\u2028", r"\#4", r"a\u0020b",
                                     r"\#2", r"\u0009", "cat", r"\#9"]
