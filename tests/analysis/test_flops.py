"""FLOPS against dense matrices of 0 and 1, and against its meaning, from shards and from Lucene."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TEXTS, Result, write_corpus, write_lines

Cli = Callable[..., Result]
TOPICS = {"q1": "cat on a mat", "q2": "shock wave theory", "q3": "", "q4": "heat", "q5": "xyzzy"}


@pytest.fixture(scope="module")
def prepared(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents, queries and an index of two variants."""
    from spladev3_anserini.cli.commands import commands

    folder = tmp_path_factory.mktemp("flops")
    write_corpus(folder / "corpus.jsonl", TEXTS)
    (folder / "topics.tsv").write_text("".join(f"{i}\t{t}\n" for i, t in TOPICS.items()))
    for name in ("v3", "v3-doc"):
        encode = ["encode", "--model", tiny, "--variant", f"splade-v3{name.removeprefix('v3')}",
                  "--max-length", 64, "--top-k", 9]
        for words in (
                [*encode, "--corpus", folder / "corpus.jsonl", "--output", folder / f"{name}.enc"],
                ["index", "--encoded", folder / f"{name}.enc", "--index", folder / f"{name}.idx"],
                [*encode[:-2], "--topics", folder / "topics.tsv", "--output",
                 folder / f"{name}.queries"]):
            commands.main([str(word) for word in words], standalone_mode=False)
    return folder


def vectors(folder: Path) -> list[dict[str, int]]:
    return [json.loads(line)["vector"] for shard in sorted((folder / "impacts").iterdir())
            for line in shard.read_text("utf-8").splitlines()]


def ones(rows: list[dict[str, int]], terms: list[str]) -> np.ndarray:
    return np.array([[term in row for term in terms] for row in rows], dtype=float)


def asked(cli: Cli, *words: object) -> list[dict[str, Any]]:
    result = cli("flops", *words, "--format", "json", "--max-length", 64)
    assert result.code == 0, result
    found: list[dict[str, Any]] = json.loads(result.out)
    return found


@pytest.mark.parametrize("name", ["v3", "v3-doc"])
def test_it_is_the_product_of_shares_and_the_mean_of_shared_terms(name: str, prepared: Path,
                                                                  cli: Cli) -> None:
    documents, queries = vectors(prepared / f"{name}.enc"), vectors(prepared / f"{name}.queries")
    assert {} in documents
    assert {} in queries
    terms = sorted(set().union(*documents, *queries))
    d, q = ones(documents, terms), ones(queries, terms)
    shards, = asked(cli, "--encoded", prepared / f"{name}.enc", "--topics",
                    prepared / "topics.tsv")
    assert shards["flops"] == pytest.approx(d.mean(axis=0) @ q.mean(axis=0), rel=1e-12)
    assert shards["flops"] == pytest.approx((q @ d.T).mean(), rel=1e-12)
    assert shards["document_nonzeros"] == d.sum(axis=1).mean()
    assert shards["query_nonzeros"] == q.sum(axis=1).mean()
    assert shards["postings"] == d.sum()
    assert (shards["documents"], shards["queries"]) == (len(TEXTS), len(TOPICS))
    assert shards["index_bytes"] is shards["list_bytes_per_posting"] is None

    index, = asked(cli, "--index", prepared / f"{name}.idx", "--queries",
                   prepared / f"{name}.queries")
    files = [f for f in (prepared / f"{name}.idx").iterdir()
             if f.suffix != ".json" and not f.name.startswith("engine.")]
    bytes_of = {"index_bytes": sum(f.stat().st_size for f in files),
                "posting_bytes": sum(f.stat().st_size for f in files if f.suffix == ".doc")}
    assert index == shards | {"name": str(prepared / f"{name}.idx"), **bytes_of,
                              "list_bytes_per_posting": bytes_of["posting_bytes"] / d.sum()}


def test_queries_of_a_file_from_elsewhere(prepared: Path, tmp_path: Path, cli: Cli) -> None:
    """Terms that no document has count 0; a query without terms is a query."""
    file = write_lines(tmp_path / "queries.jsonl", [
        {"id": "a", "contents": "", "vector": {"cat": 3, "nowhere": 9}},
        {"id": "b", "contents": "", "vector": {}}])
    documents = vectors(prepared / "v3.enc")
    found = asked(cli, "--index", prepared / "v3.idx", "--queries", file)[0]
    assert found["flops"] == sum("cat" in d for d in documents) / len(documents) / 2


