"""A model's config.json -> whether its architecture can be a SPLADE here, and what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import read_json

#: Architectures whose real tokens see padding, by a convolution, a Fourier transform or by halving
#: the sequence: the weights of a text depend on the padding behind it, whatever the mask is.
_SEE_PADDING = {"convbert", "fnet", "funnel", "nystromformer"}
#: Architectures whose attention is a compiled kernel that transformers downloads.
_KERNELS = {"mra", "yoso"}


def refuse_architecture(folder: Path) -> None:
    """Raises InputError for a model whose type is that of no masked language model.

    Causal models, encoder-decoders and types that this transformers does not know are each named.
    """
    import transformers
    from transformers.models.auto import configuration_auto, modeling_auto

    path = folder / "config.json"
    config = read_json(path, dict)
    kind = str(config.get("model_type"))
    masked = kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if config.get("is_encoder_decoder") or \
            kind in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        what = "is an encoder-decoder"
    elif kind in _KERNELS:
        what = "has an attention of compiled kernels from the hub, which are never run"
    elif masked:
        return
    elif kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        what = "is a causal language model"
    elif kind in configuration_auto.CONFIG_MAPPING_NAMES:
        what = "is no language model"
    else:
        what = f"is not known to transformers {transformers.__version__}"
    raise InputError(f"{path}: model_type: {kind[:60]} {what}; expected a masked language model "
                     "such as BERT, ModernBERT or XLM-RoBERTa")


def sees_padding(config: Any) -> bool:
    """Whether a model of this configuration gives a text other weights if padding follows it."""
    return config.model_type in _SEE_PADDING
