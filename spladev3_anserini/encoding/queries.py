"""Topics -> integer queries for an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.encoding.cut import Cuts
from spladev3_anserini.encoding.encoder import Encoder, TextError
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import IndexManifest, QueryIdentity, refuse_mismatch
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.impacts.query import EncodedTopic
from spladev3_anserini.impacts.query_weights import query_weights_in
from spladev3_anserini.model.checkpoint import chosen_variant, open_checkpoint
from spladev3_anserini.model.variants import Variant, variant_named
from spladev3_anserini.progress import counter, warn

if TYPE_CHECKING:
    from spladev3_anserini.encoding.weigher import Network


def encoder_for_index(index: Path, record: IndexManifest, model: str | None, variant: str,
                      settings: EncoderSettings, network: Network | None = None) -> Encoder:
    """Opens the query encoder of an index, with the index's scale and special-token policy.

    Args:
        index: The index's folder, for messages.
        record: The index's manifest.
        model: The model; None is the one that the index names. An ONNX graph that `export` made of
            the index's model may encode the queries too, with a warning.
        variant: The variant; `auto` is the index's.
        settings: Only length, batches, device, precision and query weights are used. With query
            weights, queries are static whatever the index's variant is: all variants encode
            documents alike.
        network: The loaded model, if there is one of this device and precision.

    Raises:
        InputError: Model, tokenizer or variant are not the index's, or as `Encoder`.
    """
    documents = record.encoded.fingerprint
    settings = replace(settings, quantizer=Quantizer.parse(documents.quantizer),
                                 special_tokens=documents.special_tokens, top_k=None)
    try:
        checkpoint = open_checkpoint(model or record.encoded.model_name)
    except InputError as error:
        if model:
            raise
        raise InputError(f"{index} names its model, but {error}; pass its folder or hub id as "
                         "`model`") from None
    identity = QueryIdentity.for_documents(record.encoded)
    has_own_table = settings.query_weights is not None
    if has_own_table:  # another query side, on purpose
        chosen = chosen_variant(variant, checkpoint, settings.query_weights)
    else:
        chosen = variant_named(documents.variant if variant == "auto" else variant)
        if record.encoded.query_weights and chosen.name == documents.variant:
            settings = replace(settings, query_weights=query_weights_in(index))
    encoder = Encoder(checkpoint, chosen, "query", settings, network)
    by_graph = encoder.model_hash != identity.model and encoder.source_hash == identity.model != ""
    queries = QueryIdentity(
        identity.model if by_graph else encoder.model_hash, encoder.tokenizer.sha256,
        encoder.variant.name,
        encoder.settings.special_tokens, encoder.quantizer_name, encoder.query_weights_hash)
    if has_own_table:
        queries = queries._replace(variant=identity.variant, model=identity.model,
                                   query_weights=identity.query_weights)
    refuse_mismatch(queries, f"queries of {checkpoint.name}", record.encoded, index)
    if by_graph:
        measured = (" (measured with the demo model on 2,000 questions: nDCG@10 .3359 instead of "
                    ".3360)" if encoder.dtype == "int8" else "")
        warn(f"{checkpoint.name}: queries are encoded by the {encoder.dtype} ONNX graph of the "
             f"index's model; their impacts differ slightly from the model's own{measured}")
    return encoder


def encoder_of_variant(index: Path, record: IndexManifest, model: str | None, variant: str,
                       settings: EncoderSettings) -> Encoder:
    """Opens a query encoder of an index that may weight queries in another way than the index's.

    All variants encode documents alike, so it finds them too, with other scores; a warning says so.
    Arguments are those of `encoder_for_index`.

    Raises InputError as that does, for a learned variant of an index whose queries are not learned,
    and for static queries without a table.
    """
    if settings.query_weights is not None:
        return encoder_for_index(index, record, model, variant, settings)
    own = encoder_for_index(index, record, model, "auto", settings)
    if variant == "auto" or variant_named(variant).query == own.variant.query:
        return own
    chosen = variant_named(variant)
    if chosen.query == "static" or (chosen.learns_queries and not own.variant.learns_queries):
        raise InputError(f"`variant` {variant}: the index is of {own.variant.name}; its queries "
                         "can also be of splade-v3-doc, or weighted by `query_weights`")
    encoder = encoder_beside(own, record, model, chosen)
    warn(f"queries are of {variant}, the index is of {own.variant.name}: scores are others")
    return encoder


def encoder_beside(own: Encoder, record: IndexManifest, model: str | None,
                   variant: Variant) -> Encoder:
    """Opens an encoder that weights queries in another way than an index's own one.

    `record` and `model` are those that `own` was opened with. Raises InputError if the checkpoint
    lacks what the variant needs, or has another tokenizer for it.
    """
    checkpoint = open_checkpoint(model or record.encoded.model_name)
    encoder = Encoder(checkpoint, variant, "query", replace(own.settings, query_weights=None),
                      own.network)
    if encoder.tokenizer.sha256 != own.tokenizer.sha256:
        raise InputError(f"`variant` {variant.name}: {checkpoint.name} has another tokenizer for "
                         "it")
    return encoder


def query_encoder(index: Path, record: IndexManifest | None, model: str | None, variant: str,
                  settings: EncoderSettings, network: Network | None = None) -> Encoder:
    """Opens the query encoder of an index; of one that was built elsewhere, with a warning.

    Arguments are those of `encoder_for_index`. Raises InputError as that does, or if there is no
    model for an index that was built elsewhere.
    """
    if record is not None:
        return encoder_for_index(index, record, model, variant, settings, network)
    if model is None:
        raise InputError(f"{index}: was built elsewhere; pass its `model`, or impacts "
                         "instead of texts")
    warn(f"{index}: prebuilt; not checked: model, tokenizer, variant, special tokens, scale")
    return encoder_for_prebuilt(model, variant, settings)


def encoder_for_prebuilt(model: str, variant: str, settings: EncoderSettings) -> Encoder:
    """Opens the query encoder for an index without a manifest: the user decides everything."""
    checkpoint = open_checkpoint(model)
    return Encoder(checkpoint, chosen_variant(variant, checkpoint, settings.query_weights), "query",
                   settings)


def encode_topics(encoder: Encoder, topics: Sequence[Topic]) -> list[EncodedTopic]:
    """Returns the impacts of all topics, in their order; warns of topics that the length cuts.

    On a CPU a query's impacts depend on no other query. On a GPU queries share batches. This may
    change impacts slightly, in half precision more than in float32.

    Raises InputError, naming file and line of the topic, if its weights cannot be used.
    """
    tokens = encoder.tokenized([topic.text for topic in topics])
    cuts = Cuts()
    cuts.add(tokens.lost)
    cuts.warn("query", f"`max_length` {encoder.max_length}")
    try:
        if len(topics) == 1:
            queries = encoder.vectors_of(tokens.ids)
        else:
            with counter("encoding", len(topics), unit="query") as bar:
                queries = encoder.vectors_of(tokens.ids, done=bar.update)
    except TextError as error:
        topic = topics[error.position]
        raise InputError(f"{topic.where}: {topic.id!r}: {error}") from None
    return [EncodedTopic(topic.id, query) for topic, query in zip(topics, queries, strict=True)]
