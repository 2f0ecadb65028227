"""The settings of an encoder, as the user chooses them, and the length that follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spladev3_anserini.collection.passages import PassageSplit
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.impacts.query_weights import QueryTable
from spladev3_anserini.model.stated import DEFAULT_LENGTH, UNLIMITED
from spladev3_anserini.progress import log

if TYPE_CHECKING:
    from spladev3_anserini.model.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """The settings of an encoder.

    Attributes:
        max_length: The most wordpieces of a text, [CLS] and [SEP] included; None is the length
            that the model's files state, or else DEFAULT_LENGTH.
        quantizer: How weights become impacts.
        special_tokens: `drop`, `keep` or `anserini`; see `dropped_ids`.
        top_k: Keep only each text's largest weights; None keeps all.
        batch_tokens: Padded tokens of a batch; None is the device's default.
        device: `auto`, `cpu`, `cuda`, ...
        query_weights: The table of static queries: a file, {term: weight}, or FROM_CORPUS to count
            it from the documents; None is the checkpoint's.
        dtype: `auto` (float32, or the precision of an ONNX graph) or one of `DTYPES`.
        passages: Divide documents into passages; None encodes whole texts. The length of passages
            is then `max_length`.
    """

    max_length: int | None = None
    quantizer: Quantizer = field(default_factory=Quantizer)
    special_tokens: str = "drop"
    top_k: int | None = None
    batch_tokens: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    query_weights: QueryTable | None = None
    passages: PassageSplit | None = None


def chosen_length(chosen: int | None, checkpoint: Checkpoint, added: int,
                  limit: int | None) -> int:
    """Returns the length that texts are cut to.

    Args:
        chosen: The user's length; None is the one that the checkpoint states, up to `limit`.
        checkpoint: The model.
        added: How many special tokens every text gets.
        limit: The most tokens that the model takes; None without a model.

    Raises:
        InputError: The length leaves no room for a text, or is beyond the limit.
    """
    fewest = max(3, added + 1)
    stated = checkpoint.settings.length if chosen is None else None
    if chosen is None:
        # without a model there are no [CLS] and [SEP] to fit in
        chosen = stated.tokens + (0 if limit else added) if stated else DEFAULT_LENGTH
        chosen = min(chosen, limit or chosen)
        if stated is None:
            log.info("%s: texts are cut at %d tokens, as SPLADE-v3's are; the model's files "
                     "state no length", checkpoint.name, chosen)
        elif stated.tokens < UNLIMITED:
            log.info("%s: texts are cut at %d tokens, the model's own length (%s: %s)",
                     checkpoint.name, chosen, stated.path.name, stated.key)
    if chosen < fewest or (limit and chosen > limit):
        name = f"{stated.path}: {stated.key}" if stated else "`max_length`"
        raise InputError(f"{name} {chosen}: expected {fewest} to {limit or 'any number of'} "
                         "tokens")
    return chosen
