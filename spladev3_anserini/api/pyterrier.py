"""PyTerrier's frames of queries and documents -> frames of hits and impacts, or an index.

`spladev3_anserini.terrier` is this module. PyTerrier starts no Java for these transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature
from typing import Any

import pandas as pd
import pyterrier as pt

from spladev3_anserini.api.checks import StrPath, path_text, whole_number
from spladev3_anserini.api.index import Index
from spladev3_anserini.api.model import Model
from spladev3_anserini.api.run import Run
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query import MAX_HITS

#: Without an address PyTerrier asks its own web site for one when it draws a pipeline.
_DRAWN = {"help_url": None}


def _opened(name: str, value: Any, method: str) -> Any:
    """Returns an index or a model; raises InputError for a folder or a name, as others take it."""
    if not hasattr(value, method) or isinstance(value, str):
        call = "open_index(folder)" if name == "index" else "load(model)"
        raise InputError(f"`{name}`: expected what splade.{call} gives, not "
                         f"{type(value).__name__}")
    return value


class Retriever(pt.Transformer):
    """Search with each query of a frame.

    A frame has `qid` and `query`, or `query_toks` ({term: impact}), which is taken before `query`.
    Each row gets a row per hit: `docno`, `score` and `rank`, which counts from 0. Ties are ordered
    by id, ascending.

    Args:
        index: An open index.
        hits: The largest number of documents per query.
        options: Options of `Index.rankings`, such as `threads` and `remove_query`.

    Raises:
        InputError: `index` is not open, or `hits` is out of range; while it searches, as
            `Index.run`.
        TypeError: `Index.rankings` has no such option.
    """

    schematic = _DRAWN

    def __init__(self, index: Index, hits: int = 1000, **options: Any) -> None:
        self.index: Index = _opened("index", index, "rankings")
        self.options = options
        self.hits = whole_number("hits", hits, 1, MAX_HITS)
        signature(index.rankings).bind(None, hits, **options)

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"Retriever({str(self.index.folder)!r}, hits={self.hits}{options})"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Return the hits of the queries of a frame, in the order of the queries and of the ranks.

        Raises InputError as `Index.run`: a query id occurs twice, or an impact is not whole.
        """
        with pt.validate.any(inp, context=self) as frame:
            frame.query_frame(["query"])
            frame.query_frame(["query_toks"])
        rows: list[int] = []
        hits: list[tuple[str, float]] = []
        ranks: list[int] = []
        for row, (_, ranking) in enumerate(self._rankings(inp)):
            rows += [row] * len(ranking)
            hits += ranking
            ranks += range(len(ranking))
        return inp.iloc[rows].reset_index(drop=True).assign(
            docno=pd.Series([docid for docid, _ in hits], dtype=object),
            score=pd.Series([score for _, score in hits], dtype="float64"),
            rank=pd.Series(ranks, dtype="int64"))

    def _rankings(self, inp: pd.DataFrame) -> Iterable[tuple[str, Sequence[tuple[str, float]]]]:
        if not len(inp):
            return ()
        queries: Any = list(zip(inp["qid"].tolist(), inp[
            "query_toks" if "query_toks" in inp else "query"].tolist(), strict=True))
        if "query_toks" in inp:
            if len(by_id := dict(queries)) < len(queries):
                raise InputError("`topics`: a `qid` occurs twice")
            for qid, impacts in queries:
                if not isinstance(impacts, Mapping):
                    raise InputError(f"`topics`, {qid!r}: its `query_toks` are no {{term: impact}}")
            queries = by_id
        return self.index.rankings(queries, self.hits, **self.options)

    def fuse_rank_cutoff(self, k: int) -> Retriever | None:
        """Return a retriever of at most `k` hits: PyTerrier compiles `retriever % k` to it."""
        if k >= self.hits:
            return self
        return Retriever(self.index, k, **self.options) if k >= 1 else None


