"""What texts lose to a length, by the tokenizer without one."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer


def lost_of(folder: Path, texts: list[str], length: int,
            seconds: list[str] | None = None) -> list[int]:
    """A text's (or a pair's) ids in full less the room that the length leaves."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    whole = [len(ids) for ids in tokenizer(texts, seconds, verbose=False).input_ids]
    return [max(0, count - length) for count in whole]
