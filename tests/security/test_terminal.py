"""Text of files on a terminal, in pages, tables and pictures: it shows, and nothing obeys it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import (
    SPECIALS,
    TEXTS,
    WORDS,
    Result,
    make_tiny,
    save_tokenizer,
    write_corpus,
    write_lines,
)
from signed import signed

from spladev3_anserini.text import one_line, visible

Cli = Callable[..., Result]
#: A title set (OSC), colours (CSI in 7 and in 8 bits), an order turned round, widths of nothing.
HOSTILE = "\x1b]0;owned\x07\x1b[31m\x9b31m\u202etxet\u2066x\u200b\ufeff\u2028"
MARKUP = "<script>alert(1)</script> | a"


def hidden(text: str) -> set[str]:
    """The characters that a terminal obeys, or that do not show; by Unicode's categories alone."""
    return {c for c in text if c not in "\n\t" and unicodedata.category(c) in
            {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with two terms of such characters, an index of its, and files with them in texts,
    names of query sets, teachers, titles and paths."""
    from spladev3_anserini.cli.commands import commands

    folder = tmp_path_factory.mktemp("terminal")
    make_tiny(folder / "model", positions=128)
    save_tokenizer(folder / "model", [*SPECIALS, *WORDS[:-2], "\x9b31m", "\u202eevil"])
    text = f"the cat {HOSTILE} {MARKUP} sat on a mat"
    write_corpus(folder / "corpus.jsonl", TEXTS | {"d1": text})
    for words in (["encode", "--model", folder / "model", "--variant", "splade-v3", "--max-length",
                   64, "--corpus", folder / "corpus.jsonl", "--output", folder / "encoded"],
                  ["index", "--encoded", folder / "encoded", "--index", folder / "index"]):
        commands.main([str(word) for word in words], standalone_mode=False)
    write_lines(folder / "topics.jsonl", [{"id": f"q\u202e{n}", "text": text} for n in range(3)])
    write_lines(folder / "qrels.txt", [f"q\u202e{n} 0 good 1" for n in range(3)])
    for name, ranks in (("a", (1, 2, 1)), ("b", (2, 1, 4))):
        write_lines(folder / f"{name}\x1b[1m\u202e.txt", [
            f"q\u202e{n} Q0 {'good' if at == rank else f'x{at}'} {at} {9 - at} t"
            for n, rank in enumerate(ranks) for at in range(1, 5)])
    runs = "\t".join(f"{name}\x1b[1m\u202e.txt" for name in "ab")
    write_lines(folder / "sets.tsv", [f"set\tgroup\tqrels\ta{HOSTILE[:-1]}\tb{MARKUP}", *(
        f"{n}\u202e\x1b[31m\tg\x9b31m\tqrels.txt\t{runs}" for n in range(2))])
    write_lines(folder / "effects.tsv", ["set\tgroup\tmean\tcount\terror", *(
        f"{n}{HOSTILE[:-1]}{MARKUP}\tg\u202e\t0.{n}\t9\t0.1" for n in (1, 2))])
    teacher = {"sha256": "0" * 64, "kind": "onnx", "max_length": 256, "flat_queries": 0}
    (folder / "ensemble.json").write_text(json.dumps(signed({
        "teachers": [teacher | {"name": f"{n}{HOSTILE}{MARKUP}"} for n in "ab"], "candidates": "",
        "queries": 5, "pairs": 5, "filled_positives": 0, "constant_queries": 0,
        "normalisation": "min-max", "aggregation": "mean", "mean": 0.5, "deviation": 0.2,
        "rescoring": "none", "target_mean": None, "target_deviation": None, "target_source": "",
        "scale": None, "shift": None, "package": "0",
        "disagreement": [{"one": f"a{HOSTILE}{MARKUP}", "other": "b", "spearman": 0.5, "queries": 5,
                          "negative": 0}],
        "spread": {"mean": 0.1, "most": 0.2, "most_query": "q"}})))
    recipes = folder / "recipes" / "collections"
    recipes.mkdir(parents=True)
    title = '"t \\u009b31m \\u202e \\u2066"'  # YAML's own way to write them
    (recipes.parent / "bad.yaml").write_text(
        f"title: {title}\nmodel: demo\nlicence: {title}\nvariant: splade-v3\nsettings: "
        "{max_length: 64, query_max_length: 64, quantizer: x100-rint, special_tokens: drop, "
        "dtype: float32}\n")
    (recipes / "bad.yaml").write_text(
        f"title: {title}\nnote: {title}\ncorpus: corpus.jsonl\nquery_sets:\n  test:\n    topics: "
        "topics.tsv\n    qrels: qrels.txt\n    measures: [RR@10]\n")
    return folder


def run_of(here: Path, name: str) -> Path:
    return here / f"{name}\x1b[1m\u202e.txt"


#: Each command that prints text of a file, with the part of it that must be there, escaped.
SHOWN: dict[str, tuple[Callable[[Path], list[object]], str]] = {
    "ask": (lambda f: ["ask", "--index", f / "index", "--corpus", f / "corpus.jsonl", "--terms",
                       999, "--max-length", 64, "cat"], r"\x1b]0;owned\x07\x1b[31m\x9b31m\u202etxet"),
    "explain a text": (lambda f: ["explain", "--model", f / "model", "--variant", "splade-v3",
                                  "--text", "cat", "--terms", 999, "--max-length", 64], r"\x9b31m"),
    "explain a match": (lambda f: ["explain", "--index", f / "index", "--docid", "d10", "--query",
                                   "heat", "--max-length", 64], r"\x9b31m"),
    "breakdown": (lambda f: [
        "breakdown", "--qrels", f / "qrels.txt", "--topics", f / "topics.jsonl", "--index",
        f / "index", "--run", f"a\x1b[1m={run_of(f, 'a')}", "--run", f"b={run_of(f, 'b')}",
        "--measures", "RR@10", "--max-length", 64], r"a\x1b[1m"),
    "evaluate": (lambda f: ["evaluate", "--qrels", f / "qrels.txt", "--run", run_of(f, "a"),
                            "--per-query", "--measures", "RR@10"], r"q\u202e0"),
    **{f"compare, {form}": (lambda f, form=form: [  # type: ignore[misc]
        "compare", "--table", f / "sets.tsv", "--topics", f / "topics.jsonl", "--moved", 2,
        "--measures", "RR@10", "--clamped", "--format", form], escape) for form, escape in (
            ("text", r"\x1b]0;owned\x07"), ("markdown", r"\\x1b]0;owned\\x07"),
            ("latex", r"\textbackslash{}x1b]0;owned\textbackslash{}x07"))},
    "meta": (lambda f: ["meta", "--effects", f / "effects.tsv"], r"\x1b]0;owned\x07"),
    "diagnose": (lambda f: ["diagnose", "--scores", f], r"\x1b]0;owned\x07"),
    "flops": (lambda f: ["flops", "--index", f"\x1b[1mx={f / 'index'}", "--topics",
                         f / "topics.jsonl", "--max-length", 64], r"\x1b[1mx"),
    "search": (lambda f: ["search", "--index", f / "index", "--topics", f / "topics.jsonl",
                          "--max-length", 64, "--output", f / "out\x1b[1m"], r"out\x1b[1m"),
    "reproduce show": (lambda f: ["reproduce", "show", "bad", "--on", "bad", "--recipes",
                                  f / "recipes"], r"t \x9b31m \u202e \u2066"),
    "reproduce list": (lambda f: ["reproduce", "list", "--recipes", f / "recipes"],
                       r"t \x9b31m \u202e \u2066")}


@pytest.mark.fault(19, "text of a file with escapes for a terminal (OSC, CSI, C1) and turned order, in "
                       "every command that prints text", detected="escaped in the one place that prints",
                   then="printed as text")
@pytest.mark.parametrize("name", SHOWN)
def test_a_terminal_obeys_no_text_of_a_file(name: str, here: Path, cli: Cli) -> None:
    words, escape = SHOWN[name]
    result = cli(*words(here))
    assert result.code == 0, result
    assert hidden(result.out + result.err) == set()
    assert escape in result.out


@pytest.mark.parametrize("name", ["evaluate", "explain a match", "breakdown", "compare, text",
                                  "meta", "diagnose"])
def test_json_gives_the_text_back(name: str, here: Path, cli: Cli) -> None:
    words = [word for word in SHOWN[name][0](here) if word not in ("--format", "text")]
    result = cli(*words, "--format", "json")
    assert hidden(result.out) == set()
    assert hidden(json.dumps(json.loads(result.out), ensure_ascii=False))


@pytest.mark.parametrize("name", ["explain a match", "breakdown", "diagnose"])
def test_a_page_shows_its_text(name: str, here: Path, tmp_path: Path, cli: Cli) -> None:
    page = tmp_path / "page.html"
    assert cli(*SHOWN[name][0](here), "--html", page).code == 0
    text = page.read_text("utf-8")
    assert hidden(text) == set()
    assert "<script" not in text
    assert "color-scheme: light dark" in text
    assert "prefers-color-scheme: dark" in text


def test_a_picture_is_xml_whatever_the_names(here: Path, tmp_path: Path, cli: Cli) -> None:
    for words in (["meta", "--effects", here / "effects.tsv"],
                  ["compare", "--table", here / "sets.tsv", "--measures", "RR@10", "--clamped"]):
        picture = tmp_path / "forest.svg"
        result = cli(*words, "--forest", picture)
        assert result.code == 0, result
        assert hidden(result.out + result.err) == set()
        ElementTree.fromstring(picture.read_text("utf-8"))


def test_errors_and_warnings_show_too(here: Path, refused: Callable[..., str]) -> None:
    line = refused("evaluate", "--qrels", here / HOSTILE.replace("/", ""), "--run", "x")
    assert hidden(line) == set()
    assert r"\x1b]0;owned" in line


def test_what_shows_stays() -> None:
    for text in ("plain\ttext\n", "naïve 中文 😀 \u00a0\u3000 | <b>", ""):
        assert visible(text) == text
    assert one_line("a\nb\tc \x1b") == r"a b c \x1b"
    for text in (HOSTILE, "\x00\x7f\x85\u061c\U000e0001\udc80"):
        assert hidden(visible(text)) == set()
        assert visible(text).encode("ascii").decode("unicode_escape") == text
