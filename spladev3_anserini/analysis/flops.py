"""Encoded documents or an index, and queries -> FLOPS and the size of the index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.encoding.queries import encode_topics, query_encoder
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.encoded_queries import read_encoded_queries
from spladev3_anserini.impacts.manifest import IndexManifest, Manifest
from spladev3_anserini.impacts.query import EncodedTopic
from spladev3_anserini.impacts.shards import read_encoded, verify_shards
from spladev3_anserini.lucene.opening import open_postings
from spladev3_anserini.lucene.postings import index_bytes


class Frequencies(NamedTuple):
    """In how many of `texts` texts each term occurs.

    `postings` is the sum over all terms. `of_term` may omit the terms that no query has.
    """

    texts: int
    postings: int
    of_term: Mapping[str, int]

    @property
    def mean_nonzeros(self) -> float:
        """Terms per text."""
        return self.postings / self.texts


class SearchCost(NamedTuple):
    """FLOPS, the counts behind it, and sizes in bytes.

    Bytes are None without an index. They are also None if its postings cannot be separated from its
    other files.
    """

    flops: float
    documents: int
    queries: int
    document_nonzeros: float
    query_nonzeros: float
    postings: int
    index_bytes: int | None
    posting_bytes: int | None

    @property
    def list_bytes_per_posting(self) -> float | None:
        """Bytes of the postings lists per posting, without dictionary, ids and lengths."""
        return self.posting_bytes / self.postings if self.posting_bytes is not None else None


def mean_flops(documents: Frequencies, queries: Frequencies) -> float:
    """Calculates FLOPS: the mean number of terms that a query and a document share.

    FLOPS = sum over terms j of p_d(j) * p_q(j), where p_d and p_q are the shares of documents and
    of queries that have the term (naver/splade's `flops.py`; Paria et al. 2020, section 3). Terms
    with impact 0 do not count. The sum is of integers and is divided once, so shards and index of
    a collection give the same bits.
    """
    shared = sum(count * documents.of_term.get(term, 0) for term, count in queries.of_term.items())
    return shared / (documents.texts * queries.texts)


def _query_frequencies(queries: Sequence[EncodedTopic]) -> Frequencies:
    """Counts the terms of encoded queries; a query without a term counts as a query."""
    counts = Counter(term for topic in queries for term in topic.query)
    if not counts:
        raise InputError("no query has any term; nothing to count")
    return Frequencies(len(queries), counts.total(), counts)


def cost_of_encoded(folder: Path, manifest: Manifest,
                    queries: Sequence[EncodedTopic]) -> SearchCost:
    """Calculates the cost from impact shards, after their sha256 are verified.

    Documents without a term count as documents. Raises InputError for encoded queries, and as
    `verify_shards` does.
    """
    if manifest.fingerprint.side != "document":
        raise InputError(f"{folder}: holds encoded queries; give them as `queries`")
    verify_shards(folder, manifest)
    counts: Counter[str] = Counter()
    for document in read_encoded(folder, manifest):
        counts.update(document.vector.keys())
    _refuse_no_postings(folder, counts.total())
    frequencies = Frequencies(manifest.documents, counts.total(), counts)
    return _search_cost(frequencies, queries, None, None)


def cost_of_index(index: Path, record: IndexManifest | None,
                  queries: Sequence[EncodedTopic]) -> SearchCost:
    """Calculates the cost from the counts of an index.

    Documents without a term are not in an index. Their number comes from the index's manifest
    (`record`); it is unknown for an index built elsewhere, and such documents then do not count.
    """
    with open_postings(index) as postings:
        _refuse_no_postings(index, postings.total)
        query_terms = {term for topic in queries for term in topic.query}
        frequencies = Frequencies(record.encoded.documents if record else postings.documents,
                                  postings.total, postings.frequencies(query_terms))
    return _search_cost(frequencies, queries, *index_bytes(index))


def queries_for(folder: Path, record: IndexManifest | None, topics: str | None,
                queries: Path | None, model: str | None, variant: str,
                settings: EncoderSettings) -> list[EncodedTopic]:
    """Reads encoded queries, or encodes topics as the manifest of the collection requires.

    Args:
        folder: The encoded directory or the index, for messages.
        record: The index's manifest; None for an index built elsewhere.
        topics: Topics to encode; needed without `queries`.
        queries: A folder or file of encoded queries.
        model: The model; without it, the one that `record` names.
        variant: The variant, or `auto`.
        settings: Settings of the encoder.

    Raises:
        InputError: The queries do not match the collection, or no model is known.
    """
    if queries:
        return read_encoded_queries(queries, folder, record.encoded if record else None)
    encoder = query_encoder(folder, record, model, variant, settings)
    return encode_topics(encoder, read_topics(str(topics)))


def _search_cost(documents: Frequencies, topics: Sequence[EncodedTopic], size: int | None,
                 posting_size: int | None) -> SearchCost:
    queries = _query_frequencies(topics)
    return SearchCost(mean_flops(documents, queries), documents.texts, queries.texts,
                      documents.mean_nonzeros, queries.mean_nonzeros, documents.postings, size,
                      posting_size)


def _refuse_no_postings(where: Path, postings: int) -> None:
    if not postings:
        raise InputError(f"{where}: no document has any term; nothing to count")
