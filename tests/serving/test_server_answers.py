"""What the server answers is what `search` and the API find, and adds up."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TEXTS, Result, index_here, write_corpus, write_lines
from served import client_of, error_of, make_index
from starlette.testclient import TestClient

import spladev3_anserini as splade
from spladev3_anserini.collection.runs import read_run_file

QUESTIONS = ["the cat", "heat and air", "wing wing", "one two three", "é 中", "shock ##s", "\" \\"]


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory, _indexes_here: object) -> Path:
    """Two impact indexes, `index` with texts and `plain` without, and `bm25`, one of texts."""
    folder = tmp_path_factory.mktemp("served")
    make_index(tiny, folder, store_texts=True)
    make_index(tiny, folder, name="plain")
    write_corpus(folder / "texts" / "corpus.jsonl", {i: text for i, text in TEXTS.items() if text.strip()})
    index_here("JsonCollection", folder / "texts", folder / "bm25", 1, ["-storeRaw", "-storePositions"], 6)
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    table = write_lines(folder / "table.tsv", ["cat\t2.5", "the\t0.01", "wing\t1.25"])
    with client_of({name: folder / name for name in ("index", "plain", "bm25")}, table=table) as client:
        yield client


def ask(client: TestClient, query: str | None = None, **fields: Any) -> dict[str, Any]:
    answer = client.post("/search", json={"query": query, **fields})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def hits(answer: dict[str, Any]) -> list[tuple[str, float]]:
    assert [hit["rank"] for hit in answer["hits"]] == list(range(1, len(answer["hits"]) + 1))
    return [(hit["docid"], hit["score"]) for hit in answer["hits"]]


def test_answers_are_the_run_of_search(client: TestClient, folder: Path,
                                       cli: Callable[..., Result]) -> None:
    topics = write_lines(folder / "topics.jsonl",
                         [{"id": f"q{n}", "contents": text} for n, text in enumerate(QUESTIONS)])
    done = cli("search", "--index", folder / "index", "--topics", topics, "--output", folder / "run.txt",
               "--hits", 4)
    assert done.code == 0, done
    run = read_run_file(folder / "run.txt")
    found = {f"q{n}": hits(ask(client, text, hits=4)) for n, text in enumerate(QUESTIONS)}
    assert {topic: dict(ranking) for topic, ranking in found.items() if ranking} == run
    assert [[docid for docid, _ in ranking] for ranking in found.values()] == [
        [line.split()[2] for line in (folder / "run.txt").read_text("utf-8").splitlines()
         if line.split()[0] == topic] for topic in found]


def test_the_impacts_are_those_of_the_query_and_give_the_same_hits(client: TestClient, folder: Path) -> None:
    index = splade.open_index(folder / "index")
    for text in QUESTIONS:
        answer = ask(client, text)
        impacts = {row["term"]: row["impact"] for row in answer["impacts"]}
        assert list(impacts.items()) == list(index.impacts(text).items())
        again = ask(client, impacts=impacts)
        assert hits(again) == hits(answer)
        assert (again["query"], again["variant"]) == (None, None)
        assert all(row["own"] is None for row in again["impacts"])


def test_own_terms_are_the_wordpieces_of_the_query(client: TestClient) -> None:
    assert {row["term"] for row in ask(client, "the Cat cats")["impacts"] if row["own"]} <= {
        "the", "cat", "##s"}
    assert {row["term"]: row["own"] for row in ask(client, "the cats", variant="bow")["impacts"]} == {
        "the": True, "cat": True, "##s": True}


def test_a_get_is_the_same_as_a_post(client: TestClient) -> None:
    def without_times(answer: Any) -> dict[str, Any]:
        assert answer.status_code == 200, answer.text
        content = dict(answer.json())
        assert min(content.pop("milliseconds").values()) >= 0
        return content

    for fields in ({}, {"hits": 2}, {"index": "plain", "variant": "bow"}, {"texts": False},
                   {"fuse": ["index", "bm25"]}):
        posted = client.post("/search", json={"query": "the cat", **fields})
        got = client.get("/search", params={"q": "the cat", **fields})
        assert without_times(got) == without_times(posted)


def test_variants_weight_the_query_otherwise(client: TestClient) -> None:
    """bow: 1 each. lexical: the expansion's own wordpieces. static: rint(100 x the table's weight)."""
    expanded = {row["term"]: row["impact"] for row in ask(client, "the cat")["impacts"]}

    def impacts(variant: str) -> dict[str, int]:
        answer = ask(client, "the cat", variant=variant)
        assert answer["variant"] == variant
        return {row["term"]: row["impact"] for row in answer["impacts"]}

    assert impacts("bow") == {"the": 1, "cat": 1}
    assert impacts("lexical") == {term: expanded[term] for term in ("the", "cat") if term in expanded}
    assert impacts("static") == {"cat": 250, "the": 1}
    assert impacts("expand") == expanded
    assert ask(client, "the cat", variant="splade-v3-doc")["impacts"] == ask(
        client, "the cat", variant="bow")["impacts"]
    error = error_of(client.post("/search", json={"query": "cat", "variant": "colbert"}), 422)
    assert error == "variant colbert: index can be asked with expand, lexical, bow, static"


def test_models_lists_what_can_be_asked(client: TestClient, tiny: Path) -> None:
    rows = client.get("/models").json()["indexes"]
    modes = ["expand", "lexical", "bow", "static"]
    impact = {"kind": "impact", "model": str(tiny), "variant": "expand", "variants": modes,
              "documents": 6, "engine": "arrays"}
    assert rows == [{"name": "index", "texts": True, **impact}, {"name": "plain", "texts": False, **impact},
                    {"name": "bm25", "kind": "bm25", "model": "bm25", "variant": "bm25", "variants": [],
                     "documents": 6, "texts": True, "engine": "lucene"}]
    for row in rows:
        for variant in row["variants"]:
            assert ask(client, "cat", index=row["name"], variant=variant)["hits"]


def test_texts_and_the_words_that_match(client: TestClient) -> None:
    answer = ask(client, "cat mat", variant="bow")
    assert all(hit["text"] == TEXTS[hit["docid"]] for hit in answer["hits"])
    (hit,) = (hit for hit in answer["hits"] if hit["docid"] == "d1")
    assert "".join(piece for piece, _ in hit["snippet"]) == TEXTS["d1"]
    assert [piece for piece, marked in hit["snippet"] if marked] == ["cat", "mat"]
    for fields in ({"texts": False}, {"index": "plain"}):
        assert all(hit["text"] is None and hit["snippet"] is None
                   for hit in ask(client, "cat", **fields)["hits"])


def test_products_add_up_to_the_score_of_the_hit(client: TestClient) -> None:
    for variant in ("expand", "bow"):
        answer = ask(client, "the cat on a mat", variant=variant)
        for hit in answer["hits"]:
            body = {"query": "the cat on a mat", "variant": variant, "docid": hit["docid"]}
            reason = client.post("/explain", json=body).json()
            assert reason["score"] == hit["score"] == sum(row["product"] for row in reason["terms"])
            assert all(row["product"] == row["query"] * row["document"] for row in reason["terms"])
            assert reason["terms"] == sorted(reason["terms"],
                                             key=lambda row: (-row["product"], row["term"]))
            assert reason["text"] == TEXTS[hit["docid"]]
            assert {row["term"]: row["query"] for row in reason["terms"]}.items() <= {
                row["term"]: row["impact"] for row in answer["impacts"]}.items()
    assert client.post("/explain", json={"impacts": {"zzz": 4}, "docid": "d1"}).json() == {
        "docid": "d1", "score": 0, "terms": [], "text": TEXTS["d1"]}


def test_documents_have_the_impacts_that_were_indexed(client: TestClient, tiny: Path) -> None:
    model = splade.load(tiny)
    for docid in ("d1", "d10", "é-id"):
        document = client.get(f"/documents/{docid}").json()
        (impacts,) = model.impacts([TEXTS[docid]])
        assert {row["term"]: row["impact"] for row in document["impacts"]} == impacts
        assert document["text"] == TEXTS[docid]
        assert {row["term"] for row in document["impacts"] if row["own"]} <= set(TEXTS[docid].split())
        plain = client.get(f"/documents/{docid}", params={"index": "plain"}).json()
        assert plain["text"] is None
        assert all(row["own"] is None for row in plain["impacts"])
    assert client.get("/documents/d4", params={"index": "bm25"}).json() == {
        "docid": "d4", "text": TEXTS["d4"], "impacts": []}


def test_ids_of_any_characters_are_found(tiny: Path, tmp_path: Path) -> None:
    ids = ["a/b//c", "../../etc/passwd", "a?b#c", "é中\U0001f600", "<img/src=x>", ".", "d+1"]
    index = make_index(tiny, tmp_path, dict.fromkeys(ids, "the cat"), store_texts=True)
    with client_of({"index": index}) as client:
        from urllib.parse import quote

        for docid in ids:
            # a client would resolve `.` and `..`, so they are written in %
            path = quote(docid, safe="").replace(".", "%2E")
            answer = client.get(f"/documents/{path}")
            assert (answer.status_code, answer.json()["docid"]) == (200, docid), docid
            assert answer.json()["text"] == "the cat"
        assert sorted(docid for docid, _ in hits(ask(client, "the cat"))) == sorted(ids)


def test_bm25_is_asked_by_words(client: TestClient) -> None:
    """By formula: Lucene's BM25 with k1 .9 and b .4; Anserini rounds to 4 decimals."""
    answer = ask(client, "wing", index="bm25")
    lengths = {i: len([word for word in text.split() if word not in STOP and word.isalnum()])
               for i, text in TEXTS.items() if text.strip()}
    mean = sum(lengths.values()) / len(lengths)
    idf = math.log(1 + (6 - 1 + 0.5) / (1 + 0.5))
    score = idf / (1 + 0.9 * (1 - 0.4 + 0.4 * lengths["d3"] / mean))
    assert hits(answer) == [("d3", pytest.approx(score, abs=5.1e-5))]
    assert answer["hits"][0]["text"] == TEXTS["d3"]
    assert [piece for piece, marked in answer["hits"][0]["snippet"] if marked] == ["wing"]
    assert (answer["impacts"], answer["variant"], answer["query"]) == ([], "bm25", "wing")
    # stop words do not match, and words match by their stems
    (hit,) = ask(client, "the running of cats", index="bm25", hits=1)["hits"]
    assert [piece for piece, marked in hit["snippet"] if marked] == (
        ["cat"] if hit["docid"] == "d1" else ["runs"])
    assert hits(ask(client, "", index="bm25")) == []


