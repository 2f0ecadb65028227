"""Static query weights: from texts to a ranking, equal to the formula, whatever was interrupted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import TEXTS, Result, write_corpus
from matrix_rows import vector_of

from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.shards import read_encoded, read_manifest
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.model.variants import VARIANTS

QUERIES = {"q1": "the cat on the mat", "q2": "wing lift wing", "q3": "é bark"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("static") / "corpus.jsonl", TEXTS)


def slow_idf(tiny: Path, corpus: Path) -> dict[str, float]:
    """ln(1 + (N - df + .5) / (df + .5)) by sets of strings."""
    tokenizer = Tokenizer(tiny)
    texts = [set(tokenizer.pieces(document.text)) for document in read_corpus(str(corpus))]
    special = {str(tokenizer.terms[i]) for i in tokenizer.special_ids}
    idf = {}
    for term in set(map(str, tokenizer.terms)) - special:
        df = sum(term in text for text in texts)
        idf[term] = math.log(1 + (len(texts) - df + 0.5) / (df + 0.5))
    return idf


def test_the_corpus_gives_the_idf_of_its_texts(tiny: Path, corpus: Path, tmp_path: Path,
                                               cli: Callable[..., Result]) -> None:
    done = cli("encode", "--model", tiny, "--query-weights", "idf", "--corpus", corpus,
               "--output", tmp_path / "e", "--max-length", 64)
    assert done.code == 0, done
    table = json.loads((tmp_path / "e" / "query_weights.json").read_text("utf-8"))
    assert table == pytest.approx(slow_idf(tiny, corpus), rel=1e-6)
    manifest = read_manifest(tmp_path / "e")
    assert (manifest.fingerprint.variant, manifest.fingerprint.query_weights) == ("static", "idf")
    # documents are those of every other variant, byte for byte
    assert cli("encode", "--model", tiny, "--corpus", corpus, "--output", tmp_path / "plain",
               "--max-length", 64).code == 0
    shard = "impacts/part-00000.jsonl"
    assert (tmp_path / "e" / shard).read_bytes() == (tmp_path / "plain" / shard).read_bytes()


def test_parts_and_a_resumed_encoding_give_the_same_table(tiny: Path, corpus: Path, tmp_path: Path,
                                                          cli: Callable[..., Result]) -> None:
    encode = ("encode", "--model", tiny, "--query-weights", "idf", "--corpus", corpus,
              "--max-length", 64, "--shard-size", 2, "--output")
    assert cli(*encode, tmp_path / "whole").code == 0
    for part in ("2/3", "1/3", "3/3"):
        assert cli(*encode, tmp_path / "parts", "--part", part).code == 0
    resumed = tmp_path / "resumed"
    assert cli(*encode, resumed).code == 0
    (resumed / "manifest.json").unlink()
    (resumed / "query_weights.json").unlink()
    (resumed / "impacts" / "part-00001.jsonl").unlink()
    assert "1 shard written" in cli(*encode, resumed).out
    whole = (tmp_path / "whole" / "query_weights.json").read_bytes()
    for folder in ("parts", "resumed"):
        assert (tmp_path / folder / "query_weights.json").read_bytes() == whole
        assert read_manifest(tmp_path / folder).query_weights == \
            read_manifest(tmp_path / "whole").query_weights


def test_a_query_is_its_wordpieces_with_the_tables_weights(tiny: Path, tmp_path: Path) -> None:
    table = {"wing": 2.5, "lift": 0.005, "cat": 0.004, "the": 1.0}
    encoder = Encoder(open_checkpoint(str(tiny)), VARIANTS["static"], "query",
                      EncoderSettings(max_length=64, query_weights=table))
    assert encoder.network is None
    matrix = encoder.impacts(["wing lift wing cat", "mat", ""])
    assert vector_of(encoder, matrix, 0) == {"wing": 250}  # 0.5 and 0.4 round to 0
    assert matrix.getnnz(axis=1).tolist() == [1, 0, 0]
    floats = encoder.weights(["wing lift wing cat the"])
    assert dict(zip(encoder.terms[floats.indices], floats.data, strict=True)) == {
        term: np.float32(weight) for term, weight in table.items()}


@pytest.fixture(scope="module")
def indexed(tiny: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory,
            request: pytest.FixtureRequest) -> Path:
    """A folder with `encoded` and `index` of the corpus with its IDF."""
    from spladev3_anserini.encoding.pipeline import encode_to_directory
    from spladev3_anserini.encoding.planning import plan_texts
    from spladev3_anserini.encoding.shard_source import EncodingOutput
    from spladev3_anserini.lucene.build import build_index

    folder = tmp_path_factory.mktemp("static-index")
    checkpoint = open_checkpoint(str(tiny))
    encoder = Encoder(checkpoint, VARIANTS["static"], "document",
                      EncoderSettings(max_length=64, query_weights="idf"))
    encode_to_directory(plan_texts(str(corpus), "document"), checkpoint, encoder,
                        EncodingOutput(folder=folder / "encoded"))
    build_index(folder / "encoded", folder / "index")
    return folder


def hits(run: Path) -> dict[str, list[tuple[str, str]]]:
    ranking: dict[str, list[tuple[str, str]]] = {}
    for line in run.read_text("utf-8").splitlines():
        query, _, document, _, score, _ = line.split()
        ranking.setdefault(query, []).append((document, score))
    return ranking


def test_a_search_is_the_dot_product_with_rounded_weights(
        tiny: Path, corpus: Path, indexed: Path, tmp_path: Path,
        cli: Callable[..., Result]) -> None:
    topics = write_corpus(tmp_path / "topics.jsonl", QUERIES)
    searched = cli("search", "--index", indexed / "index", "--topics", topics,
                   "--output", tmp_path / "run.txt")
    assert searched.code == 0, searched
    manifest = read_manifest(indexed / "encoded")
    oracle = ExactSearcher((document.id, document.vector)
                           for document in read_encoded(indexed / "encoded", manifest))
    idf, tokenizer = slow_idf(tiny, corpus), Tokenizer(tiny)
    for query, text in QUERIES.items():
        impacts = {piece: round(100 * idf[piece]) for piece in set(tokenizer.pieces(text)) & idf.keys()}
        expected = [(docid, str(score)) for docid, score in oracle.search(impacts, 1000)]
        assert hits(tmp_path / "run.txt").get(query, []) == expected
    # encoded beforehand, with the table that the index holds: the same run
    for table in (indexed / "index", indexed / "encoded"):
        assert cli("encode", "--model", tiny, "--topics", topics, "--max-length", 64, "--overwrite",
                   "--query-weights", table / "query_weights.json",
                   "--output", tmp_path / "queries").code == 0
        assert cli("search", "--index", indexed / "index", "--queries", tmp_path / "queries",
                   "--output", tmp_path / "again.txt").code == 0
        assert (tmp_path / "again.txt").read_bytes() == (tmp_path / "run.txt").read_bytes()


def test_any_index_can_be_searched_with_a_table(tiny: Path, indexed: Path, tmp_path: Path,
                                                cli: Callable[..., Result]) -> None:
    """A table of ones is a bag of words, whose weights of 1 no scale changes."""
    topics = write_corpus(tmp_path / "topics.jsonl", QUERIES)
    ones = tmp_path / "ones.tsv"
    words = {word for text in QUERIES.values() for word in text.split()}
    ones.write_text("".join(f"{word}\t0.01\n" for word in sorted(words)), "utf-8")
    by_table = cli("search", "--index", indexed / "index", "--topics", topics,
                   "--query-weights", ones, "--output", tmp_path / "table.txt")
    assert by_table.code == 0, by_table
    assert cli("encode", "--model", tiny, "--topics", topics, "--variant", "splade-v3-doc",
               "--max-length", 64, "--output", tmp_path / "bow").code == 0
    refusal = cli("search", "--index", indexed / "index", "--queries", tmp_path / "bow",
                  "--output", tmp_path / "bow.txt")
    assert refusal.code == 2
    assert "do not belong together: variant splade-v3-doc against static" in refusal.err
    file = tmp_path / "bow" / "impacts" / "part-00000.jsonl"
    assert cli("search", "--index", indexed / "index", "--queries", file,
               "--output", tmp_path / "bow.txt").code == 0
    assert hits(tmp_path / "table.txt") == hits(tmp_path / "bow.txt")


def test_explain_and_ask_take_the_table_of_a_search(tiny: Path, indexed: Path, tmp_path: Path,
                                                    cli: Callable[..., Result]) -> None:
    table = tmp_path / "table.tsv"
    table.write_text("wing\t2.5\nlift\t1\n")
    topics = write_corpus(tmp_path / "topics.jsonl", {"q": "wing lift"})
    search = ("search", "--index", indexed / "index", "--topics", topics, "--query-weights", table)
    assert cli(*search, "--output", tmp_path / "run.txt").code == 0
    docid, score = hits(tmp_path / "run.txt")["q"][0]
    shown = cli("explain", "--index", indexed / "index", "--docid", docid, "--query", "wing lift",
                "--query-weights", table, "--format", "json")
    assert shown.code == 0, shown
    assert json.loads(shown.out)["match"]["index_score"] == int(score)
    asked = cli("ask", "--index", indexed / "index", "--query-weights", table, "wing lift")
    assert "  wing 250  lift 100\n" in asked.out
    assert asked.out.splitlines()[3].split() == ["1", docid, score]
    text = cli("explain", "--model", tiny, "--side", "query", "--text", "wing lift",
               "--query-weights", table, "--format", "json")
    assert text.code == 0, text
    assert "250" in text.out
    overwritten = cli(*search, "--output", table)
    assert overwritten.code == 2
    assert "is an input as well" in overwritten.err
    assert table.read_text().startswith("wing")


@pytest.mark.fault(8, "a table of query weights that was changed, is gone, or is another index's",
                   then="refused by file", detected="its sha256 in the manifests")
def test_another_table_is_refused(tiny: Path, indexed: Path, tmp_path: Path,
                                  refused: Callable[..., str], cli: Callable[..., Result]) -> None:
    topics = write_corpus(tmp_path / "topics.jsonl", QUERIES)
    other = tmp_path / "other.json"
    other.write_text('{"cat": 2.0}')
    assert cli("encode", "--model", tiny, "--topics", topics, "--query-weights", other,
               "--max-length", 64, "--output", tmp_path / "queries").code == 0
    search = ("search", "--index", indexed / "index", "--output", tmp_path / "run.txt")
    assert "query_weights" in refused(*search, "--queries", tmp_path / "queries")
    table = indexed / "index" / "query_weights.json"
    content = table.read_bytes()
    try:
        table.write_bytes(content.replace(b"1", b"2", 1))
        assert f"{table}: changed since it was written" in refused(*search, "--topics", topics)
        damaged = cli("verify", indexed / "index")
        assert damaged.code == 1
        assert "query_weights.json: changed" in damaged.err
        table.unlink()
        assert f"{table}: missing" in refused(*search, "--topics", topics)
    finally:
        table.write_bytes(content)
    assert not (tmp_path / "run.txt").exists()


@pytest.mark.parametrize(("options", "said"), [
    (("--topics", "C", "--query-weights", "idf"), "is counted from documents"),
    (("--corpus", "C", "--query-weights", "idf", "--variant", "splade-v3"), "--query-weights"),
    (("--corpus", "C", "--variant", "static"), "has no table of query weights"),
    (("--corpus", "C", "--query-weights", "missing.json"), "missing.json: no such file"),
    (("--corpus", "C", "--query-weights", ""), "Invalid value for '--query-weights': is empty"),
    (("--corpus", "C", "--query-weights", "TABLE", "--scale", 20000),
     "--query-weights: a weight of 2.0 is outside 0..1.63835 (or NaN) at --scale 20000"),
    (("--topics", "C", "--query-weights", "TABLE", "--scale", 0.01),
     "--query-weights: every term has an impact of 0 at --scale 0.01"),
])
def test_a_table_that_does_not_fit_is_refused(options: tuple[object, ...], said: str, tiny: Path,
                                              corpus: Path, tmp_path: Path,
                                              refused: Callable[..., str]) -> None:
    (tmp_path / "table.json").write_text('{"cat": 2.0}')
    paths: dict[object, object] = {"C": corpus, "TABLE": tmp_path / "table.json"}
    words = [paths.get(word, word) for word in options]
    assert said in refused("encode", "--model", tiny, "--max-length", 64, *words,
                           "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()
