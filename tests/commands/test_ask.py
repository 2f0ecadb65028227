"""`ask`, `doc` and `search --query`: what they show is what the index and the corpus hold."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TEXTS, Result, write_corpus
from forked import program

from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.impacts.shards import read_encoded, read_manifest
from spladev3_anserini.text import visible

Cli = Callable[..., Result]
HOSTILE = "a wing \x1b]0;owned\x07 \x9b31m lifts \u202e <b>the</b> mat \0 end"
MORE = {"with/a#strange%20id": "the cat sat on a mat", "hostile": HOSTILE, "long": "cat " + "mat on the " * 20_000}


@pytest.fixture(scope="module")
def world(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Indexes of the same documents with and without texts, and of bags of words."""
    from spladev3_anserini.cli.commands import commands

    folder = tmp_path_factory.mktemp("ask")
    write_corpus(folder / "corpus.jsonl", TEXTS | MORE)
    for variant, name in (("splade-v3", "index"), ("splade-v3-doc", "bow")):
        for words in (["encode", "--model", tiny, "--variant", variant, "--max-length", 64, "--top-k", 15,
                       "--corpus", folder / "corpus.jsonl", "--output", folder / f"{name}.encoded"],
                      ["index", "--encoded", folder / f"{name}.encoded", "--index", folder / name, "--store-texts"],
                      ["index", "--encoded", folder / f"{name}.encoded", "--index", folder / f"{name}.bare"]):
            commands.main([str(word) for word in words], standalone_mode=False)
    return folder


def vectors(world: Path) -> dict[str, dict[str, int]]:
    encoded = world / "index.encoded"
    return {document.id: document.vector for document in read_encoded(encoded, read_manifest(encoded))}


def asked(cli: Cli, world: Path, *words: object, index: str = "index") -> list[dict[str, Any]]:
    result = cli("ask", "--index", world / index, "--max-length", 64, "--format", "json", *words)
    assert result.code == 0, result
    return [json.loads(line) for line in result.out.splitlines()]


def test_words_beyond_the_length_are_not_the_question_s_own(world: Path, cli: Cli) -> None:
    """They were not read; a term that is among them is of expansion."""
    (short,), (cut,) = (asked(cli, world, question, "--max-length", 4) for question in (
        "a cat", "a cat on the mat wing jet wave heat body air plate surface pressure"))
    assert [row["term"] for row in short["impacts"]] == [row["term"] for row in cut["impacts"]]
    assert [row["own"] for row in short["impacts"]] == [row["own"] for row in cut["impacts"]]
    assert {row["own"] for row in cut["impacts"]} == {True, False}


def test_json_has_texts_terms_and_products_that_sum_to_scores(world: Path, cli: Cli) -> None:
    """The documents' impacts are those of the shards; scores are sums by hand."""
    documents, texts = vectors(world), TEXTS | MORE
    (answer,) = asked(cli, world, "--explain", "--hits", 20, "a cat on the mat")
    impacts = {row["term"]: row["impact"] for row in answer["impacts"]}
    assert list(impacts.values()) == sorted(impacts.values(), reverse=True)
    assert {row["term"] for row in answer["impacts"] if row["own"]} == {"a", "cat", "on", "the", "mat"} & impacts.keys()
    scores = {docid: sum(impacts[t] * w for t, w in vector.items() if t in impacts)
              for docid, vector in documents.items()}
    assert len(answer["hits"]) == min(20, sum(score > 0 for score in scores.values()))
    for rank, hit in enumerate(answer["hits"], 1):
        assert hit["rank"] == rank
        assert hit["score"] == scores[hit["docid"]] == sum(p["product"] for p in hit["products"])
        assert hit["text"] == texts[hit["docid"]]
        for row in hit["products"]:
            assert row["product"] == row["query"] * row["document"] == impacts[row["term"]] * documents[hit["docid"]][row["term"]]
        shown = "".join(piece for piece, _ in hit["snippet"])
        assert len(shown) <= 240
        assert shown.strip("… ") in " ".join(hit["text"].split())
        for word in [piece.lower() for piece, marked in hit["snippet"] if marked]:
            assert any(term.removeprefix("##") in word for term in impacts), word


