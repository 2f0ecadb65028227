"""Qdrant Edge: Qdrant's own segments and sparse index in this process, in a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.errors import InputError, import_optional, refusing
from spladev3_anserini.lucene.publish import FRESH, publish, scratch_beside
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
        if not found:
            raise InputError(f"{self.where}: was not made by load; choose another folder")
        return str(found[0].payload["export"])

    def create(self, setup: dict[str, Any], export: str) -> None:
        """Creates the folder, with a point without a vector that holds the export's id.

        The folder appears with that point, because Qdrant Edge cannot open one that is half made.
        """
        library, datatypes = self._library, self._library.VectorStorageDatatype
        stored = setup["sparse_vectors"][SPARSE_VECTOR]["index"]["datatype"]
        datatype = {"float32": datatypes.Float32, "float16": datatypes.Float16}[stored]
        configuration = library.EdgeConfig(
            sparse_vectors={SPARSE_VECTOR: library.EdgeSparseVectorParams(datatype=datatype)},
            # only an optimised segment has the data type; without this, small ones never are
            optimizers=library.EdgeOptimizersConfig(indexing_threshold=1,
                                                    default_segment_number=1))
        with scratch_beside(self._folder) as scratch, refusing(self.where):
            shard = library.EdgeShard.create(str(scratch / FRESH), configuration)
            shard.update(library.UpdateOperation.upsert_points(
                [library.Point(MARKER, {}, {"export": export})]))
            shard.flush()
            shard.close()
            if self._folder.is_dir():
                self._folder.rmdir()  # it is empty
            publish(scratch / FRESH, self._folder)
            self._shard = library.EdgeShard.load(str(self._folder))

    def refresh(self) -> None:
        """Does nothing: a point counts at once."""

    def counts(self, parts: int) -> list[int]:
        """Returns the points of each part, and of all but the one that holds the export's id."""
        library = self._library
        with refusing(self.where):
            points = [self._count(library.Filter(must=[library.FieldCondition(
                "part", match=library.MatchValue(part))])) for part in range(parts)]
            return [*points, self._count() - 1]

    def send(self, lines: Sequence[str], first: str) -> None:
        """Sends points, a line each."""
        points = []
        for line in lines:
            point = json.loads(line)
            vector = self._library.SparseVector(**point["vector"][SPARSE_VECTOR])
            points.append(self._library.Point(point["id"], {SPARSE_VECTOR: vector},
                                              point["payload"]))
        with refusing(f"{first}: {self.where}"):
            self._shard.update(self._library.UpdateOperation.upsert_points(points))

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


def open_qdrant_edge(folder: str) -> EdgeIndex:
    """Returns a folder of Qdrant Edge, which may not be there yet."""
    path = Path(folder)
    return EdgeIndex(import_optional("qdrant_edge", "Qdrant Edge", "qdrant"),
                     path.resolve() if path.is_symlink() else path)
