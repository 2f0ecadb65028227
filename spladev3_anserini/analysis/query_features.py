"""Topics -> length, rarity and expansion share of each query."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from spladev3_anserini.analysis.explanation import expansion_share
from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.encoding.encoder import Encoder
from spladev3_anserini.encoding.queries import encode_topics
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.encoded_queries import read_encoded_queries
from spladev3_anserini.impacts.query import ImpactQuery
from spladev3_anserini.impacts.shards import read_manifest
from spladev3_anserini.lucene.check import read_index_manifest
from spladev3_anserini.lucene.opening import open_postings
from spladev3_anserini.model.checkpoint import chosen_variant, open_checkpoint
from spladev3_anserini.model.variants import VARIANTS
from spladev3_anserini.text import counted

#: The features in the order of the output, with their meanings.
FEATURES = {
    "length": "distinct wordpieces of the query",
    "rarity": "mean idf of the query's wordpieces in the index",
    "expansion": "share of the expanded query's weight that lies on terms not in the query",
}

Features = dict[str, dict[str, float]]


def wordpiece_encoder(index: Path | None, model: str | None, max_length: int | None,
                      *, trust: bool = False) -> Encoder:
    """Returns an encoder that splits queries into wordpieces; it loads no weights.

    Args:
        index: The index; its manifest names the model and the tokenizer.
        model: The model with the tokenizer; without it, the index's model.
        max_length: The length limit of a query, in wordpieces with special tokens.
        trust: Do not compare the hashes of the index's files.

    Raises:
        InputError: No model is known, or its tokenizer is not that of the index.
    """
    record = read_index_manifest(index, trust=trust) if index else None
    name = model or (record.encoded.model_name if record else None)
    if not name:
        raise InputError(f"{index}: names no model; give one with `model`"
                         if index else "give `index` or `model`: its wordpieces are counted")
    encoder = Encoder(open_checkpoint(name), VARIANTS["splade-v3-doc"], "query",
                      EncoderSettings(max_length=max_length))
    if record and record.encoded.fingerprint.tokenizer != encoder.tokenizer.sha256:
        raise InputError(f"`model` {name}: its tokenizer is not that of the index {index}")
    return encoder


def expanding_encoder(model: str, settings: EncoderSettings) -> Encoder:
    """Returns a query encoder that expands; raises InputError for a variant that does not."""
    checkpoint = open_checkpoint(model)
    variant = chosen_variant("auto", checkpoint)
    if variant.query != "expand":
        raise InputError(f"`expander` {model}: is a {variant.name}, which adds no term to a query")
    return Encoder(checkpoint, variant, "query", settings)


def read_expanded(source: Path, bow: Encoder) -> dict[str, ImpactQuery]:
    """Reads expanded queries as {id: impacts}.

    If `source` is a folder, it is checked: raises InputError for another tokenizer than that of
    `bow`, and for a variant that does not expand.
    """
    if source.is_dir():
        fingerprint = read_manifest(source).fingerprint
        if fingerprint.tokenizer != bow.tokenizer.sha256:
            raise InputError(f"`queries` {source}: was encoded with another tokenizer, so its "
                             "expansion terms cannot be identified")
        if VARIANTS[fingerprint.variant].query != "expand":
            raise InputError(f"`queries` {source}: is of {fingerprint.variant}, which adds no term "
                             "to a query")
    return {topic.id: topic.query for topic in read_encoded_queries(source, source, None)}


def query_features(topics: Sequence[Topic], bow: Encoder, index: Path | None,
                   expanded: Mapping[str, ImpactQuery] | None) -> Features:
    """Calculates the features of FEATURES for each query.

    Rarity uses the idf of Lucene's BM25, ln(1 + (N - n + 0.5) / (n + 0.5)). N is the number of
    documents, and n of them have the wordpiece among their impacts, whether or not it is in their
    text. A query without wordpieces has length 0 and no other feature.

    Args:
        topics: The queries.
        bow: Splits them into wordpieces.
        index: The index for rarity; without it there is no rarity.
        expanded: The expanded queries by id; without them there is no expansion.

    Returns:
        {feature: {query: value}}.

    Raises:
        InputError: A topic is not among the expanded queries.
    """
    wordpieces = {topic.id: set(topic.query) for topic in encode_topics(bow, topics)}
    nonempty = {query: terms for query, terms in wordpieces.items() if terms}
    features: Features = {"length": {query: float(len(terms))
                                     for query, terms in wordpieces.items()}}
    if index is not None:
        with open_postings(index) as postings:
            counts = postings.frequencies(set().union(*nonempty.values()))
            documents = postings.documents
        idf = {t: math.log1p((documents - n + 0.5) / (n + 0.5)) for t, n in counts.items()}
        features["rarity"] = {query: math.fsum(idf[t] for t in terms) / len(terms)
                           for query, terms in nonempty.items()}
    if expanded is not None:
        if missing := [query for query in wordpieces if query not in expanded]:
            raise InputError(f"`queries`: does not have {counted(len(missing), 'topic')}: "
                             f"{', '.join(missing[:5])}")
        features["expansion"] = {query: expansion_share(expanded[query], terms)
                              for query, terms in nonempty.items() if expanded[query]}
    return features


def parse_edges(texts: Sequence[str]) -> dict[str, list[float]]:
    """Parses texts of the form `FEATURE=A,B,...` to {feature: upper ends of its groups}.

    Raises InputError for another form, an unknown feature, and numbers that are not finite or do
    not ascend.
    """
    edges: dict[str, list[float]] = {}
    for text in texts:
        feature, _, numbers = text.partition("=")
        try:
            edges[feature] = [float(number) for number in numbers.split(",")]
        except ValueError:
            raise InputError(f"`edges` {text}: expected FEATURE=A,B,... with numbers") from None
        if feature not in FEATURES:
            raise InputError(f"`edges` {text}: expected one of {', '.join(FEATURES)}")
        if not all(map(math.isfinite, edges[feature])) or \
                edges[feature] != sorted(set(edges[feature])):
            raise InputError(f"`edges` {text}: expected numbers that ascend")
    return edges
