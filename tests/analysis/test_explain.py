"""Explanations against transformers' own logits, the files' impacts and sums by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TEXTS, Result, write_corpus

Cli = Callable[..., Result]
TEXT = "the cat sat on the mat , two dogs"


@pytest.fixture(scope="module")
def prepared(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of few terms, so that not every document has all, and their index; the same with
    impacts so large that Lucene's float32 cannot add them."""
    from spladev3_anserini.cli.commands import commands

    folder = tmp_path_factory.mktemp("explain")
    write_corpus(folder / "corpus.jsonl", TEXTS)
    for name, scale in (("index", 100), ("large", 4999)):
        for words in (
                ["encode", "--model", tiny, "--variant", "splade-v3", "--max-length", 64,
                 "--corpus", folder / "corpus.jsonl", "--top-k", 15, "--scale", scale,
                 "--output", folder / f"{name}.enc"],
                ["index", "--encoded", folder / f"{name}.enc", "--index", folder / name]):
            commands.main([str(word) for word in words], standalone_mode=False)
    return folder


def vectors(folder: Path) -> dict[str, dict[str, int]]:
    lines = [json.loads(line) for shard in sorted((folder / "impacts").iterdir())
             for line in shard.read_text("utf-8").splitlines()]
    return {line["id"]: line["vector"] for line in lines}