def test_without_texts_there_is_none_and_a_corpus_gives_them(world: Path, cli: Cli) -> None:
    (bare,) = asked(cli, world, "the cat", index="index.bare")
    assert [(hit["text"], hit["snippet"]) for hit in bare["hits"]] == [(None, None)] * 5
    (stored,) = asked(cli, world, "the cat")
    (read,) = asked(cli, world, "--corpus", world / "corpus.jsonl", "the cat", index="index.bare")
    assert read == stored
    assert "products" not in read["hits"][0]


def test_the_words_are_shown_below_each_hit(world: Path, cli: Cli) -> None:
    result = cli("ask", "--index", world / "index", "--max-length", 64, "--explain", "--terms", 2, "--hits", 3,
                 "a cat on the mat", "heat")
    first, second = (block.splitlines() for block in result.out.strip().split("\n\n"))
    assert first[0] == "a cat on the mat"
    assert second[0] == "heat"
    for block in (first, second):
        for head, text, products in zip(block[2::3], block[3::3], block[4::3], strict=True):
            rank, docid, score = head.split()
            assert rank in "123"
            sums = re.findall(r"(\d+)(?=  |$)", products)
            assert sum(map(int, sums)) == int(score)
            assert text.startswith("     ")
            assert text.strip("… ") in visible(" ".join((TEXTS | MORE)[docid].split()))


def test_a_hostile_text_reaches_the_terminal_as_text(world: Path, cli: Cli) -> None:
    for words in (("ask", "--index", world / "index", "--max-length", 64, "--hits", 50, "the wing"),
                  ("doc", "hostile", "--index", world / "index"),
                  ("explain", "--index", world / "index", "--docid", "hostile", "--query", "wing", "--max-length", 64)):
        result = cli(*words)
        assert result.code == 0, result
        assert not set(result.out + result.err) & set("\x1b\x07\x9b\u202e\0"), words
        assert r"\x1b]0;owned\x07" in result.out
    form = ("--format", "json")
    assert json.loads(cli("doc", "hostile", "--index", world / "index", *form).out)["text"] == HOSTILE
    (answer,) = asked(cli, world, "--hits", 50, "the wing")
    assert HOSTILE in [hit["text"] for hit in answer["hits"]]


@pytest.mark.parametrize("variant", ["splade-v3-lexical", "splade-v3-doc"])
def test_another_variant_weights_the_same_question(variant: str, world: Path, cli: Cli) -> None:
    """Lexical impacts are those of expansion on the question's own wordpieces; a bag has ones."""
    question = "a cat on the mat mat"
    (own,) = asked(cli, world, question)
    (other,) = asked(cli, world, "--variant", variant, question)
    assert (own["variant"], other["variant"]) == ("splade-v3", variant)
    expected = {row["term"]: row["impact"] if variant.endswith("lexical") else 1
                for row in own["impacts"] if row["own"]}
    assert {row["term"]: row["impact"] for row in other["impacts"]}.items() >= expected.items()
    documents = vectors(world)
    for hit in other["hits"]:
        assert hit["score"] == sum(row["impact"] * documents[hit["docid"]].get(row["term"], 0)
                                   for row in other["impacts"])
    warned = cli("ask", "--index", world / "index", "--max-length", 64, "--variant", variant, question)
    assert "scores are others" in warned.err


def test_a_variant_that_was_not_trained_for_is_refused(world: Path, refused: Callable[..., str]) -> None:
    ask = ("ask", "--index", world / "bow", "--max-length", 64)
    assert "the index is of splade-v3-doc" in refused(*ask, "--variant", "splade-v3", "cat")
    assert "weighted by --query-weights" in refused(*ask, "--variant", "static", "cat")


def test_one_query_gives_the_run_of_its_topic(world: Path, tmp_path: Path, cli: Cli, refused: Callable[..., str]) -> None:
    (tmp_path / "topics.tsv").write_text("query\tthe cat\n")
    search = ("search", "--index", world / "index", "--max-length", 64)
    cli(*search, "--topics", tmp_path / "topics.tsv", "--output", tmp_path / "run")
    shown = cli(*search, "--query", "the cat")
    assert shown.code == 0
    assert shown.out == (tmp_path / "run").read_text()
    cli(*search, "--query", "the cat", "--output", tmp_path / "again.gz")
    assert read_run_file(tmp_path / "again.gz") == read_run_file(tmp_path / "run")
    assert "Missing option '--output'" in refused(*search, "--topics", tmp_path / "topics.tsv")
    assert "or one --query" in refused(*search, "--topics", tmp_path / "topics.tsv", "--query", "a", "--output", "-")
    assert "surrogate" in refused(*search, "--query", "\udcff")


