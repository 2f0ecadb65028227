"""What Anserini's own encoder reads besides a graph, and which models it cannot encode."""

from __future__ import annotations

from spladev3_anserini.errors import InputError
from spladev3_anserini.model.checkpoint import Checkpoint
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.model.variants import MAX_RELU

#: The names of the files that Anserini's SpladeV3Encoder reads.
ANSERINI_FILES = ("splade-v3-optimized.onnx", "splade-v3-vocab.txt")


def anserini_vocabulary(checkpoint: Checkpoint) -> str:
    """Returns vocab.txt of BERT's uncased tokenizer, which Anserini's encoder has built in.

    The encoder only runs a graph on a query's wordpieces. Raises InputError for a model with
    another vocabulary, and for one with a setting that the two files cannot hold.
    """
    query, pooling = checkpoint.of("query"), checkpoint.settings.pooling
    refused = f"{checkpoint.label}: cannot be exported for Anserini's encoder: "
    if query.settings.prompt:
        raise InputError(f"{refused}it does not put the prompt {query.settings.prompt[:40]!r} "
                         "before a query")
    if pooling != MAX_RELU:
        raise InputError(f"{refused}its two files do not record the pooling, {pooling.strategy} "
                         f"with {pooling.activation}")
    if checkpoint.variant.query == "static" or checkpoint.layout.table is not None:
        raise InputError(f"{refused}it has no place for a table of query weights")
    if checkpoint.variant.query != "bow" and not checkpoint.shares_model:
        raise InputError(f"{refused}queries have a model of their own; export that one")
    terms = Tokenizer(checkpoint.tokenizer).terms.tolist()
    expected_ids = {"[PAD]": 0, "[CLS]": 101, "[SEP]": 102}
    if any(len(terms) <= i or terms[i] != term for term, i in expected_ids.items()):
        raise InputError(f"{checkpoint.folder}: Anserini's encoder takes only BERT's vocabulary, "
                         "with [PAD], [CLS] and [SEP] at 0, 101 and 102")
    return "".join(f"{term}\n" for term in terms)
