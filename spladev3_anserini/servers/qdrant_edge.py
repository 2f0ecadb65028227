"""Qdrant Edge: Qdrant's own segments and sparse index in this process, in a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.errors import InputError, import_optional, refusing
from spladev3_anserini.servers.qdrant import MARKER, SPARSE_VECTOR
from spladev3_anserini.servers.ties import with_ties_by_id

#: The file that Qdrant Edge writes into its folder.
_CONFIGURATION = "edge_config.json"


class EdgeIndex:
    """A folder of Qdrant Edge; see `Connection`. One process at a time can open it."""

    def __init__(self, library: Any, folder: Path) -> None:
        self._library, self._folder = library, folder
        self.where = f"{folder}: Qdrant Edge"
        #: Whether `finish` rewrote segments in the form that is stored for good.
        self.optimized = False
        self._shard: Any = None
        if (folder / _CONFIGURATION).exists():
            with refusing(self.where):
                self._shard = library.EdgeShard.load(str(folder))
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: exists and is no folder of Qdrant Edge; choose another")

    def loaded_export(self) -> str | None:
        """Returns the export that is loaded; see `Connection`."""
        if self._shard is None:
            return None
        with refusing(self.where):
            found = self._shard.retrieve([MARKER], True, False)
            empty = not self._count()
        if found:
            return str(found[0].payload["export"])
        if empty:  # killed between the creation and the mark
            return None
        raise InputError(f"{self.where}: was not made by load; choose another folder")

    def create(self, setup: dict[str, Any], export: str) -> None:
        """Creates the folder, and a point without a vector that holds the export's id."""
        library, datatypes = self._library, self._library.VectorStorageDatatype
        stored = setup["sparse_vectors"][SPARSE_VECTOR]["index"]["datatype"]
        datatype = {"float32": datatypes.Float32, "float16": datatypes.Float16}[stored]
        configuration = library.EdgeConfig(
            sparse_vectors={SPARSE_VECTOR: library.EdgeSparseVectorParams(datatype=datatype)},
            # only an optimised segment has the data type; without this, small ones never are
            optimizers=library.EdgeOptimizersConfig(indexing_threshold=1,
                                                    default_segment_number=1))
        with refusing(self.where):
            if self._shard is None:
                self._folder.parent.mkdir(parents=True, exist_ok=True)
                self._shard = library.EdgeShard.create(str(self._folder), configuration)
            self._upsert([library.Point(MARKER, {}, {"export": export})])
            self._shard.flush()

    def counts(self, parts: int) -> list[int]:
        """Returns the points of each part."""
        library = self._library
        with refusing(self.where):
            return [self._count(library.Filter(must=[library.FieldCondition(
                "part", match=library.MatchValue(part))])) for part in range(parts)]

    def send(self, lines: Sequence[str], first: str) -> None:
        """Sends points, a line each."""
        points = []
        for line in lines:
            point = json.loads(line)
            vector = self._library.SparseVector(**point["vector"][SPARSE_VECTOR])
            points.append(self._library.Point(point["id"], {SPARSE_VECTOR: vector},
                                              point["payload"]))
        with refusing(f"{first}: {self.where}"):
            self._upsert(points)

    def finish(self) -> None:
        """Rewrites the segments in their final form, and writes all to disk."""
        with refusing(self.where):
            self.optimized = bool(self._shard.optimize())
            self._shard.flush()

    def search(self, body: dict[str, Any], hits: int) -> Ranking:
        """Returns the best hits, ties by id."""
        library = self._library
        query = library.Query.Nearest(library.SparseVector(**body["query"]), using=body["using"])

        def fetch(number: int) -> Ranking:
            with refusing(self.where):
                found = self._shard.query(library.QueryRequest(
                    limit=number, query=query, with_payload=True))
            return [(str(hit.payload["docid"]), float(hit.score)) for hit in found]

        return with_ties_by_id(fetch, hits)

    def close(self) -> None:
        """Releases the folder."""
        if self._shard is not None:
            self._shard.close()

    def _count(self, condition: Any = None) -> int:
        return int(self._shard.count(self._library.CountRequest(exact=True, filter=condition)))

    def _upsert(self, points: list[Any]) -> None:
        self._shard.update(self._library.UpdateOperation.upsert_points(points))


def open_qdrant_edge(folder: str) -> EdgeIndex:
    """Returns a folder of Qdrant Edge, which may not be there yet."""
    return EdgeIndex(import_optional("qdrant_edge", "Qdrant Edge", "qdrant"), Path(folder))
