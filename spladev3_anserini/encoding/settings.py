"""The settings of an encoder, as the user chooses them."""

from __future__ import annotations

from dataclasses import dataclass, field

from spladev3_anserini.impacts.quantize import Quantizer
from spladev3_anserini.impacts.query_weights import QueryTable

#: That of SPLADE-v3's evaluation (naver/splade's configs), for models that state no length.
DEFAULT_LENGTH = 256


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
        dtype: `auto` (float32, or the precision of an ONNX graph) or a key of `DTYPES`.
    """

    max_length: int | None = None
    quantizer: Quantizer = field(default_factory=Quantizer)
    special_tokens: str = "drop"
    top_k: int | None = None
    batch_tokens: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    query_weights: QueryTable | None = None