def test_bm25_has_no_variant_also_as_the_default(folder: Path) -> None:
    with client_of({name: folder / name for name in ("bm25", "plain")}) as client:
        for index in (None, "bm25"):
            refused = client.post("/search", json={"query": "wing", "variant": "bow", "index": index})
            assert "bm25 is of BM25, which has none" in error_of(refused, 422)
        assert ask(client, "wing", variant="bow", fuse=["bm25", "plain"])["variant"] == "bow"


#: Lucene's English stop words that are in the texts.
STOP = {"the", "on", "a", "of", "and"}


def test_bm25_has_no_variant(client: TestClient, folder: Path) -> None:
    asked = {"query": "cat", "variant": "bow"}
    assert "which has none" in error_of(client.post("/search", json={**asked, "index": "bm25"}), 422)
    with client_of({"bm25": folder / "bm25", "other": folder / "bm25"}) as only:  # also where it is the default
        for more in ({}, {"fuse": ["bm25", "other"]}):
            assert "which has none" in error_of(only.post("/search", json={**asked, **more}), 422)


def test_rankings_are_fused_by_their_ranks(client: TestClient) -> None:
    one, other = (hits(ask(client, "cat wing", index=name)) for name in ("index", "bm25"))
    expected: dict[str, float] = {}
    for ranking in (one, other):
        for rank, (docid, _) in enumerate(ranking, 1):
            expected[docid] = expected.get(docid, 0) + 1 / (60 + rank)
    answer = ask(client, "cat wing", fuse=["index", "bm25"])
    assert dict(hits(answer)) == pytest.approx(expected, rel=1e-12)
    assert hits(answer) == sorted(hits(answer), key=lambda hit: (-hit[1], hit[0]))
    assert (answer["index"], answer["fuse"], answer["variant"]) == (None, ["index", "bm25"], "expand")
    assert [hit["text"] for hit in answer["hits"]] == [TEXTS[hit["docid"]] for hit in answer["hits"]]
    # a ranking is as deep as `fuse` has it, whatever hits are asked for
    assert hits(ask(client, "cat wing", fuse=["bm25", "index"], hits=1)) == hits(answer)[:1]
    assert ask(client, "cat", fuse=["plain", "bm25"])["hits"][0]["text"] is not None


