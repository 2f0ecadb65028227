"""A text, or a query and a document -> the terms behind impacts, score and postings."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.records import checked_text
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.queries import encode_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query import ImpactQuery, by_impact
from spladev3_anserini.lucene.opening import Postings, Searcher, open_postings
from spladev3_anserini.lucene.postings import index_bytes
from spladev3_anserini.model.tokenizer import Tokenizer


class Term(NamedTuple):
    """A term of an encoded text.

    `own` is True for the text's wordpieces and False for expansion. `share` is the term's part of
    the sum of all impacts, 0 to 1.
    """

    term: str
    impact: int
    own: bool
    share: float


class TextExplanation(NamedTuple):
    """The terms of an encoded text, by impact descending, then by name.

    `silent` are the text's wordpieces without impact. `cut` is the number of wordpieces beyond the
    length limit.
    """

    text: str
    terms: list[Term]
    silent: list[str]
    cut: int

    @property
    def total(self) -> int:
        """The sum of all impacts."""
        return sum(term.impact for term in self.terms)

    @property
    def expansion_share(self) -> float:
        """The share of the impacts on expansion terms, 0 to 1."""
        return expansion_share({t.term: t.impact for t in self.terms},
                               {t.term for t in self.terms if t.own})


class Product(NamedTuple):
    """A term that query and document share.

    `product` is query impact * document impact; `so_far` is the sum of the products up to here.
    """

    term: str
    own: bool
    query: int
    document: int
    product: int
    so_far: int


class TermPosting(NamedTuple):
    """A term of a document, its impact there, and the number of documents that have the term."""

    term: str
    impact: int
    documents: int


class Match(NamedTuple):
    """The explanation of a document's score for a query.

    `products` are in descending order and sum to `score`; `index_score` is the index's own. `rank`
    is the document's rank among the best `hits`, or None if it is not among them. `unmatched` has
    the query's other terms with their impacts.
    """

    query: str
    docid: str
    products: list[Product]
    unmatched: dict[str, int]
    score: int
    index_score: float
    rank: int | None
    hits: int


class DocumentCost(NamedTuple):
    """The postings of a document, from the rarest term to the most common one.

    `total` and `documents` are the postings and documents of the whole index. `bytes_each` is the
    mean bytes per posting, or None if unknown.
    """

    postings: list[TermPosting]
    total: int
    documents: int
    bytes_each: float | None


def expansion_share(vector: Mapping[str, int], wordpieces: set[str]) -> float:
    """Returns the share of a vector's impacts on terms that are not in `wordpieces`, 0 to 1.

    It is 0 for an empty vector.
    """
    total = sum(vector.values())
    return sum(w for term, w in vector.items() if term not in wordpieces) / total if total else 0.0


def distinct_wordpieces(tokenizer: Tokenizer, text: str, max_length: int) -> list[str]:
    """Returns a text's wordpieces up to a length limit, each once, in the text's order.

    Special tokens are excluded.
    """
    (ids,) = tokenizer.ids([text], max_length)
    return list(dict.fromkeys(str(tokenizer.terms[i]) for i in ids
                              if i not in tokenizer.special_ids))


def explain_text(encoder: Encoder, text: str) -> TextExplanation:
    """Explains the impacts of a text; raises InputError for a text without any wordpiece."""
    wordpieces = distinct_wordpieces(encoder.tokenizer, checked_text(text, "`text`", "text"),
                                     encoder.max_length)
    if not wordpieces:
        raise InputError("`text`: has no wordpiece, so the model gives it no term")
    vector = _encode(encoder, text, "`text`")
    total = sum(vector.values())
    terms = [Term(term, impact, term in wordpieces, impact / total)
             for term, impact in by_impact(vector)]
    return TextExplanation(text, terms, [term for term in wordpieces if term not in vector],
                           encoder.tokenized([text]).lost[0])


def explain_match(encoder: Encoder, index: Path, searcher: Searcher, docid: str, text: str,
                  hits: int) -> tuple[Match, DocumentCost]:
    """Explains a document's score for a query, only from the index.

    The impacts of shared terms are multiplied and summed as integers. The score that the index
    itself gives is returned too, for comparison.

    Args:
        encoder: The query encoder of the index.
        index: The index's folder.
        searcher: The open index.
        docid: The document's id.
        text: The text of the query.
        hits: How many hits to search for the document's rank.

    Raises:
        InputError: The query has no term, or the index has no such document.
    """
    query = _encode(encoder, checked_text(text, "`query`", "text"), "`query`")
    if not query:
        raise InputError("`query`: has no term, so it retrieves nothing")
    wordpieces = set(distinct_wordpieces(encoder.tokenizer, text, encoder.max_length))
    with open_postings(index) as postings:
        document = postings.vector(docid)
        index_score = postings.score(query, docid)
        cost = _document_cost(postings, document, index)
    products = products_of(query, document, wordpieces)
    so_far = products[-1].so_far if products else 0
    unmatched = dict(by_impact({t: w for t, w in query.items() if t not in document}))
    ranked = [docid for docid, _ in searcher.search(query, hits)]
    rank = ranked.index(docid) + 1 if docid in ranked else None
    return Match(text, docid, products, unmatched, so_far, index_score, rank, hits), cost


def _encode(encoder: Encoder, text: str, option: str) -> ImpactQuery:
    return encode_topics(encoder, [Topic("text", text, option)])[0].query


def products_of(query: Mapping[str, int], document: Mapping[str, int],
                wordpieces: Set[str]) -> list[Product]:
    """Returns the products of the terms that a query and a document share, the largest first.

    Args:
        query: The impacts of the query.
        document: The impacts of the document.
        wordpieces: The query's own wordpieces.
    """
    shared = {term: weight * document[term] for term, weight in query.items() if term in document}
    products, so_far = [], 0
    for term, product in by_impact(shared):
        so_far += product
        products.append(Product(term, term in wordpieces, query[term], document[term], product,
                                so_far))
    return products


def _document_cost(postings: Postings, document: ImpactQuery, index: Path) -> DocumentCost:
    frequencies = postings.frequencies(document)
    rows = [TermPosting(term, impact, frequencies[term]) for term, impact in document.items()]
    size = index_bytes(index)[1]
    return DocumentCost(sorted(rows, key=lambda row: (row.documents, row.term)), postings.total,
                        postings.documents, None if size is None else size / postings.total)