class QueryEncoder(pt.Transformer):
    """Add the impacts of each query as `query_toks`.

    Args:
        model: A model, or an open index, whose model is then used.
    """

    schematic = _DRAWN

    def __init__(self, model: Model | Index) -> None:
        self.model: Model | Index = _opened("model", model, "impacts")

    def __repr__(self) -> str:
        return f"QueryEncoder({self.model!r})"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Return the frame with a column `query_toks`: {term: impact}, the largest first.

        Equal queries are encoded once. Raises InputError if a `query` is no text.
        """
        pt.validate.columns(inp, includes=["query"], context=self)
        return _with_impacts(inp, "query", "query_toks", self._encode)

    def _encode(self, texts: list[str]) -> list[dict[str, int]]:
        if isinstance(self.model, Index):
            return [self.model.impacts(text) for text in texts]
        return self.model.impacts(texts, "query")


class DocumentEncoder(pt.Transformer):
    """Add the impacts of each text as `toks`.

    Args:
        model: The model that encodes.
    """

    schematic = _DRAWN
    #: Documents that an indexing pipeline of PyTerrier passes on at once.
    batch_size = 1000

    def __init__(self, model: Model) -> None:
        self.model: Model = _opened("model", model, "impacts")

    def __repr__(self) -> str:
        return f"DocumentEncoder({self.model!r})"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Return the frame with a column `toks`: {term: impact}, the largest first.

        Equal texts are encoded once. Raises InputError if a `text` is no text.
        """
        pt.validate.columns(inp, includes=["text"], context=self)
        return _with_impacts(inp, "text", "toks", self.model.impacts)


class DocumentIndexer(pt.Indexer):
    """Encode and index documents, also at the end of a pipeline.

    Args:
        model: The model that encodes.
        folder: The index to build.
        options: Options of `Model.index`, such as `overwrite`.
    """

    schematic = _DRAWN

    def __init__(self, model: Model, folder: StrPath, **options: Any) -> None:
        self.model: Model = _opened("model", model, "index")
        self.folder, self.options = path_text("folder", folder), options

    def __repr__(self) -> str:
        return f"DocumentIndexer({self.model!r}, {self.folder!r})"

    def index_inputs(self) -> list[list[str]]:
        """Return the columns that `index` reads."""
        return [["docno", "text"]]

    def index(self, iter: Iterable[Mapping[str, Any]], **kwargs: Any) -> Index:
        """Encode and index documents.

        Args:
            iter: Dicts with `docno` and `text`, and optionally `title`.
            kwargs: More options of `Model.index`.

        Returns:
            The index, open, for a `Retriever`.

        Raises:
            InputError: As `Model.index` does; also if a document has `toks`, which would be lost.
        """
        return self.model.index(map(_without_impacts, iter), self.folder,
                                **self.options | kwargs)


def _without_impacts(document: Mapping[str, Any]) -> Mapping[str, Any]:
    if "toks" in document:
        raise InputError(f"`texts`, document {document.get('docno')!r}: has `toks`; this indexer "
                         "encodes `text` itself, with the model that the index names")
    return document


def _with_impacts(frame: pd.DataFrame, source: str, target: str,
                  encode: Callable[[list[str]], Sequence[Mapping[str, int]]]) -> pd.DataFrame:
    """Returns a copy of a frame with the impacts of the texts of a column in another one."""
    texts = frame[source].tolist()
    if not all(isinstance(text, str) for text in texts):
        encode(texts)  # refuses the first that is no text
    distinct = list(dict.fromkeys(texts))
    impacts = dict(zip(distinct, encode(distinct) if distinct else (), strict=True))
    return frame.assign(**{target: pd.Series([dict(impacts[text]) for text in texts],
                                             index=frame.index, dtype=object)})


def results(run: Run) -> pd.DataFrame:
    """Return a run as PyTerrier's frame of results: `qid`, `docno`, `score`, `rank` from 0.

    `pt.Experiment` and `pt.Transformer.from_df` take it; `Run` reads it back.
    """
    rows = [(query, docno, float(score), rank) for query, hits in run.items()
            for rank, (docno, score) in enumerate(hits.items())]
    return pd.DataFrame(rows, columns=["qid", "docno", "score", "rank"])
