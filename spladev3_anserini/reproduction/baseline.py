"""A baseline's recipe on a collection -> its runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from spladev3_anserini import __version__
from spladev3_anserini.collection.runs import Hit, read_run_file
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.lucene.jvm import versions
from spladev3_anserini.lucene.ranking import without_own, write_run
from spladev3_anserini.model.weights import MODEL_FILES, folder_hash
from spladev3_anserini.rankers.bm25 import bm25_rankings
from spladev3_anserini.rankers.dense_encoder import DenseEncoder
from spladev3_anserini.rankers.dense_index import DenseSearch, dense_index, dense_rankings
from spladev3_anserini.rankers.dense_models import DenseModel, find_dense
from spladev3_anserini.rankers.pair_scorer import PairSettings
from spladev3_anserini.rankers.registry import find_pair_scorer, open_pair_scorer
from spladev3_anserini.rankers.rerank import read_rerank, reranked
from spladev3_anserini.recipe.baseline import Bm25, Dense, Rerank
from spladev3_anserini.reproduction.journal import Inputs
from spladev3_anserini.reproduction.models import usable_checkpoint
from spladev3_anserini.reproduction.result import read_result
from spladev3_anserini.reproduction.session import Run
from spladev3_anserini.text import counted

Do = Callable[[str, Inputs, Callable[[bool], str], Iterable[Path]], None]
Rankings = Iterator[tuple[str, list[Hit]]]


def model_of(run: Run) -> tuple[str, str]:
    """A baseline's model and a hash of the files that decide its scores, a re-ranker's with that
    of the run it begins with. Raises InputError where a model is not there."""
    own = run.cell.recipe.baseline
    if run.options.model and run.cell.first is None:
        raise InputError(f"`model`: {run.cell.recipe_name} is a baseline, and has its own")
    if isinstance(own, Dense):
        return own.model, folder_hash(_dense_model(run, own).folder,
                                      (*MODEL_FILES, "*/config.json"))
    if isinstance(own, Rerank):
        kind, folder = find_pair_scorer(_usable(run, own.teacher))
        first = read_result(run.cell.first.folder) if run.cell.first else None
        below = first.model_sha256 if first else ""
        both = f"{folder_hash(folder, kind.files)} {below}"
        return own.teacher, hashlib.sha256(both.encode()).hexdigest()
    return "BM25", hashlib.sha256(b"BM25").hexdigest()


def search_baseline(run: Run, do: Do) -> None:
    """One stage for all query sets, since what is searched is kept no longer than that."""
    cell, own = run.cell, run.cell.recipe.baseline
    assert own is not None
    inputs = {name: str(value) for name, value in own.given().items()} | {
        "corpus": run.note("corpus")["sha256"], "weights": model_of(run)[1],
        "package": __version__}
    inputs |= versions() if isinstance(own, Bm25) else {"device": run.device}
    for name, query_set in run.sets.items():
        inputs |= {f"topics {name}": run.note(f"data.{name}")["topics"],
                   f"hits {name}": str(query_set.hits),
                   f"remove_query {name}": str(query_set.remove_query)}
        if cell.first:
            inputs[f"run {name}"] = sha256_of(cell.first.run_file(name))

    def work(_: bool) -> str:
        found = lines = 0
        for name, rankings in _rankings(run, own):
            some, many = write_run(cell.run_file(name), without_own(
                rankings, wanted=run.sets[name].remove_query), cell.recipe_name)
            found, lines = found + some, lines + many
        return (f"{counted(len(run.sets), 'query set')}: {counted(found, 'query')} with hits, "
                f"{counted(lines, 'line')}")

    do("search", inputs, work, [cell.run_file(name) for name in run.sets])


def _rankings(run: Run, own: Bm25 | Dense | Rerank) -> Iterator[tuple[str, Rankings]]:
    """Each query set's name and its rankings, to be used before the next are asked for."""
    if isinstance(own, Bm25):
        yield from _bm25(run, own)
    elif isinstance(own, Dense):
        encoder = DenseEncoder(_dense_model(run, own), run.options.device, run.options.batch_tokens)
        search = DenseSearch(kind=own.search, m=own.hnsw_m,
                             ef_construction=own.ef_construction, ef_search=own.ef_search)
        index = dense_index(encoder, run.corpus, search, run.options.threads)
        for name, query_set in run.sets.items():
            yield name, dense_rankings(index, encoder, read_topics(run.topics[name]),
                                       query_set.hits)
    else:
        assert run.cell.first is not None
        teacher = open_pair_scorer(_usable(run, own.teacher), PairSettings(
            max_length=own.max_length, batch_tokens=run.options.batch_tokens,
            device=run.options.device))
        for name in run.sets:
            first = read_run_file(run.cell.first.run_file(name))
            yield name, reranked(read_rerank(first, run.corpus, run.topics[name], own.top),
                                 teacher)


def _bm25(run: Run, own: Bm25) -> Iterator[tuple[str, Rankings]]:
    """All sets in one search, so that the corpus is indexed once."""
    topics = {name: read_topics(run.topics[name]) for name in run.sets}
    # sets may share ids of topics; no id has white space in it
    every = [topic._replace(id=f"{name} {topic.id}") for name, some in topics.items()
             for topic in some]
    most = max(query_set.hits for query_set in run.sets.values())
    found = bm25_rankings(run.corpus, every, most, own.k1, own.b, run.options.threads)
    for name, query_set in run.sets.items():
        yield name, ((topic.partition(" ")[2], hits[: query_set.hits])
                     for topic, hits in islice(found, len(topics[name])))
    next(found, None)  # lets it close and remove its index


def _dense_model(run: Run, own: Dense) -> DenseModel:
    return find_dense(_usable(run, own.model), own.pooling, own.similarity, own.query_max_length,
                      own.max_length)


def _usable(run: Run, name: str) -> str:
    """A model's name, or the folder of its copy where its weights are a pickle."""
    if not run.cell.recipe.pickled:
        return name
    return str(usable_checkpoint(name, run.cell.output).folder)