def test_an_index_built_elsewhere(prepared: Path, tiny: Path, tmp_path: Path, cli: Cli,
                                  refused: Callable[..., str]) -> None:
    """Only documents with terms are in it, and nothing tells how many had none."""
    import shutil

    bare = Path(shutil.copytree(prepared / "v3.idx", tmp_path / "bare"))
    (bare / "spladev3_anserini.json").unlink()
    words = ["--index", bare, "--topics", prepared / "topics.tsv"]
    assert "--model" in refused("flops", *words)
    own = asked(cli, "--index", prepared / "v3.idx", "--topics", prepared / "topics.tsv")[0]
    other = asked(cli, *words, "--model", tiny, "--variant", "splade-v3")[0]
    full = sum(map(bool, vectors(prepared / "v3.enc")))
    assert other["documents"] == full
    assert other["flops"] == pytest.approx(own["flops"] * len(TEXTS) / full)


def test_a_table_with_what_each_is_worth_and_a_plot(prepared: Path, tmp_path: Path,
                                                    cli: Cli) -> None:
    qrels = write_lines(tmp_path / "qrels.txt", ["q1 0 d1 1", "q2 0 d4 1"])
    runs = [write_lines(tmp_path / "a.run", ["q1 Q0 d1 1 2 t", "q2 Q0 d4 1 2 t"]),
            write_lines(tmp_path / "b.run", ["q1 Q0 d2 1 2 t", "q1 Q0 d1 2 1 t"])]
    words = ["flops", "--index", f"v3={prepared / 'v3.idx'}", "--index",
             f"doc={prepared / 'v3-doc.idx'}", "--topics", prepared / "topics.tsv", "--max-length", 64,
             "--qrels", qrels, "--run", f"doc={runs[1]}", "--run", f"v3={runs[0]}", "--measures", "RR@10"]
    result = cli(*words, "--plot", tmp_path / "plot.svg")
    assert result.code == 0, result
    head, *rows = [line.split() for line in result.out.splitlines()]
    assert [(row[0], row[-1]) for row in rows] == [("v3", "1.0000"), ("doc", "0.2500")]
    assert head[-1] == "RR@10"
    assert "<svg" in (tmp_path / "plot.svg").read_text()


def test_bytes_of_lists_and_of_the_whole_index_have_two_names(prepared: Path, cli: Cli) -> None:
    """`index` prints all of Lucene's files, `flops` those of the lists of postings."""
    index = prepared / "v3.idx"
    built = cli("index", "--encoded", prepared / "v3.enc", "--index", index).out
    shown = cli("flops", "--index", index, "--queries", prepared / "v3.queries").out
    postings = sum(map(len, vectors(prepared / "v3.enc")))
    whole = sum(file.stat().st_size for file in index.iterdir()
                if file.suffix != ".json" and not file.name.startswith("engine."))
    lists = sum(file.stat().st_size for file in index.glob("*.doc"))
    assert f"MB of index ({whole / postings:.2f} bytes a posting), " in built
    head, row = shown.splitlines()
    assert head.endswith("  list bytes/posting")
    assert row.split()[-1] == f"{lists / postings:.2f}"


def test_what_is_refused(prepared: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    index, topics = prepared / "v3.idx", prepared / "topics.tsv"
    assert "either --index or --encoded" in refused("flops", "--topics", topics)
    assert "either --topics or --queries" in refused("flops", "--index", index)
    assert "given twice" in refused("flops", "--index", index, "--index", index, "--topics", topics)
    assert "for each of them" in refused("flops", "--index", index, "--index",
                                     f"doc={prepared / 'v3-doc.idx'}", "--queries",
                                     prepared / "v3.queries")
    assert "--plot needs" in refused("flops", "--index", index, "--topics", topics, "--plot", "x.svg")
    assert "do not belong" in refused("flops", "--index", index, "--queries",
                                      prepared / "v3-doc.queries")
    assert "encoded queries" in refused("flops", "--encoded", prepared / "v3.queries", "--topics",
                                        topics, "--max-length", 64)
    unknown = write_lines(tmp_path / "unknown.tsv", ["q\t"])
    assert "no query has any term" in refused("flops", "--index", prepared / "v3-doc.idx",
                                              "--topics", unknown, "--max-length", 64)
    part = next((prepared / "v3-doc.enc" / "impacts").iterdir())
    before = part.read_bytes()
    part.write_bytes(before.replace(b'"d1"', b'"d7"'))
    try:
        assert "changed since" in refused("flops", "--encoded", prepared / "v3-doc.enc", "--topics",
                                          topics, "--max-length", 64)
    finally:
        part.write_bytes(before)
