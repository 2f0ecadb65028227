"""The official clients of OpenSearch and Elasticsearch against a stub of the endpoints we call."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Result
from exports import Queries, encode_both
from indexes import Corpus
from rest_stub import Cluster, rest_stub

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.query import EncodedTopic
from spladev3_anserini.servers.connection import connect
from spladev3_anserini.servers.export import export_to
from spladev3_anserini.servers.load import load_export
from spladev3_anserini.servers.record import ExportRecord, export_id, read_export
from spladev3_anserini.servers.searching import search_engine


@pytest.fixture
def stub() -> Iterator[tuple[str, Cluster]]:
    with rest_stub() as served:
        yield served


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spladev3_anserini.servers.rest._PAUSES", (0, 0, 0))
    monkeypatch.setattr("spladev3_anserini.servers.load._DOCUMENTS", 20)


def small() -> tuple[Corpus, Queries]:
    draw = random.Random(5)
    documents = [(f"{draw.choice('dé中')}{n}", {t: draw.randint(1, 9) for t in draw.sample(".abcdef", 3)})
                 for n in range(150)]
    return documents, {"q1": {".": 300, "a": 7}, "q2": {"b": 1, "c": 1}, "q3": {"absent": 5}}


def exported(folder: Path, engine: str, form: str | None = None) -> tuple[Path, ExportRecord]:
    encoded, queries = encode_both(folder, *small())
    export_to(engine, encoded, folder / "export", queries=queries, query_form=form)
    return folder / "export", read_export(folder / "export")


@pytest.mark.parametrize(("engine", "form"), [
    ("opensearch", "rank_feature"), ("opensearch", "neural_sparse"), ("elasticsearch", "sparse_vector")])
def test_load_and_search_give_our_run(engine: str, form: str, stub: tuple[str, Cluster], tmp_path: Path,
                                      cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    url, cluster = stub
    documents, queries = small()
    folder, _ = exported(tmp_path, engine, form)
    loaded = cli("load", folder, "--url", url, "--name", "mine")
    assert f"{url}, index mine: 150 documents, 150 of them sent now" in loaded.out, loaded
    assert cluster.bulks == [20, 20, 10] * 3
    (index,) = cluster.indexes.values()
    assert index["body"]["mappings"]["_meta"] == {"spladev3_anserini_export": export_id(folder)}
    assert index["settings"] == [{"index": {"refresh_interval": None}}]
    assert "150 documents, 0 of them sent now" in cli("load", folder, "--url", url, "--name", "mine").out
    monkeypatch.setattr("spladev3_anserini.servers.rest.PAGE", 16)  # search_after
    run = tmp_path / "run.txt"
    done = cli("search", "--engine", folder, "--url", url, "--name", "mine", "--queries", tmp_path / "queries",
               "--hits", 50, "--output", run)
    assert done.code == 0, done
    oracle = ExactSearcher(documents)
    assert run.read_text() == "".join(
        f"{name} Q0 {docid} {rank} {score} spladev3-anserini\n" for name, query in queries.items()
        for rank, (docid, score) in enumerate(oracle.search(query, 50), 1))
    assert any("search_after" in request for request in cluster.searches)


@pytest.mark.parametrize("engine", ["opensearch", "elasticsearch"])
@pytest.mark.fault(15, "a load that is stopped, that the server has no room for, or that loses a document",
                   then="it continues, waits, or is refused", detected="the server's counts and answers (a stub)")
def test_a_load_continues_waits_and_counts(engine: str, stub: tuple[str, Cluster], tmp_path: Path) -> None:
    url, cluster = stub
    folder, record = exported(tmp_path, engine)
    index = connect(engine, url, "splade")
    cluster.refused = {4: 400}
    with pytest.raises(InputError, match=r"bulk-00001.ndjson:41: .* refuses the document '.*': bad field"):
        load_export(folder, record, index)
    assert cluster.bulks == [20, 20, 10, 20, 20]
    cluster.refused = {6: 429, 7: 429}  # half of a request each time, then half of that half
    assert load_export(folder, record, index) == 100
    assert cluster.bulks[5:] == [20, 20, 10, 5, 10, 20, 20, 10]
    assert len(cluster.indexes["splade"]["documents"]) == 150
    (name,) = cluster.indexes["splade"]["documents"].keys() & {small()[0][149][0]}
    del cluster.indexes["splade"]["documents"][name]
    cluster.lose = {name}
    with pytest.raises(InputError, match=r"holds 149 documents of 150; .* bulk-00002.ndjson; run the same load"):
        load_export(folder, record, index)
    with pytest.raises(InputError, match="holds 149 documents of 150"):
        list(search_engine(folder, record, index, [EncodedTopic("q", {"a": 1})], 10, 1))
    cluster.lose = set()
    assert load_export(folder, record, index) == 50
    index.close()


@pytest.mark.parametrize("engine", ["opensearch", "elasticsearch"])
@pytest.mark.fault(15, "an index that another program made, another export, a shard that does not answer, scores "
                      "that are no sums of whole numbers, a server that is not there",
                   detected="its mapping, its answers (a stub)")
def test_what_a_server_answers_is_not_believed_blindly(engine: str, stub: tuple[str, Cluster],
                                                       tmp_path: Path) -> None:
    url, cluster = stub
    folder, record = exported(tmp_path / "one", engine)
    cluster.indexes["foreign"] = {"body": {"mappings": {}}, "documents": {}, "settings": []}
    with pytest.raises(InputError, match=r"index foreign: exists and was not made by load; choose another `name`"):
        load_export(folder, record, connect(engine, url, "foreign"))
    index = connect(engine, url, "splade")
    topics = [EncodedTopic("q", {"a": 1})]
    with pytest.raises(InputError, match=r"does not hold .*: spladev3-anserini load .* --url ADDRESS"):
        list(search_engine(folder, record, index, topics, 10, 1))
    load_export(folder, record, index)
    other, its_record = exported(tmp_path / "two", "opensearch", "neural_sparse")
    with pytest.raises(InputError, match="index splade: holds another export"):
        load_export(other, its_record, index)
    cluster.off_by = 0.25
    with pytest.raises(InputError, match=r"the score [\d.]+25, which is no whole number, so the engine has changed"):
        list(search_engine(folder, record, index, topics, 10, 1))
    cluster.off_by, cluster.failed_shards = 0, 1
    with pytest.raises(InputError, match="a part of the index did not answer"):
        list(search_engine(folder, record, index, topics, 10, 1))
    cluster.failed_shards = 0

    def hits(*pairs: tuple[str, float]) -> dict[str, Any]:
        return {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": [
            {"_id": docid, "_score": score, "sort": [score, docid]} for docid, score in pairs]}}

    for answer, message in (
            (hits(("x", 2), ("x", 2)), "'x' is out of the order of scores and ids, or there twice"),
            (hits(("x", 1), ("y", 2)), "'y' is out of the order"), (hits(("b", 2), ("a", 2)), "'a' is out of"),
            (hits(("x", 0)), "'x' is out of"), (hits(("x y", 2)), "white space"),
            (hits(*((f"d{n:02d}", 2) for n in range(11))), "its hits are not those of a search: 11 of 10"),
            (hits(("x", 1234567.5)), "the score 1234567.5, which is no whole number"),
            ("<html>", "index splade: "), ([], "index splade: "), ({"timed_out": False}, "index splade: "),
            ({"_shards": {"failed": 0}, "hits": None}, "index splade: ")):
        cluster.answers = answer
        with pytest.raises(InputError, match=message):
            list(search_engine(folder, record, index, topics, 10, 1))
    cluster.answers = None
    cluster.indexes["splade"]["documents"]["foreign"] = {"docid": "foreign", "part": 7, "impacts": {}}
    with pytest.raises(InputError, match="holds 1 document that the export does not have; remove the index"):
        list(search_engine(folder, record, index, topics, 10, 1))
    index.close()
    gone = connect(engine, "http://127.0.0.1:9", "splade")
    with pytest.raises(InputError, match="^http://127.0.0.1:9, index splade: "):
        gone.loaded_export()
    with pytest.raises(InputError, match=r"`url` localhost: expected an address such as http://localhost:9200"):
        connect(engine, "localhost", "splade")
    with pytest.raises(InputError, match=r"`url` localhost:6333: expected an address such as http://"):
        connect("qdrant", "localhost:6333", "splade")
