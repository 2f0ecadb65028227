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
from spladev3_anserini.lucene.postings import open_postings
from spladev3_anserini.model.checkpoint import chosen_variant, open_checkpoint
from spladev3_anserini.model.variants import VARIANTS
from spladev3_anserini.text import counted

#: In the order shown, with what each means.
FEATURES = {
    "length": "distinct wordpieces of the query",
    "rarity": "mean idf of the query's wordpieces in the index",
    "expansion": "share of the expanded query's weight that lies on terms not in the query",
}

Features = dict[str, dict[str, float]]


def bag_of_words(index: Path | None, model: str | None, max_length: int,
                 *, trust: bool = False) -> Encoder:
    """What cuts queries into wordpieces: the tokenizer of `model`, or of the model that the index
    names; no weights are loaded. Raises InputError where it is not the index's tokenizer."""
    record = read_index_manifest(index, trust=trust) if index else None
    name = model or (record.encoded.model_name if record else None)
    if not name:
        raise InputError(f"{index}: names no model; say whose wordpieces with `model`"
                         if index else "give `index` or `model`: whose wordpieces count?")
    encoder = Encoder(open_checkpoint(name), VARIANTS["splade-v3-doc"], "query",
                      EncoderSettings(max_length=max_length))
    if record and record.encoded.fingerprint.tokenizer != encoder.tokenizer.sha256:
        raise InputError(f"`model` {name}: its tokenizer is not that of the index {index}")
    return encoder


def expanding(model: str, settings: EncoderSettings) -> Encoder:
    """A query encoder that expands; raises InputError for a variant that does not."""
    checkpoint = open_checkpoint(model)
    variant = chosen_variant("auto", checkpoint)
    if variant.query != "expand":
        raise InputError(f"`expander` {model}: is a {variant.name}, which adds no term to a query")
    return Encoder(checkpoint, variant, "query", settings)


def read_expanded(source: Path, bow: Encoder) -> dict[str, ImpactQuery]:
    """Encoded queries {id: impacts}; raises InputError where they were encoded with another
    tokenizer than `bow` has, or by a variant that does not expand."""
    if source.is_dir():
        made = read_manifest(source).fingerprint
        if made.tokenizer != bow.tokenizer.sha256:
            raise InputError(f"`queries` {source}: was encoded with another tokenizer, so what "
                             "is new in it cannot be told")
        if VARIANTS[made.variant].query != "expand":
            raise InputError(f"`queries` {source}: is of {made.variant}, which adds no term to a "
                             "query")
    return {topic.id: topic.query for topic in read_encoded_queries(source, source, None)}


def query_features(topics: Sequence[Topic], bow: Encoder, index: Path | None,
                   expanded: Mapping[str, ImpactQuery] | None) -> Features:
    """{feature: {query: value}}, features as in FEATURES; rarity only with an index, expansion
    only with expanded queries. A query without wordpieces has length 0 and nothing else.

    idf = ln(1 + (N - n + 0.5) / (n + 0.5)), that of Lucene's BM25: N documents, n of which have
    the wordpiece among their impacts, whether or not it is in their text. Raises InputError for a
    topic that is not among the expanded queries.
    """
    own = {topic.id: set(topic.query) for topic in encode_topics(bow, topics)}
    full = {query: terms for query, terms in own.items() if terms}
    found: Features = {"length": {query: float(len(terms)) for query, terms in own.items()}}
    if index is not None:
        with open_postings(index) as postings:
            counts = postings.frequencies(set().union(*full.values()))
            documents = postings.documents
        idf = {t: math.log1p((documents - n + 0.5) / (n + 0.5)) for t, n in counts.items()}
        found["rarity"] = {query: math.fsum(idf[t] for t in terms) / len(terms)
                           for query, terms in full.items()}
    if expanded is not None:
        if missing := [query for query in own if query not in expanded]:
            raise InputError(f"`queries`: does not have {counted(len(missing), 'topic')}: "
                             f"{', '.join(missing[:5])}")
        found["expansion"] = {query: expansion_share(expanded[query], terms)
                              for query, terms in full.items() if expanded[query]}
    return found


def parse_edges(texts: Sequence[str]) -> dict[str, list[float]]:
    """{feature: where its groups end} of `FEATURE=A,B,...`; raises InputError for another form, an
    unknown feature, and numbers that are not finite or do not ascend."""
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
