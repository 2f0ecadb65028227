"""The folder of an index -> what answers requests about it, all from one build of the index."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.engine.postings import EnginePostings, PartsPostings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query import ImpactQuery
from spladev3_anserini.lucene.check import folder_identity, recorded_manifest
from spladev3_anserini.lucene.jvm import JNIUS_LOCK
from spladev3_anserini.lucene.opening import open_with_texts
from spladev3_anserini.lucene.passage_searcher import PassageSearcher
from spladev3_anserini.lucene.searcher import ImpactSearcher
from spladev3_anserini.serving.bm25_index import Bm25Searcher, is_bm25_index
from spladev3_anserini.serving.query_encoders import QueryEncoders


@dataclass(frozen=True, kw_only=True)
class OpeningOptions:
    """How indexes are opened: the model of their queries (None: the one that each names), how it
    runs, and whether files that were moved are hashed."""

    model: str | None = None
    settings: EncoderSettings = field(default_factory=EncoderSettings)
    trust: bool = False
    lucene: bool = False


class ServedImpacts:
    """An open index of impacts: searcher, postings, stored texts and query encoders of one build.

    Files that a later build replaces stay open or mapped, so this goes on to answer from its own.
    """

    def __init__(self, index: Path, options: OpeningOptions) -> None:
        """Opens the index and loads the encoders of its queries.

        Raises InputError if the index is not sound, or its model cannot be loaded.
        """
        self._searcher, record, self.texts = open_with_texts(index, trust=options.trust,
                                                             lucene=options.lucene)
        try:
            if record is None:
                raise InputError(f"{index}: was not built by this package, so how to encode a "
                                 "query for it is unknown, and it is none of texts for BM25")
            assert not isinstance(self._searcher, PassageSearcher)  # nobody asked for documents
            self._record = record
            self.encoders = QueryEncoders(index, record, options.model, options.settings)
            self._lock: Any = nullcontext()
            if isinstance(self._searcher, ImpactSearcher):
                self._lock = JNIUS_LOCK
                with self._lock:
                    self._postings: Any = self._searcher.postings()
            else:
                parts = [EnginePostings(index, arrays) for arrays in self._searcher.arrays]
                self._postings = parts[0] if len(parts) == 1 else PartsPostings(parts)
        except BaseException:
            self.close()
            raise

    def search(self, query: ImpactQuery, hits: int) -> Ranking:
        """Returns the best `hits` documents.

        Raises InputError if Lucene's scores would not be exact.
        """
        ranking = self._searcher.search(query, hits)
        largest = self._searcher.largest_exact
        # sums that stay below it had no rounded partial sum either
        if largest is not None and ranking and ranking[0][1] >= largest:
            raise InputError(f"`impacts`: scores from {largest:,} on are not exact in Lucene; "
                             "take smaller impacts")
        return ranking

    def impacts_of_terms(self, query: ImpactQuery, docid: str) -> ImpactQuery:
        """Returns {term: impact} of those of the query's terms that a document has."""
        with self._lock:
            impacts: ImpactQuery = self._postings.impacts_of_terms(query, docid)
        return impacts

    def vector(self, docid: str) -> ImpactQuery:
        """Returns {term: impact} of a document."""
        with self._lock:
            vector: ImpactQuery = self._postings.vector(docid)
        return vector

    def description(self) -> dict[str, Any]:
        """Returns what `/models` says about the index, without its name."""
        encoded = self._record.encoded
        arrays = not isinstance(self._searcher, ImpactSearcher)
        return {"kind": "impact", "model": encoded.model_name, "variant": self.encoders.own,
                "variants": self.encoders.modes, "documents": encoded.nonempty,
                "texts": self.texts is not None, "engine": "arrays" if arrays else "lucene"}

    def close(self) -> None:
        """Closes the index; it cannot be searched afterwards."""
        self._searcher.close()


#: An open index of either kind: what it is asked, what it says of itself, its texts if it has any.
Served: TypeAlias = ServedImpacts | Bm25Searcher


def open_served(index: Path, options: OpeningOptions) -> Served:
    """Opens an index of impacts or of BM25.

    Raises InputError if it is neither, is not sound, or its model cannot be loaded.
    """
    before = folder_identity(index)
    opened: Served
    if recorded_manifest(index) is None and is_bm25_index(index):
        opened = Bm25Searcher(index)
    elif index.exists():
        opened = ServedImpacts(index, options)
    else:
        raise InputError(f"{index}: no such index; build one: spladev3-anserini index --encoded "
                         f"ENCODED --index {index}")
    if folder_identity(index) != before:
        opened.close()
        raise InputError(f"{index}: was replaced while it was opened")
    return opened