def test_a_long_query_is_cut_and_says_so(client: TestClient) -> None:
    """The tiny model takes 64 tokens, [CLS] and [SEP] included."""
    answer = ask(client, "cat " * 100)
    assert answer["cut"] == 100 - 62
    assert hits(answer) == hits(ask(client, "cat " * 62))
    assert ask(client, "cat")["cut"] == 0


def test_a_query_without_terms_finds_nothing(client: TestClient) -> None:
    for query in ("", " ", "\n"):
        answer = ask(client, query)
        assert (answer["hits"], answer["impacts"]) == ([], [])
    assert ask(client, impacts={})["hits"] == []
    assert ask(client, impacts={"cat": 0})["hits"] == []


def test_lucene_answers_as_the_arrays_do(folder: Path, client: TestClient) -> None:
    with client_of({"index": folder / "index"}, lucene=True) as lucene:
        assert lucene.get("/models").json()["indexes"][0]["engine"] == "lucene"
        for text in QUESTIONS:
            assert hits(ask(lucene, text)) == hits(ask(client, text))
        body = {"query": "the cat", "docid": "d2"}
        assert lucene.post("/explain", json=body).json() == client.post("/explain", json=body).json()
        assert lucene.get("/documents/d2").json() == client.get("/documents/d2").json()
        error = error_of(lucene.post("/search", json={"impacts": dict.fromkeys(["cat", "theory", "pressure", "air"], 32767)}), 422)
        assert error == "impacts: scores from 16,777,216 on are not exact in Lucene; take smaller impacts"
    assert ask(client, impacts=dict.fromkeys(["cat", "theory", "pressure", "air"], 32767))["hits"][0]["score"] > 1 << 24