def plainly(tiny: Path, text: str, scale: float = 100) -> dict[str, int]:
    """{term: impact}, from the whole matrix of logits."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    with torch.no_grad():
        logits = AutoModelForMaskedLM.from_pretrained(tiny)(
            **tokenizer(text, return_tensors="pt")).logits[0]
    weights = torch.log1p(torch.relu(logits)).amax(dim=0).numpy()
    impacts = np.rint(weights * np.float32(scale)).astype(int)
    return {term: int(impacts[i]) for term, i in tokenizer.get_vocab().items()
            if impacts[i] and i not in tokenizer.all_special_ids}


def explained(cli: Cli, *words: object) -> dict[str, Any]:
    result = cli("explain", *words, "--max-length", 64, "--format", "json")
    assert result.code == 0, result
    found: dict[str, Any] = json.loads(result.out)
    return found


def test_a_text_has_the_terms_that_plain_logits_give_it(tiny: Path, cli: Cli) -> None:
    found = explained(cli, "--model", tiny, "--variant", "splade-v3", "--text", TEXT)
    expected = plainly(tiny, TEXT)
    pieces = {"the", "cat", "sat", "on", "mat", ",", "two", "dog", "##s"}
    assert {t["term"]: t["impact"] for t in found["terms"]} == pytest.approx(expected, abs=1)
    assert [t["impact"] for t in found["terms"]] == sorted(expected.values(), reverse=True)
    assert {t["term"] for t in found["terms"] if t["own"]} == pieces & expected.keys()
    assert set(found["silent"]) == pieces - expected.keys()
    assert sum(t["share"] for t in found["terms"]) == pytest.approx(1)
    total = sum(expected.values())
    new = sum(w for term, w in expected.items() if term not in pieces)
    assert found["expansion_share"] == pytest.approx(new / total, abs=0.01)
    assert found["cut"] == 0


def test_what_a_query_free_encoder_makes_of_a_query(tiny: Path, cli: Cli) -> None:
    """Each wordpiece once with impact 1, nothing new; what is beyond the limit is counted."""
    result = cli("explain", "--model", tiny, "--variant", "splade-v3-doc", "--side", "query",
                 "--text", TEXT, "--max-length", 6)
    assert result.code == 0, result
    rows = [line.split() for line in result.out.splitlines()]
    assert rows[1:5] == [[term, "1", "25.0%"] for term in ("cat", "on", "sat", "the")]
    assert "4 own terms and 0 of expansion, which have 0.0% of 4" in result.out
    assert "cut off by the length limit: 6 wordpieces" in result.out


def test_expansion_is_marked_and_the_rest_counted(tiny: Path, cli: Cli) -> None:
    result = cli("explain", "--model", tiny, "--variant", "splade-v3", "--text", TEXT, "--terms",
                 12, "--max-length", 64)
    expected = plainly(tiny, TEXT)
    lines = result.out.splitlines()
    marked = [line.split()[-3] for line in lines[1:13] if line.startswith("+")]
    assert marked
    assert not {"the", "cat", "sat", "on", "mat", ",", "two", "dog", "##s"} & set(marked)
    assert f"and {len(expected) - 12} more" in lines


@pytest.mark.parametrize("docid", ["d1", "d10", "é-id"])
def test_a_score_is_the_sum_of_products_and_the_indexs(docid: str, prepared: Path, tiny: Path,
                                                    cli: Cli) -> None:
    """The query's impacts from plain logits, the document's from the shards, the rank counted."""
    asked = "heat and air flow"
    found = explained(cli, "--index", prepared / "index", "--docid", docid, "--query", asked)
    query, documents = plainly(tiny, asked), vectors(prepared / "index.enc")
    own = documents[docid]
    match, cost = found["match"], found["cost"]
    rows = {row["term"]: row for row in match["products"]}
    assert rows.keys() == query.keys() & own.keys()
    assert match["unmatched"].keys() == query.keys() - own.keys()
    so_far, exact = 0, {**match["unmatched"], **{t: r["query"] for t, r in rows.items()}}
    assert exact == pytest.approx(query, abs=1)
    for row in match["products"]:
        assert row["document"] == own[row["term"]]
        assert row["product"] == row["query"] * own[row["term"]]
        so_far += row["product"]
        assert row["so_far"] == so_far
        assert row["own"] == (row["term"] in asked.split())
    scores = {d: sum(exact.get(t, 0) * w for t, w in v.items()) for d, v in documents.items()}
    assert match["score"] == match["index_score"] == so_far == scores[docid]
    assert match["rank"] == 1 + sum((-s, d) < (-scores[docid], docid) for d, s in scores.items())

    frequency = {t: sum(t in v for v in documents.values()) for t in own}
    assert {p["term"]: (p["impact"], p["documents"]) for p in cost["postings"]} == \
        {t: (own[t], frequency[t]) for t in own}
    assert [p["documents"] for p in cost["postings"]] == sorted(frequency.values())
    assert cost["total"] == sum(map(len, documents.values()))
    size = sum(f.stat().st_size for f in (prepared / "index").glob("*.doc"))
    assert cost["bytes_each"] == size / cost["total"]


def test_a_document_outside_the_hits_still_has_its_score(prepared: Path, cli: Cli) -> None:
    words = ["--index", prepared / "index", "--query", "heat and air flow"]
    ranks = {d: explained(cli, *words, "--docid", d)["match"] for d in ("d1", "d2", "d10")}
    last = max(ranks, key=lambda d: ranks[d]["rank"])
    outside = explained(cli, *words, "--docid", last, "--hits", 1)["match"]
    assert outside == ranks[last] | {"rank": None, "hits": 1}
    text = cli("explain", *words, "--docid", last, "--hits", 1, "--max-length", 64).out
    assert "not among the best 1" in text
    assert f"score {ranks[last]['score']:,}, as the index has it" in text


def test_terms_of_two_surrogates_and_nothing_in_common(tmp_path: Path) -> None:
    """Java's strings are UTF-16; Lucene's terms are not."""
    from lucene.test_exactness import index_of

    from spladev3_anserini.lucene.opening import open_postings

    documents = [("a", {"😀": 3, "é": 2, "中": 7}), ("b", {"é": 5}), ("c", {"x": 1})]
    with open_postings(index_of(documents, tmp_path)) as postings:
        assert {d: postings.vector(d) for d, _ in documents} == dict(documents)
        assert postings.frequencies(["😀", "é", "none"]) == {"😀": 1, "é": 2, "none": 0}
        assert [postings.score({"😀": 9, "é": 1}, d) for d, _ in documents] == [29, 5, 0]
        assert (postings.documents, postings.total) == (3, 5)


def test_a_sum_that_float32_cannot_hold_fails(prepared: Path, cli: Cli, tmp_path: Path) -> None:
    """The exact engine has it."""
    words = ("--docid", "d1", "--query", TEXTS["d1"], "--max-length", 64)
    match = explained(cli, "--index", prepared / "large", *words[:-2])["match"]
    assert match["score"] == match["index_score"] == sum(
        row["product"] for row in match["products"]) > 1 << 24
    cli("index", "--encoded", prepared / "large.enc", "--index", tmp_path / "large", "--no-engine")
    result = cli("explain", "--index", tmp_path / "large", *words)
    assert result.code == 1
    assert "the products sum to" in result.err
    assert "2^24" in result.err.splitlines()[-1]


def test_pages_hold_all_terms_and_no_markup_of_the_text(prepared: Path, tiny: Path,
                                                        tmp_path: Path, cli: Cli) -> None:
    import re

    page = tmp_path / "page.html"
    cli("explain", "--model", tiny, "--variant", "splade-v3", "--text", "<b>cat</b> & mat",
        "--terms", 1, "--html", page, "--max-length", 64)
    text = page.read_text("utf-8")
    assert "&lt;b&gt;cat&lt;/b&gt; &amp; mat" in text
    assert len(re.findall('<tr class="(?:own|expansion)">', text)) == \
        len(plainly(tiny, "<b>cat</b> & mat"))
    cli("explain", "--index", prepared / "index", "--docid", "é-id", "--query", "heat", "--html",
        page, "--max-length", 64)
    text = page.read_text("utf-8")
    assert "Why é-id has its score" in text
    assert not re.search(r"\bnan\b|None|src=|href=", text)


def test_what_is_refused(prepared: Path, tiny: Path, refused: Callable[..., str]) -> None:
    index = prepared / "index"
    assert "either --text" in refused("explain")
    assert "--text needs --model" in refused("explain", "--text", "cat")
    assert "--index needs" in refused("explain", "--index", index, "--docid", "d1")
    assert "not in" in refused("explain", "--index", index, "--docid", "empty", "--query", "cat",
                               "--max-length", 64)
    assert "no term" in refused("explain", "--index", index, "--docid", "d1", "--query", " ",
                                "--max-length", 64)
    assert "no wordpiece" in refused("explain", "--model", tiny, "--text", "", "--max-length", 64)
    assert "unpaired" in refused("explain", "--model", tiny, "--text", "\udc80", "--max-length", 64)
