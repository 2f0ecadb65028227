"""The settings of an encoder, as the user chooses them."""

from __future__ import annotations

from dataclasses import dataclass, field

from spladev3_anserini.impacts.quantize import Quantizer


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """The settings of an encoder.

    Attributes:
        max_length: The most wordpieces of a text, [CLS] and [SEP] included.
        quantizer: How weights become impacts.
        special_tokens: `drop`, `keep` or `anserini`; see `dropped_ids`.
        top_k: Keep only each text's largest weights; None keeps all.
        batch_tokens: Padded tokens of a batch; None is the device's default.
        device: `auto`, `cpu`, `cuda`, ...
        dtype: `auto` (float32, or the precision of an ONNX graph) or a key of `DTYPES`.
    """

    max_length: int = 256
    quantizer: Quantizer = field(default_factory=Quantizer)
    special_tokens: str = "drop"
    top_k: int | None = None
    batch_tokens: int | None = None
    device: str = "auto"
    dtype: str = "auto"
