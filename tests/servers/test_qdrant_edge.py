"""Qdrant's own code: what is exported, loaded and searched equals the oracle, ties included."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result
from exports import Queries, encode_both
from indexes import Corpus

from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.query import EncodedTopic
from spladev3_anserini.servers.export import export_to
from spladev3_anserini.servers.load import load_export
from spladev3_anserini.servers.qdrant_edge import EdgeIndex, open_qdrant_edge
from spladev3_anserini.servers.record import read_export
from spladev3_anserini.servers.searching import search_engine

#: A term that splitlines() would take for two.
LINE_END = "a\x85b"


def numbers_up_to(most: int) -> tuple[Corpus, Queries]:
    """Every whole number up to `most` is an impact; many documents tie."""
    draw = random.Random(most)
    documents = [(f"d{number}", {".": number, f"t{number % 7}": 1 + number % 3})
                 for number in range(1, most + 1)]
    documents += [(f"tie{n:03d}", {LINE_END: 5}) for n in draw.sample(range(1000), 400)]
    draw.shuffle(documents)
    return documents, {"all": {".": 1}, "times": {".": 261, "t3": 77, "absent": 4}, "ties": {LINE_END: 9},
                       "both": {LINE_END: 3, "t1": 15}, "nothing": {"absent": 1}}


def loaded(tmp_path: Path, documents: Corpus, queries: Queries, storage: str) -> tuple[Path, EdgeIndex, int]:
    encoded, asked = encode_both(tmp_path, documents, queries)
    folder = tmp_path / "export"
    export_to("qdrant", encoded, folder, queries=asked, storage=storage)
    index = open_qdrant_edge(str(tmp_path / "edge"))
    return folder, index, load_export(folder, read_export(folder), index)


def searched(folder: Path, index: EdgeIndex, queries: Queries, hits: int) -> dict[str, Ranking]:
    topics = [EncodedTopic(name, dict(query)) for name, query in queries.items()]
    return dict(search_engine(folder, read_export(folder), index, topics, hits, 2))


@pytest.mark.fault(13, "impacts up to 2,048 as float16 in Qdrant, the term `.`, more ties than hits",
                   then="the oracle's documents, scores and order", detected="Qdrant Edge, impacts/exact.py")
@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_every_whole_number_up_to_the_limit_is_kept(storage: str, tmp_path: Path) -> None:
    documents, queries = numbers_up_to(2048)
    folder, index, sent = loaded(tmp_path, documents, queries, storage)
    assert index.optimized  # else nothing is stored as `storage` says, and float16 would not be seen
    assert sent == len(documents)
    oracle = ExactSearcher(documents)
    for hits in (1, 100, 2000):
        expected = {name: oracle.search(query, hits) for name, query in queries.items()}
        assert searched(folder, index, queries, hits) == expected
    index.close()


@pytest.mark.parametrize("datatype", ["float16", "uint8"])
def test_what_is_refused_would_indeed_be_wrong(datatype: str, tmp_path: Path) -> None:
    """The limit of float16, and bytes, which change even small weights."""
    import qdrant_edge

    kind = {"float16": qdrant_edge.VectorStorageDatatype.Float16,
            "uint8": qdrant_edge.VectorStorageDatatype.Uint8}[datatype]
    shard = qdrant_edge.EdgeShard.create(str(tmp_path / "edge"), qdrant_edge.EdgeConfig(
        sparse_vectors={"v": qdrant_edge.EdgeSparseVectorParams(datatype=kind)},
        optimizers=qdrant_edge.EdgeOptimizersConfig(indexing_threshold=1, default_segment_number=1)))
    shard.update(qdrant_edge.UpdateOperation.upsert_points([
        qdrant_edge.Point(number, {"v": qdrant_edge.SparseVector([0], [float(number)])})
        for number in range(1, 2501)]))
    assert shard.optimize()
    found = shard.query(qdrant_edge.QueryRequest(limit=2500, query=qdrant_edge.Query.Nearest(
        qdrant_edge.SparseVector([0], [1.0]), using="v")))
    wrong = {hit.id for hit in found if hit.score != hit.id}
    assert min(wrong) == {"float16": 2049, "uint8": 2}[datatype]
    shard.close()


def test_impacts_above_the_limit_are_refused_with_a_scale_that_fits(tmp_path: Path) -> None:
    encoded, _ = encode_both(tmp_path, [("d", {"a": 2049})], {"q": {"a": 1}})
    with pytest.raises(InputError, match=r"largest impact is 2,049; Qdrant keeps .* up to 2,048 \(float16\); "
                                         r".* encode --scale 99$"):
        export_to("qdrant", encoded, tmp_path / "out", storage="float16")
    with pytest.raises(InputError, match="`storage` uint8: Qdrant changes weights that are stored so, whatever"):
        export_to("qdrant", encoded, tmp_path / "out", storage="uint8")
    export_to("qdrant", encoded, tmp_path / "out", storage="float32")


@pytest.mark.fault(15, "a load into Qdrant that is stopped after some requests", then="the same load continues",
                   detected="the engine's count of each part")
def test_a_load_that_was_stopped_continues_and_a_second_one_changes_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents, queries = numbers_up_to(900)
    monkeypatch.setattr("spladev3_anserini.servers.load._DOCUMENTS", 100)
    requests: list[int] = []
    send = EdgeIndex.send

    def stopping(self: EdgeIndex, lines: list[str], first: str) -> None:
        requests.append(len(lines))
        if len(requests) == 7:
            raise KeyboardInterrupt
        send(self, lines, first)

    monkeypatch.setattr(EdgeIndex, "send", stopping)
    with pytest.raises(KeyboardInterrupt):
        loaded(tmp_path, documents, queries, "float32")
    folder = tmp_path / "export"
    record = read_export(folder)
    sizes = [shard.nonempty for shard in record.encoded.shards]
    _collect()
    index = open_qdrant_edge(str(tmp_path / "edge"))
    with pytest.raises(InputError, match=r"holds 534 documents of 1,300; .* bulk-00001.ndjson; run the same load"):
        searched(folder, index, queries, 10)
    requests[:] = range(100)  # the next one is not the seventh
    assert load_export(folder, record, index) == sum(sizes[1:])
    assert load_export(folder, record, index) == 0
    oracle = ExactSearcher(documents)
    assert searched(folder, index, queries, 50) == {n: oracle.search(q, 50) for n, q in queries.items()}
    index.close()


def _collect() -> None:
    """Frees the folder that the interrupted load held."""
    import gc

    gc.collect()


@pytest.mark.fault(15, "another export loaded into the same place, or a folder of something else",
                   detected="the mark in the engine")
def test_what_the_engine_holds_must_be_the_export(tmp_path: Path) -> None:
    documents, queries = numbers_up_to(20)
    _, index, _ = loaded(tmp_path / "one", documents, queries, "float32")
    encoded, _ = encode_both(tmp_path / "two", documents[:-1], queries)
    export_to("qdrant", encoded, tmp_path / "other")
    record = read_export(tmp_path / "other")
    with pytest.raises(InputError, match="holds another export"):
        load_export(tmp_path / "other", record, index)
    with pytest.raises(InputError, match=r"holds another export than .*: spladev3-anserini load .* --url ADDRESS"):
        list(search_engine(tmp_path / "other", record, index, [EncodedTopic("q", {"a": 1})], 10, 1))
    index.close()
    with pytest.raises(InputError, match="is no folder of Qdrant Edge"):
        open_qdrant_edge(str(encoded))


def test_the_commands_give_our_run(tmp_path: Path, cli: Callable[..., Result],
                                   refused: Callable[..., str]) -> None:
    documents, queries = numbers_up_to(60)
    encoded, asked = encode_both(tmp_path, documents, queries)
    folder, edge, run = tmp_path / "export", tmp_path / "edge", tmp_path / "run.txt"
    made = cli("export-to", "qdrant", "--encoded", encoded, "--queries", asked, "--output", folder)
    assert "460 documents, 520 postings, 5 queries for Qdrant" in made.out
    assert "460 documents, 460 of them sent now" in cli("load", folder, "--url", edge).out
    assert "460 documents, 0 of them sent now" in cli("load", folder, "--url", edge).out
    (folder / "bulk-00000.ndjson").unlink()  # no search needs it
    done = cli("search", "--engine", folder, "--url", edge, "--queries", asked, "--hits", 100, "--output", run)
    assert (done.code, "4 with hits" in done.out) == (0, True)
    oracle = ExactSearcher(documents)
    assert run.read_text() == "".join(
        f"{name} Q0 {docid} {rank} {score} spladev3-anserini\n" for name, query in queries.items()
        for rank, (docid, score) in enumerate(oracle.search(query, 100), 1))
    assert "exact" in cli("check", "--run", run, "--encoded", encoded, "--queries", asked).out
    assert "give either --index or --engine" in refused("search", "--queries", asked, "--output", run)
    assert "give --engine and --url together" in refused(
        "search", "--engine", folder, "--queries", asked, "--output", run)
