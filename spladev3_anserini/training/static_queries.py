"""A training's table of query weights: the start's, the user's, or counted from the corpus."""

from __future__ import annotations

from itertools import islice

import numpy as np
import torch

from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query_weights import (
    FROM_CORPUS,
    DocumentFrequencies,
    QueryTable,
    Weights,
    checked_weights,
)
from spladev3_anserini.model.checkpoint import Checkpoint, query_weights_of
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.model.variants import Variant
from spladev3_anserini.progress import progress
from spladev3_anserini.recipe.training import LearnedTable
from spladev3_anserini.training.dataset import Collator, Examples
from spladev3_anserini.training.losses import dot_products
from spladev3_anserini.training.model import TrainedSplade

#: Texts that are tokenised at once.
_BATCH = 1000
#: Queries that a table is scaled by, and of which so many are weighted at once.
_SCALED_BY, _AT_ONCE = 64, 4


def training_query_weights(start: Checkpoint, variant: Variant, tokenizer: Tokenizer,
                           table: QueryTable | None, corpus: str, max_length: int,
                           learned: LearnedTable) -> Weights | None:
    """Returns the weight that a wordpiece of a query has by itself, shape (V); None is 1 for each.

    Args:
        start: The checkpoint that the training starts from.
        variant: The variant that is trained.
        tokenizer: The start's tokenizer.
        table: The user's table instead of the start's, or FROM_CORPUS.
        corpus: The corpus that FROM_CORPUS counts.
        max_length: The length in tokens at which FROM_CORPUS cuts documents.
        learned: How the table begins and is learned.

    Raises:
        InputError: There is no table for `static`, one for another variant, it is unreadable, or
            its weights are all 0, or all 1 and not learned, which is the variant `splade-v3-doc`;
            or a table is to be learned for another variant, or begins as something else than the
            user's.
    """
    if learned != LearnedTable() and variant.query != "static":
        raise InputError(f"query_table: {variant.name} has no table of query weights; the variant "
                         "static has")
    if table is not None and learned.begin != "given":
        raise InputError(f"query_table.begin {learned.begin}: `query_weights` gives a table; "
                         "`set` query_table.begin=given to begin with it")
    if learned.begin == "ones":
        if not learned.learning_rate:
            raise InputError("query_table.begin ones: without a learning_rate every term has the "
                             "same weight, which is the variant splade-v3-doc")
        return np.ones(len(tokenizer.terms), np.float32)
    if learned.begin == "idf":
        return corpus_idf(corpus, tokenizer, max_length)
    if table == FROM_CORPUS and variant.query == "static":
        return corpus_idf(corpus, tokenizer, max_length)
    if table is None and variant.query == "lexical" != start.layout.mode:
        return None  # a table of the start belongs to another query side
    weights = query_weights_of(start, variant.query, tokenizer.terms, table)
    if weights is not None:
        source = start.label if table is None else "`query_weights`"
        dropped = sorted(tokenizer.special_ids | tokenizer.nameless)
        trained = checked_weights(np.delete(weights, dropped), source)
        if variant.query == "static" and not learned.learning_rate and (trained == 1).all():
            raise InputError(f"{source}: every term has the weight 1, which is the variant "
                             "splade-v3-doc")
    return weights


def corpus_idf(corpus: str, tokenizer: Tokenizer, max_length: int) -> Weights:
    """Returns the inverse document frequencies (V) of a corpus, as an encoding counts them.

    Args:
        corpus: The corpus.
        tokenizer: The model's tokenizer.
        max_length: The length in tokens at which documents are cut.
    """
    frequencies = DocumentFrequencies(len(tokenizer.terms))
    with progress(read_corpus(corpus), "counting") as documents:
        texts = (document.text for document in documents)
        while batch := list(islice(texts, _BATCH)):
            frequencies.add(tokenizer.ids(batch, max_length))
    return frequencies.idf()


def scale_table(model: TrainedSplade, examples: Examples, collator: Collator) -> float:
    """Multiplies a model's table by one number, so that scores begin in the teachers' range.

    The number is the mean over the first 64 queries of the deviation of a query's scores by the
    teachers, divided by that of its scores by the model, to three digits. A table that is too large
    makes MarginMSE so large that training empties the documents.

    Args:
        model: The model to be trained.
        examples: The training examples.
        collator: Tokenises them.

    Returns:
        The number.

    Raises:
        InputError: The model, or the teachers, score all documents of these queries alike.
    """
    deviations = torch.zeros(2, dtype=torch.float64)
    model.eval()
    with torch.no_grad():
        for begin in range(0, min(_SCALED_BY, len(examples)), _AT_ONCE):
            batch = collator([examples[i] for i in range(begin, min(begin + _AT_ONCE,
                                                                    len(examples)))])
            scores = batch["scores"]
            queries, documents = model(**{name: batch[name] for name in (
                "query_ids", "query_mask", "document_ids", "document_mask")})
            ours = dot_products(queries, documents.view(*scores.shape, -1))
            deviations += torch.stack([side.double().std(dim=1, correction=0).sum()
                                       for side in (scores, ours)])
    model.train()
    if not deviations.all():
        who = "the model" if deviations[0] else "the teachers"
        raise InputError(f"query_table.scale: {who} scores all documents of the first queries "
                         "alike; `set` query_table.scale=false to begin without a scale")
    scale = float(f"{deviations[0] / deviations[1]:.3g}")
    with torch.no_grad():
        model.query_table *= scale
    return scale
