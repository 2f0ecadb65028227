"""Text -> wordpiece ids, and a tokenizer checked against its model and against Lucene."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.files import refuse_pointer
from spladev3_anserini.impacts.terms import first_fault

#: Each of these can be a whole tokenizer.
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model")
_BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt",
           "spiece.model", "sentencepiece.bpe.model")


class Tokenizer:
    """A checkpoint's fast tokenizer.

    `terms` are the vocabulary's terms by id, `special_ids` those of its special tokens,
    `sha256` a hash of its whole content without truncation and padding settings.
    """

    def __init__(self, folder: Path) -> None:
        """Loads a tokenizer; raises InputError where it cannot be loaded, is no fast one, has
        holes in its ids, or has a term Lucene would change."""
        from transformers import AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()
        refuse_pointers(folder)
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True,
                                                      trust_remote_code=False)
        except Exception as error:  # a broken file raises whatever its parser raises
            raise InputError(f"{folder}: the tokenizer cannot be loaded: "
                             f"{first_line(error)}") from None
        if not tokenizer.is_fast:
            raise InputError(f"{folder}: no fast tokenizer (tokenizer.json or vocab.txt)")
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        if sorted(vocabulary.values()) != list(range(len(vocabulary))):
            raise InputError(f"{folder}: the tokenizer's ids are not 0..{len(vocabulary) - 1}")
        self.terms = np.array(sorted(vocabulary, key=vocabulary.__getitem__), dtype=object)
        self.special_ids = frozenset(tokenizer.all_special_ids)
        ordinary = (t for i, t in enumerate(self.terms) if i not in self.special_ids)
        if problem := first_fault(ordinary):
            raise InputError(f"{folder}: {problem}")
        self.sha256 = _content_hash(tokenizer, self.special_ids)
        self._tokenizer = tokenizer

    def ids(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Ids of each text with [CLS] and [SEP], cut to `max_length` ids with [SEP] kept."""
        backend = self._tokenizer.backend_tokenizer  # a fifth faster than transformers' own call
        backend.enable_truncation(max_length)
        backend.no_padding()
        return [encoding.ids for encoding in backend.encode_batch_fast(list(texts))]

    @property
    def transformers(self) -> Any:
        """The tokenizer as transformers knows it, for saving."""
        return self._tokenizer

    @property
    def added(self) -> int:
        """How many special tokens every text gets."""
        return int(self._tokenizer.num_special_tokens_to_add())

    def pieces(self, text: str) -> list[str]:
        """A text's own wordpieces, without [CLS] and [SEP]."""
        return list(self._tokenizer.tokenize(text))

    @property
    def padding_id(self) -> int:
        return int(self._tokenizer.pad_token_id or 0)


def refuse_pointers(folder: Path) -> None:
    """Raises InputError where Git LFS left a pointer in the place of a tokenizer's file."""
    for name in (*VOCABULARIES, *_BESIDE):
        if (folder / name).is_file():
            refuse_pointer(folder / name)


def _content_hash(tokenizer: Any, special: Set[int]) -> str:
    """A hash of what makes ids of texts, and of which are special where tokenizer_config.json says
    otherwise than tokenizer.json."""
    backend = tokenizer.backend_tokenizer
    content = json.loads(backend.to_str())
    content.pop("truncation", None)
    content.pop("padding", None)
    if special != {token["id"] for token in content["added_tokens"] if token["special"]}:
        content["special"] = sorted(special)
    if backend.encode_special_tokens:  # which its own JSON leaves out
        content["encode_special_tokens"] = True
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