def test_the_requests_of_the_page_are_answered(client: TestClient) -> None:
    """Each line of curl in docs/serve.md, without its address."""
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text("utf-8")
    lines = [shlex.split(line) for line in re.findall(r"^curl .*$", page, re.M)]
    assert len(lines) == 7
    for line in lines:
        (url,) = (word for word in line if word.startswith("http://127.0.0.1:8080/"))
        body = line[line.index("-d") + 1] if "-d" in line else None
        answer = client.request("POST" if body else "GET", url.removeprefix("http://127.0.0.1:8080"),
                                content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 200, (line, answer.text)
        assert answer.json().get("hits") != [], line


def test_metrics_count_requests_and_time(client: TestClient) -> None:
    ask(client, "the cat", index="plain")
    error_of(client.get("/documents/none"), 404)
    text = client.get("/metrics").text
    for line in ('splade_requests_total{route="/search",status="200"}',
                 'splade_requests_total{route="/documents/{docid:path}",status="404"}',
                 'splade_encoding_seconds_count{index="plain"}', 'splade_search_seconds_count{index="plain"}',
                 "splade_batch_queries_bucket{le=\"1.0\"}", "splade_requests_running 1.0"):
        assert f"\n{line}" in text, line
    assert client.get("/health").json() == {"status": "ok"}
