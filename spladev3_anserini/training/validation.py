"""A model in training -> its measures on questions that it does not learn from."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, distributed

from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.collection.qrels import Qrels, read_qrels
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.evaluation.measures import evaluate, parse_measures
from spladev3_anserini.model.batches import padded_ids
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.progress import progress
from spladev3_anserini.training.distributed import is_distributed
from spladev3_anserini.training.mapped_data import TrainingData
from spladev3_anserini.training.model import TrainedSplade

#: The measure that decides which checkpoint is the best, and those that are logged with it.
DECIDES = "nDCG@10"
_MEASURES = (DECIDES, "RR@10")
#: Weights become impacts as `encode` makes them by default: rint(100 w).
_SCALE = 100
#: Tokens of a batch, padding included, and hits that the measures can see.
_BATCH_TOKENS, _HITS = 2048, 10
#: Candidates of a held-out query whose texts are part of its collection, the first ones.
_CANDIDATES = 30


class HeldOut(NamedTuple):
    """Questions with judgments, and the texts that are searched for them.

    Attributes:
        queries: {id: text}.
        documents: {id: text}.
        qrels: {query: {document: grade}}, of these queries alone.
    """

    queries: dict[str, str]
    documents: dict[str, str]
    qrels: Qrels

    def sha256(self) -> str:
        """Returns a hash of all of it, in its order."""
        digest = hashlib.sha256()
        for part in self:
            for item in part.items():
                digest.update(json.dumps(item).encode() + b"\n")
            digest.update(b"\n")
        return digest.hexdigest()


class Questions(NamedTuple):
    """Questions on a corpus, of which some are validated on.

    Attributes:
        topics: The topics.
        qrels: Their judgments.
        corpus: The corpus.
        sample: How many questions with a relevant document are drawn; None takes all.
        documents: How many documents besides the judged ones are drawn; None takes all.
        seed: Draws both.
    """

    topics: str
    qrels: str
    corpus: str
    sample: int | None = None
    documents: int | None = None
    seed: int = 0


class Validation(NamedTuple):
    """What a model is worth on held-out questions.

    Attributes:
        means: nDCG@10 and RR@10.
        by_query: {query: nDCG@10}.
        flops: The expected number of products of a query and a document: sum over terms of the
            share of queries and the share of documents that have it, multiplied.
        query_terms: The mean number of a query's terms.
        document_terms: The mean number of a document's terms.
    """

    means: dict[str, float]
    by_query: dict[str, float]
    flops: float
    query_terms: float
    document_terms: float

    def values(self) -> dict[str, float]:
        """Returns the numbers as they are logged, by name."""
        return {f"validation_{name}": value for name, value in (
            *self.means.items(), ("FLOPS", self.flops), ("nonzero_queries", self.query_terms),
            ("nonzero_documents", self.document_terms))}


def read_held_out(folder: str) -> HeldOut:
    """Reads a folder in BEIR's layout: its corpus, queries, and qrels.

    Raises InputError if a part cannot be read, if no query of the qrels is there, or if no relevant
    document is.
    """
    qrels = read_qrels(folder)
    queries = {topic.id: topic.text for topic in read_topics(folder) if topic.id in qrels}
    if not queries:
        raise InputError(f"`validate` {folder}: no query of its qrels is among its queries")
    with progress(read_corpus(folder), "validation") as documents:
        texts = {document.id: document.text for document in documents}
    held_out = {query: qrels[query] for query in queries}
    if not any(grade > 0 and document in texts for judged in held_out.values()
               for document, grade in judged.items()):
        raise InputError(f"`validate` {folder}: no relevant document of its qrels is in its corpus")
    return HeldOut(queries, texts, held_out)


def read_questions(source: Questions) -> HeldOut:
    """Reads questions with their judged documents and a sample of the others.

    Raises InputError if a file cannot be read, if no topic has a relevant document, or if no
    relevant document is in the corpus.
    """
    judged = read_qrels(source.qrels)
    texts = {topic.id: topic.text for topic in read_topics(source.topics)
             if any(grade > 0 for grade in judged.get(topic.id, {}).values())}
    if not texts:
        raise InputError(f"{source.topics}: none of its topics has a relevant document in "
                         f"{source.qrels}")
    names = list(texts)
    if source.sample is not None:
        drawn = np.random.default_rng([source.seed, 2]).permutation(len(names))[:source.sample]
        names = [names[place] for place in np.sort(drawn).tolist()]
    qrels = Qrels({name: judged[name] for name in names})
    own = {document for grades in qrels.values() for document in grades}
    documents, others = dict[str, str](), list[tuple[str, str]]()
    generator, seen = np.random.default_rng([source.seed, 3]), 0
    with progress(read_corpus(source.corpus), "validation") as corpus:
        for document in corpus:
            if document.id in own:
                documents[document.id] = document.text
                continue
            seen += 1  # reservoir sampling (Vitter 1985, algorithm R)
            if source.documents is None or len(others) < source.documents:
                others.append((document.id, document.text))
            elif (place := int(generator.integers(seen))) < source.documents:
                others[place] = document.id, document.text
    if not any(grade > 0 and document in documents for grades in qrels.values()
               for document, grade in grades.items()):
        raise InputError(f"{source.qrels}: no relevant document of its questions is in "
                         f"{source.corpus}")
    return HeldOut({name: texts[name] for name in names}, documents | dict(others), qrels)


def split(data: TrainingData, source: str | int | Questions,
          seed: int) -> tuple[HeldOut, NDArray[np.int64] | None]:
    """Returns what is validated on, and the numbers of the queries that are learned from.

    None for the numbers means all. `source` is a folder (`read_held_out`), a number of training
    queries (`hold_out`, drawn by `seed`), or `read_questions`'s.
    """
    if isinstance(source, int):
        return hold_out(data, source, seed)
    return (read_questions(source) if isinstance(source, Questions)
            else read_held_out(source)), None


def hold_out(data: TrainingData, count: int, seed: int) -> tuple[HeldOut, NDArray[np.int64]]:
    """Holds queries out of the training data.

    Their collection is their positives and their first 30 candidates, all together.

    Args:
        data: The training data.
        count: How many queries are held out.
        seed: Draws them.

    Returns:
        What is held out, and the numbers of the queries that are left.

    Raises:
        InputError: No query would be left.
    """
    if count >= data.size:
        raise InputError(f"`validate` {count}: there are {data.size:,} training queries, and some "
                         "must be left to learn from")
    drawn = np.random.default_rng([seed, 1]).permutation(data.size)
    queries, documents, qrels = dict[str, str](), dict[str, str](), Qrels()
    for number in np.sort(drawn[:count]).tolist():
        identifier, text = data.query(number)
        queries[identifier] = text
        begin, positives = int(data.starts[number]), int(data.positives[number])
        end = min(int(data.starts[number + 1]), begin + positives + _CANDIDATES)
        chosen = data.documents[begin:end].tolist()
        documents |= {str(document): data.text(document) for document in chosen}
        qrels[identifier] = {str(document): 1 for document in chosen[:positives]}
    return HeldOut(queries, documents, qrels), np.sort(drawn[count:])


class Validator:
    """Measures a model on held-out questions, whose texts it tokenises once."""

    def __init__(self, held_out: HeldOut, tokenizer: Tokenizer, max_length: int) -> None:
        """`max_length` is that of the training, in wordpieces."""
        self._qrels, self._measures = held_out.qrels, parse_measures(" ".join(_MEASURES))
        self._queries = list(held_out.queries)
        self._documents = list(held_out.documents)
        self._padding = tokenizer.padding_id
        self._query_ids = tokenizer.ids([held_out.queries[q] for q in self._queries], max_length)
        self._document_ids = tokenizer.ids([held_out.documents[d] for d in self._documents],
                                           max_length)

    def measure(self, model: TrainedSplade) -> Validation:
        """Encodes all texts and evaluates all scores, of which `evaluate` orders equal ones.

        Ranks share the documents. Every rank must call it, and gets the same.
        """
        was_training = model.training
        model.eval()
        try:
            documents = self._all(model, self._document_ids, "document")
            queries = _impacts(model, self._query_ids, "query", self._padding)
        finally:
            model.train(was_training)
        run: dict[str, dict[str, float]] = {}
        for number, query in enumerate(self._queries):  # all scores at once could fill the memory
            row = (queries[number] @ documents.T).toarray()[0]
            least = max(1, np.partition(row, -_HITS)[-_HITS] if len(row) > _HITS else 1)
            run[query] = {self._documents[place]: float(row[place])
                          for place in np.flatnonzero(row >= least).tolist()}
        found = evaluate(self._qrels, run, self._measures)
        return Validation(
            found.means, {query: values[DECIDES] for query, values in found.by_query.items()},
            float((queries != 0).mean(axis=0).A1 @ (documents != 0).mean(axis=0).A1),
            queries.nnz / queries.shape[0], documents.nnz / documents.shape[0])

    def _all(self, model: TrainedSplade, ids: list[list[int]], side: str) -> sparse.csr_matrix:
        """Impacts of all documents; each rank computes a part."""
        if not is_distributed():
            return _impacts(model, ids, side, self._padding)
        ranks, rank = distributed.get_world_size(), distributed.get_rank()
        bounds = [len(ids) * part // ranks for part in range(ranks + 1)]
        parts: list[sparse.csr_matrix | None] = [None] * ranks
        distributed.all_gather_object(parts, _impacts(
            model, ids[bounds[rank]:bounds[rank + 1]], side, self._padding))
        return sparse.vstack(parts, format="csr")


def _impacts(model: TrainedSplade, ids: list[list[int]], side: str,
             padding: int) -> sparse.csr_matrix:
    """Impacts (N, V) of tokenised texts, in their order."""
    device = next(model.parameters()).device
    order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
    rows: dict[int, sparse.csr_matrix] = {}
    while order:
        longest, batch = 0, list[int]()
        while order and (not batch or max(longest, len(ids[order[-1]])) * (len(batch) + 1)
                         <= _BATCH_TOKENS):
            batch.append(order.pop())
            longest = max(longest, len(ids[batch[-1]]))
        padded, mask = padded_ids([ids[place] for place in batch], padding)
        with torch.no_grad():
            weights: Tensor = model.weights_of(side, padded.to(device), mask.to(device))
        impacts = (weights * _SCALE).round().to(torch.int64).cpu().numpy()
        for place, row in zip(batch, sparse.csr_matrix(impacts), strict=True):
            rows[place] = row
    empty = sparse.csr_matrix((0, model.splade.vocabulary), dtype=np.int64)
    return sparse.vstack([empty, *(rows[place] for place in range(len(ids)))], format="csr")