def test_a_document_with_its_text_and_terms(world: Path, cli: Cli, refused: Callable[..., str]) -> None:
    documents = vectors(world)
    for docid, text in {**MORE, "d1": TEXTS["d1"]}.items():
        found = json.loads(cli("doc", docid, "--index", world / "index", "--format", "json").out)
        assert (found["docid"], found["text"]) == (docid, text)
        assert {row["term"]: row["impact"] for row in found["impacts"]} == documents[docid]
    found = json.loads(cli("doc", "with/a#strange%20id", "--index", world / "index", "--format", "json").out)
    assert {row["term"] for row in found["impacts"] if row["own"]} == {
        "the", "cat", "sat", "on", "a", "mat"} & {row["term"] for row in found["impacts"]}
    bare = json.loads(cli("doc", "d1", "--index", world / "index.bare", "--format", "json").out)
    assert (bare["text"], {row["own"] for row in bare["impacts"]}) == (None, {None})
    shown = cli("doc", "d1", "--index", world / "index", "--terms", 2).out.splitlines()
    assert shown[0] == TEXTS["d1"]
    assert shown[-1] == f"and {len(documents['d1']) - 2} more"
    assert refused("doc", "none", "--index", world / "index").startswith("spladev3-anserini: docid none: not in ")


def test_explain_shows_the_text(world: Path, tmp_path: Path, cli: Cli) -> None:
    words = ("explain", "--index", world / "index", "--docid", "with/a#strange%20id", "--query", "a cat",
             "--max-length", 64)
    assert cli(*words, "--html", tmp_path / "page.html").out.startswith("the cat sat on a mat\n\n")
    assert "<mark>cat</mark>" in (tmp_path / "page.html").read_text("utf-8")
    assert json.loads(cli(*words, "--format", "json").out)["text"] == "the cat sat on a mat"


def test_questions_of_a_terminal_are_kept_for_the_next_one(world: Path, tmp_path: Path) -> None:
    """On a real terminal: the second session recalls, with the arrow up, what the first one asked."""
    state = tmp_path / "state"
    ask = [*program(), "ask", "--index", str(world / "index"), "--max-length", "64", "--hits", "1"]
    first = on_a_terminal(ask, state, ["a wing lifts\n", "\x04"])
    history = state / "spladev3-anserini" / "questions"
    assert history.read_text().splitlines()[-1:] == ["a wing lifts"]
    assert history.stat().st_mode & 0o077 == 0
    assert "\x1b[1m" in first  # words that match are bold
    second = on_a_terminal(ask, state, ["\x1b[A\n", "\x04"])
    assert "a wing lifts" in second
    assert history.read_text().splitlines() == ["a wing lifts"]  # the same line is not kept twice
    piped = subprocess.run(ask, input="secret\n", capture_output=True, text=True, check=True,
                           env=os.environ | {"XDG_STATE_HOME": str(state)})
    assert piped.returncode == 0
    assert "secret" not in history.read_text()


def on_a_terminal(command: list[str], state: Path, typed: list[str]) -> str:
    """Runs a command on a terminal, types a text at each prompt, and returns what it showed."""
    main, other = pty.openpty()
    process = subprocess.Popen(command, stdin=other, stdout=other, stderr=other, start_new_session=True,
                               env=os.environ | {"XDG_STATE_HOME": str(state), "TERM": "xterm"})
    os.close(other)
    shown, prompts, end = b"", 0, time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([main], [], [], 0.1)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            shown += os.read(main, 1 << 16)
        except OSError:  # the other end is closed
            break
        if shown.count(b"question> ") > prompts and prompts < len(typed):
            os.write(main, typed[prompts].encode())
            prompts += 1
    assert process.wait(timeout=20) == 0, shown
    os.close(main)
    return shown.decode(errors="replace")
