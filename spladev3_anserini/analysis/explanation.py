"""A text, or a query and a document -> the terms behind weights, score and postings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.records import checked_text
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.queries import encode_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query import ImpactQuery, cut_to_clause_limit
from spladev3_anserini.lucene.postings import Postings, index_bytes, open_postings
from spladev3_anserini.lucene.searcher import ImpactSearcher


class Term(NamedTuple):
    """A term of an encoded text; `own` is whether it is one of the text's wordpieces, and `share`
    its part of the sum of all impacts."""

    term: str
    impact: int
    own: bool
    share: float


class TextExplanation(NamedTuple):
    """What a model makes of a text: terms by impact descending, then by name; `silent` are the
    text's wordpieces that got no impact, `cut` counts those beyond the length limit."""

    text: str
    terms: list[Term]
    silent: list[str]
    cut: int

    @property
    def total(self) -> int:
        return sum(term.impact for term in self.terms)

    @property
    def expansion_share(self) -> float:
        return expansion_share({t.term: t.impact for t in self.terms},
                               {t.term for t in self.terms if t.own})


class Product(NamedTuple):
    """A term that query and document share: `product` = query impact * document impact, `so_far`
    the sum of the products up to here."""

    term: str
    own: bool
    query: int
    document: int
    product: int
    so_far: int


class TermPosting(NamedTuple):
    """A term of a document with the number of documents that have it."""

    term: str
    impact: int
    documents: int


class Match(NamedTuple):
    """Why a document has its score. `products` are largest first and sum to `score`; `lucene` is
    the score that Lucene gives, `rank` the document's place among the best `hits`, None where it
    is not one of them. `unmatched` are the query's other terms with their impacts."""

    query: str
    docid: str
    products: list[Product]
    unmatched: dict[str, int]
    score: int
    lucene: float
    rank: int | None
    hits: int


class DocumentCost(NamedTuple):
    """What a document is in the index: its postings by number of documents ascending (rarest
    first), how many the whole index has, and the mean bytes of one (None where unknown)."""

    postings: list[TermPosting]
    total: int
    documents: int
    bytes_each: float | None


def expansion_share(vector: Mapping[str, int], own: set[str]) -> float:
    """The share of a vector's weight that lies on terms other than `own`, 0 to 1; 0 for an empty
    vector."""
    total = sum(vector.values())
    return sum(w for term, w in vector.items() if term not in own) / total if total else 0.0


def own_terms(encoder: Encoder, text: str) -> list[str]:
    """A text's own wordpieces up to the encoder's length limit, each once, in the text's order;
    without special tokens."""
    tokenizer = encoder.tokenizer
    ids = tokenizer.ids([text], encoder.max_length)[0]
    return list(dict.fromkeys(str(tokenizer.terms[i]) for i in ids
                              if i not in tokenizer.special_ids))


def explain_text(encoder: Encoder, text: str) -> TextExplanation:
    """The impacts of a text; raises InputError for a text without any wordpiece."""
    own = own_terms(encoder, checked_text(text, "`text`", "text"))
    if not own:
        raise InputError("`text`: has no wordpiece, so the model says nothing of it")
    vector = _encoded(encoder, text, "`text`")
    total = sum(vector.values())
    terms = [Term(term, impact, term in own, impact / total) for term, impact in _largest(vector)]
    return TextExplanation(text, terms, [term for term in own if term not in vector],
                           encoder.tokenized([text]).lost[0])


def explain_match(encoder: Encoder, index: Path, docid: str, text: str,
                  hits: int) -> tuple[Match, DocumentCost]:
    """Why a document is found with a query, from the index alone: each term's impacts multiplied
    and summed in whole numbers, and Lucene's own score to compare.

    Raises InputError for a query without terms and for an id that the index does not hold.
    """
    query = cut_to_clause_limit(_encoded(encoder, checked_text(text, "`query`", "text"), "`query`"))
    if not query:
        raise InputError("`query`: has no term, so it finds nothing")
    own = set(own_terms(encoder, text))
    with open_postings(index) as postings:
        document = postings.vector(docid)
        lucene = postings.score(query, docid)
        cost = _cost(postings, document, index)
    shared = {term: weight * document[term] for term, weight in query.items() if term in document}
    products, so_far = [], 0
    for term, product in _largest(shared):
        so_far += product
        products.append(Product(term, term in own, query[term], document[term], product, so_far))
    unmatched = dict(_largest({t: w for t, w in query.items() if t not in document}))
    searcher = ImpactSearcher(index, trust=True)  # its files were compared with its record
    ranked = [hit.docid for hit in searcher.search(query, hits)]
    searcher.close()
    rank = ranked.index(docid) + 1 if docid in ranked else None
    return Match(text, docid, products, unmatched, so_far, lucene, rank, hits), cost


def _encoded(encoder: Encoder, text: str, option: str) -> ImpactQuery:
    return encode_topics(encoder, [Topic("text", text, option)])[0].query


def _largest(vector: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(vector.items(), key=lambda item: (-item[1], item[0]))


def _cost(postings: Postings, document: ImpactQuery, index: Path) -> DocumentCost:
    frequencies = postings.frequencies(document)
    rows = [TermPosting(term, impact, frequencies[term]) for term, impact in document.items()]
    size = index_bytes(index)[1]
    return DocumentCost(sorted(rows, key=lambda row: (row.documents, row.term)), postings.total,
                        postings.documents, None if size is None else size / postings.total)
