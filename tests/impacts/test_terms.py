"""Terms Lucene keeps whole, against Java itself."""

from __future__ import annotations

import sys

import pytest

from spladev3_anserini.impacts.terms import first_term_fault, splits, term_fault


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


def test_the_first_fault_names_its_term() -> None:
    assert first_term_fault(["a", "b c", ""]) == "the term 'b c' has white space, Lucene would split it"
    assert first_term_fault(["a"]) is None
