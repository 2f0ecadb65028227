"""A training's table of query weights: the start's, the user's, or counted from the corpus."""

from __future__ import annotations

from itertools import islice

import numpy as np

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

#: Texts that are tokenised at once.
_BATCH = 1000


def training_query_weights(start: Checkpoint, variant: Variant, tokenizer: Tokenizer,
                           table: QueryTable | None, corpus: str,
                           max_length: int) -> Weights | None:
    """Returns the weight that a wordpiece of a query has by itself, shape (V); None is 1 for each.

    Args:
        start: The checkpoint that the training starts from.
        variant: The variant that is trained.
        tokenizer: The start's tokenizer.
        table: The user's table instead of the start's, or FROM_CORPUS.
        corpus: The corpus that FROM_CORPUS counts.
        max_length: The length in tokens at which FROM_CORPUS cuts documents.

    Raises:
        InputError: There is no table for `static`, one for another variant, it is unreadable, or
            its weights are all 0, or all 1, which is the variant `splade-v3-doc`.
    """
    if table == FROM_CORPUS and variant.query == "static":
        return corpus_idf(corpus, tokenizer, max_length)
    if table is None and variant.query == "lexical" != start.layout.mode:
        return None  # a table of the start belongs to another query side
    weights = query_weights_of(start, variant.query, tokenizer.terms, table)
    if weights is not None:
        source = start.label if table is None else "`query_weights`"
        dropped = sorted(tokenizer.special_ids | tokenizer.nameless)
        trained = checked_weights(np.delete(weights, dropped), source)
        if variant.query == "static" and (trained == 1).all():
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
