"""Qdrant's official client against a stub of the endpoints we call, behind which Qdrant Edge answers."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from exports import encode_both
from rest_stub import json_server

from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.query import EncodedTopic
from spladev3_anserini.servers.connection import connect
from spladev3_anserini.servers.export import export_to
from spladev3_anserini.servers.load import load_export
from spladev3_anserini.servers.record import read_export
from spladev3_anserini.servers.searching import search_engine

pytest.importorskip("qdrant_client", reason="pip install 'spladev3-anserini[qdrant]'")


class Collections:
    """The endpoints' answers: Qdrant Edge's, for one collection."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.shard, self.created = folder, None, {}

    def answer(self, method: str, path: str, body: Any) -> Any:
        import qdrant_edge as edge

        verb = path.partition("?")[0].removeprefix("/collections/splade").strip("/")
        if verb == "exists":
            return {"exists": self.shard is not None}
        if (method, verb) == ("PUT", ""):
            self.created = body
            self.shard = edge.EdgeShard.create(str(self.folder), edge.EdgeConfig(
                sparse_vectors={name: edge.EdgeSparseVectorParams() for name in body["sparse_vectors"]}))
            return True
        assert self.shard is not None
        if verb == "index":
            assert body == {"field_name": "part", "field_schema": "integer"}
            return {"operation_id": 0, "status": "completed"}
        if (method, verb) == ("PUT", "points"):
            assert path.endswith("?wait=true")
            self.shard.update(edge.UpdateOperation.upsert_points([edge.Point(
                point["id"], {name: edge.SparseVector(**vector) for name, vector in point["vector"].items()},
                point["payload"]) for point in body["points"]]))
            return {"operation_id": 0, "status": "completed"}
        if verb == "points":
            return [{"id": str(point.id), "payload": point.payload} for point in self.shard.retrieve(body["ids"], True, False)]
        if verb == "points/count":
            matches = [edge.FieldCondition(each["key"], match=edge.MatchValue(each["match"]["value"]))
                       for each in body.get("filter", {}).get("must", ())]
            return {"count": self.shard.count(edge.CountRequest(exact=True, filter=edge.Filter(must=matches)))}
        assert verb == "points/query"
        found = self.shard.query(edge.QueryRequest(limit=body["limit"], with_payload=True, query=edge.Query.Nearest(
            edge.SparseVector(**body["query"]["nearest"]), using=body["using"])))
        return {"points": [{"id": hit.id, "version": 0, "score": hit.score, "payload": hit.payload} for hit in found]}


@contextmanager
def qdrant_stub(folder: Path) -> Iterator[tuple[str, Collections]]:
    collections = Collections(folder)

    def answer(method: str, path: str, body: bytes) -> tuple[int, Any]:
        found = collections.answer(method, path, json.loads(body or "null"))
        return 200, {"result": found, "status": "ok", "time": 0}

    with json_server(answer) as url:
        yield url, collections


def test_load_and_search_give_the_oracles_hits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spladev3_anserini.servers.load._DOCUMENTS", 40)
    draw = random.Random(2)
    documents = [(f"{draw.choice('dé中')}{n}", {t: draw.randint(1, 5) for t in draw.sample(".abcdef", 3)})
                 for n in range(200)]
    queries = {"q1": {".": 300, "a": 7}, "q2": {"b": 1, "c": 1}}
    encoded, _ = encode_both(tmp_path, documents, queries)
    record = export_to("qdrant", encoded, tmp_path / "export", storage="float16", parts=2)
    with qdrant_stub(tmp_path / "edge") as (url, collections):
        index = connect("qdrant", url, "splade")
        assert load_export(tmp_path / "export", record, index) == 200
        assert collections.created["sparse_vectors"]["impacts"]["index"]["datatype"] == "float16"
        assert collections.created["shard_number"] == 2
        assert load_export(tmp_path / "export", record, index) == 0
        topics, oracle = [EncodedTopic(i, q) for i, q in queries.items()], ExactSearcher(documents)
        for hits in (3, 30, 500):
            found = dict(search_engine(tmp_path / "export", record, index, topics, hits, 2))
            assert found == {name: oracle.search(query, hits) for name, query in queries.items()}
        encode_both(tmp_path / "two", documents[1:], queries)
        export_to("qdrant", tmp_path / "two/encoded", tmp_path / "other")
        with pytest.raises(InputError, match="collection splade: holds another export"):
            load_export(tmp_path / "other", read_export(tmp_path / "other"), index)
        index.close()
