"""A Qdrant server through Qdrant's official client."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.errors import InputError, import_optional, refusing
from spladev3_anserini.servers.qdrant import MARKER
from spladev3_anserini.servers.rest import API_KEY
from spladev3_anserini.servers.ties import with_ties_by_id
from spladev3_anserini.text import one_line


class CollectionIndex:
    """A collection of a Qdrant server; see `Connection`. Threads may share it."""

    def __init__(self, library: Any, client: Any, url: str, name: str) -> None:
        self._models, self._client, self._name = library.models, client, name
        self.where = f"{one_line(url)}, collection {name}"

    def loaded_export(self) -> str | None:
        """Returns the export that is loaded; see `Connection`."""
        with refusing(self.where):
            if not self._client.collection_exists(self._name):
                return None
            found = self._client.retrieve(self._name, ids=[MARKER], with_payload=True)
            empty = not found and not self._client.count(self._name, exact=True).count
        if found:
            return str(found[0].payload["export"])
        if empty:  # killed between the creation and the mark
            return None
        raise InputError(f"{self.where}: exists and was not made by load; choose another `name`")

    def create(self, setup: dict[str, Any], export: str) -> None:
        """Creates the collection, an index of parts, and a point that holds the export's id."""
        models = self._models
        with refusing(self.where):
            if not self._client.collection_exists(self._name):
                self._client.create_collection(
                    self._name, vectors_config={}, shard_number=setup["shard_number"],
                    sparse_vectors_config={
                        vector: models.SparseVectorParams(**parameters)
                        for vector, parameters in setup["sparse_vectors"].items()})
            self._client.create_payload_index(self._name, "part",
                                              field_schema=models.PayloadSchemaType.INTEGER)
            self._client.upsert(self._name, wait=True, points=[
                models.PointStruct(id=MARKER, vector={}, payload={"export": export})])

    def refresh(self) -> None:
        """Does nothing: a point counts at once."""

    def counts(self, parts: int) -> list[int]:
        """Returns the points of each part, and of all but the one that holds the export's id."""
        models = self._models
        with refusing(self.where):
            points = [int(self._client.count(self._name, exact=True, count_filter=models.Filter(
                must=[models.FieldCondition(key="part", match=models.MatchValue(value=part))],
            )).count) for part in range(parts)]
            return [*points, int(self._client.count(self._name, exact=True).count) - 1]

    def send(self, lines: Sequence[str], first: str) -> None:
        """Sends points, a line each, and waits until the server has them."""
        points = [self._models.PointStruct(**json.loads(line)) for line in lines]
        with refusing(f"{first}: {self.where}"):
            self._client.upsert(self._name, points=points, wait=True)

    def finish(self) -> None:
        """Does nothing: the server optimises its segments by itself, and any segment is exact."""

    def search(self, body: dict[str, Any], hits: int) -> Ranking:
        """Returns the best hits, ties by id."""
        query = self._models.SparseVector(**body["query"])

        def fetch(number: int) -> Ranking:
            with refusing(self.where):
                found = self._client.query_points(
                    self._name, query=query, using=body["using"], limit=number,
                    with_payload=["docid"]).points
            return [(str(hit.payload["docid"]), float(hit.score)) for hit in found]

        return with_ties_by_id(fetch, hits)

    def close(self) -> None:
        """Closes the client's connections."""
        self._client.close()


def connect_to_qdrant(url: str, name: str) -> CollectionIndex:
    """Returns a collection of a Qdrant server."""
    library = import_optional("qdrant_client", "Qdrant", "qdrant")
    with refusing(f"`url` {url}"):
        client = library.QdrantClient(url=url, api_key=os.environ.get(API_KEY), timeout=120,
                                      check_compatibility=False)
    return CollectionIndex(library, client, url, name)
