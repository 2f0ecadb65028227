"""A loaded model -> the most tokens of a text."""

from __future__ import annotations

from typing import Any


def position_limit(model: Any) -> int | None:
    """Returns the most tokens that a transformers model takes; None if the model has no limit.

    RoBERTa and its kin (XLM-R, CamemBERT, MPNet, ...) count positions from the padding id + 1 on,
    so a table of 514 rows has room for 512 tokens. Such a table knows its padding row.
    """
    limit = getattr(model.config, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit < 1:
        return None
    used = [module.padding_idx + 1 for name, module in model.named_modules()
            if name.rpartition(".")[2] == "position_embeddings"
            and getattr(module, "padding_idx", None) is not None]
    return limit - max(used, default=0)


def full_attention_limit(model: Any) -> int | None:
    """Returns the most tokens of a text in which BigBird attends to all; None for other models.

    In longer texts its attention is sparse, but not after a short text. The weights of a long text
    would therefore depend on the texts before it.
    """
    config = model.config
    if getattr(config, "attention_type", None) != "block_sparse":
        return None
    return int(5 + 2 * config.num_random_blocks) * int(config.block_size)
