"""An index -> document frequencies of terms, a document's impacts, and its score by Lucene."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spladev3_anserini.collection.passages import passage_id
from spladev3_anserini.errors import InputError, unknown_document
from spladev3_anserini.impacts.query import ImpactQuery
from spladev3_anserini.lucene.check import open_reader
from spladev3_anserini.lucene.jvm import index_searcher, java_class, java_errors
from spladev3_anserini.lucene.parts import part_folders

_FIELD = "contents"
_LUCENE = "org.apache.lucene"

#: Lucene's files of document numbers and impacts. A term of only one document is in the dictionary.
POSTING_FILES = (".doc", ".pos", ".pay")


class LucenePostings:
    """The postings of an open index.

    `documents` counts the documents, which all have a term; `total` counts their postings.
    """

    def __init__(self, reader: Any, index: Path) -> None:
        self._reader, self._index = reader, index
        self._all = java_class(f"{_LUCENE}.index.MultiTerms").getTerms(reader, _FIELD)
        self.documents = int(reader.numDocs())
        self.total = int(self._all.getSumDocFreq()) if self._all is not None else 0

    def frequencies(self, terms: Iterable[str]) -> dict[str, int]:
        """Returns the document frequency of each term; 0 for a term that is not in the index."""
        term_of = java_class(f"{_LUCENE}.index.Term")
        return {term: int(self._reader.docFreq(term_of(_FIELD, term))) for term in terms}

    def vector(self, docid: str) -> ImpactQuery:
        """Returns {term: impact} of one document, terms ascending.

        It looks the document up in the postings of every term. Raises InputError for an id that
        is not in the index.
        """
        number, vector = self._number(docid), {}
        terms = self._all.iterator()
        while (term := terms.next()) is not None:
            postings = terms.postings(None, java_class(f"{_LUCENE}.index.PostingsEnum").FREQS)
            if postings.advance(number) == number:
                vector[str(term.utf8ToString())] = int(postings.freq())
        return vector

    def impacts_of_terms(self, terms: Iterable[str], docid: str) -> ImpactQuery:
        """Returns {term: impact} of those terms that one document has.

        Raises InputError for an id that is not in the index.
        """
        number, vector = self._number(docid), {}
        term_of = java_class(f"{_LUCENE}.index.Term")
        postings_of = java_class(f"{_LUCENE}.index.MultiTerms").getTermPostingsEnum
        frequencies = java_class(f"{_LUCENE}.index.PostingsEnum").FREQS
        for term in terms:
            name = term_of(_FIELD, term)
            postings = postings_of(self._reader, _FIELD, name.bytes(), frequencies)
            if postings is not None and postings.advance(number) == number:
                vector[term] = int(postings.freq())
        return vector

    def score(self, query: Mapping[str, int], docid: str) -> float:
        """Returns Lucene's score of one document, whatever its rank; 0 if it shares no term.

        Raises InputError for an id that is not in the index.
        """
        from jnius import cast

        clauses = java_class(f"{_LUCENE}.search.BooleanQuery$Builder")()
        should = java_class(f"{_LUCENE}.search.BooleanClause$Occur").SHOULD
        for term, weight in query.items():
            clause = java_class(f"{_LUCENE}.search.TermQuery")(
                java_class(f"{_LUCENE}.index.Term")(_FIELD, term))
            clauses.add(java_class(f"{_LUCENE}.search.BoostQuery")(clause, float(weight)), should)
        searcher = index_searcher()(self._reader)
        searcher.setSimilarity(java_class("io.anserini.search.similarity.ImpactSimilarity")())
        # without the cast, pyjnius would choose the overload whose argument is a Weight
        boolean = cast(f"{_LUCENE}.search.Query", clauses.build())
        return float(searcher.explain(boolean, self._number(docid)).getValue().floatValue())

    def has(self, docid: str) -> bool:
        """Whether a document is in the index."""
        return self._place(docid) >= 0

    def _place(self, docid: str) -> int:
        utils = java_class("io.anserini.index.IndexReaderUtils")
        return int(utils.convertDocidToLuceneDocid(self._reader, docid))

    def _number(self, docid: str) -> int:
        """Returns Lucene's number of a document; raises InputError for an unknown id."""
        if (number := self._place(docid)) < 0:
            raise unknown_document(docid, self._index, self.has(passage_id(docid, 0)))
        return number


@contextmanager
def open_lucene_postings(index: Path) -> Iterator[LucenePostings]:
    """Opens an index for the block.

    Raises InputError if there is none, if Lucene cannot open it, or if documents were deleted,
    because Lucene's counts would still include them.
    """
    reader = open_reader(index)
    try:
        if reader.hasDeletions():
            raise InputError(f"{index}: has deleted documents, which its counts still hold; merge "
                             "or build it again")
        with java_errors(f"{index}: Lucene cannot read it"):
            yield LucenePostings(reader, index)
    finally:
        reader.close()


def index_bytes(index: Path) -> tuple[int, int | None]:
    """Returns (bytes of all of Lucene's files, bytes of POSTING_FILES).

    The latter is None if these files are inside compound files.
    """
    files = [path for folder in part_folders(index) or [index] for path in folder.iterdir()
             if path.name.startswith(("_", "segments"))]
    sizes = [(path.name, path.stat().st_size) for path in files]
    postings = sum(size for name, size in sizes if name.endswith(POSTING_FILES))
    compound = any(name.endswith(".cfs") for name, _ in sizes)
    return sum(size for _, size in sizes), None if compound else postings
