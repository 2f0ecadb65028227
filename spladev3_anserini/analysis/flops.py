"""Encoded documents or an index, and queries -> FLOPS and what the index costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.encoding.queries import (
    encode_topics,
    encoder_for_index,
    encoder_for_prebuilt,
)
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.encoded_queries import read_encoded_queries
from spladev3_anserini.impacts.manifest import IndexManifest, Manifest
from spladev3_anserini.impacts.query import EncodedTopic
from spladev3_anserini.impacts.shards import read_encoded, verify_shards
from spladev3_anserini.lucene.postings import index_bytes, open_postings
from spladev3_anserini.progress import warn


class Frequencies(NamedTuple):
    """In how many of `texts` texts each term is; `postings` is the sum over all terms, also over
    those that `of_term` leaves out because no query has them."""

    texts: int
    postings: int
    of_term: Mapping[str, int]

    @property
    def mean_nonzeros(self) -> float:
        return self.postings / self.texts


class SearchCost(NamedTuple):
    """FLOPS and what belongs to it. Bytes are None where there is no index, or where its postings
    cannot be told from its other files."""

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
        return self.posting_bytes / self.postings if self.posting_bytes is not None else None


def mean_flops(documents: Frequencies, queries: Frequencies) -> float:
    """FLOPS = sum over terms j of p_d(j) * p_q(j): the share of documents that have term j times
    the share of queries that do (naver/splade's `flops.py`; Paria et al. 2020, section 3).

    It is the mean, over all pairs of a query and a document, of the number of terms they share.
    Terms with impact 0 count on neither side. Summed in whole numbers and divided once, so that
    the same collection gives the same bits, however it is read.
    """
    shared = sum(count * documents.of_term.get(term, 0) for term, count in queries.of_term.items())
    return shared / (documents.texts * queries.texts)


def _query_frequencies(queries: Sequence[EncodedTopic]) -> Frequencies:
    """Counts over encoded queries; one without a term counts as a query."""
    counts = Counter(term for topic in queries for term in topic.query)
    if not counts:
        raise InputError("no query has any term; nothing to count")
    return Frequencies(len(queries), counts.total(), counts)


def cost_of_encoded(folder: Path, manifest: Manifest,
                    queries: Sequence[EncodedTopic]) -> SearchCost:
    """Counts over impact shards, each compared with its sha256 first. Documents without a term
    count as documents. Raises InputError for encoded queries, and as `verify_shards`."""
    if manifest.fingerprint.side != "document":
        raise InputError(f"{folder}: holds encoded queries; give them as `queries`")
    verify_shards(folder, manifest)
    counts: Counter[str] = Counter()
    for document in read_encoded(folder, manifest):
        counts.update(document.vector.keys())
    _refuse_nothing(folder, counts.total())
    return _cost(Frequencies(manifest.documents, counts.total(), counts), queries, None, None)


def cost_of_index(index: Path, record: IndexManifest | None,
                  queries: Sequence[EncodedTopic]) -> SearchCost:
    """Counts that Lucene keeps. Documents without a term are in no index: they are added from
    what the index says it was built from, and cannot be known for one built elsewhere."""
    with open_postings(index) as postings:
        _refuse_nothing(index, postings.total)
        asked = {term for topic in queries for term in topic.query}
        found = Frequencies(record.encoded.documents if record else postings.documents,
                            postings.total, postings.frequencies(asked))
    return _cost(found, queries, *index_bytes(index))


def queries_for(folder: Path, record: IndexManifest | None, topics: str | None,
                queries: Path | None, model: str | None, variant: str,
                settings: EncoderSettings) -> list[EncodedTopic]:
    """The queries of a file of encoded ones, or of topics encoded as the collection's own record
    says. Raises InputError where they do not belong to the collection."""
    if queries:
        return read_encoded_queries(queries, folder, record.encoded if record else None)
    if record:
        encoder = encoder_for_index(folder, record, model, variant, settings)
    elif model:
        warn(f"{folder}: built elsewhere; not checked: model, tokenizer, variant, special tokens")
        encoder = encoder_for_prebuilt(model, variant, settings)
    else:
        raise InputError(f"{folder}: built elsewhere, so its model is unknown; say it with `model`")
    return encode_topics(encoder, read_topics(str(topics)))


def _cost(documents: Frequencies, queries: Sequence[EncodedTopic], whole: int | None,
          of_postings: int | None) -> SearchCost:
    asked = _query_frequencies(queries)
    return SearchCost(mean_flops(documents, asked), documents.texts, asked.texts,
                      documents.mean_nonzeros,
                      asked.mean_nonzeros, documents.postings, whole, of_postings)


def _refuse_nothing(where: Path, postings: int) -> None:
    if not postings:
        raise InputError(f"{where}: no document has any term; nothing to count")
