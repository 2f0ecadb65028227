"""A question and an open index -> the terms it is searched with, and its hits with their texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from typing import Any, NamedTuple

from spladev3_anserini.analysis.explanation import Product, distinct_wordpieces, products_of
from spladev3_anserini.collection.snippets import snippet
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.queries import encode_topics
from spladev3_anserini.impacts.query import by_impact, term_rows
from spladev3_anserini.lucene.opening import Postings, Searcher


class QuestionHit(NamedTuple):
    """A document of the answer to a question.

    `text` is None without texts. `snippet` is the part of it with the words of the question; see
    `snippet`. `products` are those of the terms it shares with the question, and sum to the score;
    None if they were not asked for.
    """

    rank: int
    docid: str
    score: float
    text: str | None
    snippet: list[tuple[str, bool]]
    products: list[Product] | None


class AskedQuestion(NamedTuple):
    """A question, its terms by impact descending, those of its own wordpieces, and its hits."""

    question: str
    variant: str
    impacts: dict[str, int]
    own: Set[str]
    hits: list[QuestionHit]


class Asking(NamedTuple):
    """What answers questions.

    Attributes:
        encoder: The encoder of queries.
        searcher: The open index.
        hits: The most documents of an answer.
        text: Returns the text of a document, None if there is none.
        postings: The postings of the index, to explain scores; None explains none.
        characters: The most characters of a snippet.
    """

    encoder: Encoder
    searcher: Searcher
    hits: int
    text: Callable[[str], str | None]
    postings: Postings | None = None
    characters: int = 240

    def ask(self, question: str) -> AskedQuestion:
        """Answers a question; raises InputError as `encode_topics`."""
        (encoded,) = encode_topics(self.encoder, [Topic("question", question, "the question")])
        impacts = dict(by_impact(encoded.query))
        own = impacts.keys() & distinct_wordpieces(self.encoder.tokenizer, question,
                                                   self.encoder.max_length)
        hits = [self._hit(rank, docid, score, impacts, own) for rank, (docid, score) in
                enumerate(self.searcher.search(impacts, self.hits), 1)]
        return AskedQuestion(question, self.encoder.variant.name, impacts, own, hits)

    def _hit(self, rank: int, docid: str, score: float, impacts: Mapping[str, int],
             own: Set[str]) -> QuestionHit:
        text, products = self.text(docid), None
        if self.postings is not None:
            products = products_of(impacts, self.postings.impacts_of_terms(impacts, docid), own)
        shown = [] if text is None else snippet(without_title(docid, text), impacts,
                                                self.characters, self.encoder.tokenizer.words)
        return QuestionHit(rank, docid, score, text, shown, products)


def without_title(docid: str, text: str) -> str:
    """Returns a text without a first line that only repeats the document's id."""
    first, _, rest = text.partition("\n")
    return rest if re.sub(r"[\W_]", "", first) == re.sub(r"[\W_]", "", docid) else text


def asked_as_json(asked: AskedQuestion) -> dict[str, Any]:
    """Returns an answered question for JSON."""
    return {"question": asked.question, "variant": asked.variant,
            "impacts": term_rows(asked.impacts, asked.own),
            "hits": [_hit_as_json(hit) for hit in asked.hits]}


def _hit_as_json(hit: QuestionHit) -> dict[str, Any]:
    row = hit._asdict() | {"snippet": hit.snippet if hit.text is not None else None}
    if hit.products is None:
        del row["products"]
    else:
        row["products"] = [product._asdict() for product in hit.products]
    return row
