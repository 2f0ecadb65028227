"""Text -> wordpiece ids, by a tokenizer that is checked against its model and against Lucene."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence, Set, Sized
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spladev3_anserini.errors import InputError, refusing
from spladev3_anserini.impacts.terms import first_term_fault
from spladev3_anserini.model.loading import load_tokenizer
from spladev3_anserini.model.panics import without_panic_report

#: Characters of text that are tokenised at once: the library needs some 100 bytes per wordpiece.
_CHUNK = 1 << 22
#: A word, an empty text, and a character that no vocabulary has.
_PROBES = ("the cat sat on a mat", "", "\U000f8fff é 中 123", "a b " * 20)
#: What can panic inside the tokenizers library on some text: a user's pattern, or a user's table.
_CAN_PANIC = ('"Regex"', '"Precompiled"')


class Tokenized(NamedTuple):
    """The ids of each text, and how many wordpieces each text lost to the length limit."""

    ids: list[list[int]]
    lost: list[int]


class Tokenizer:
    """A checkpoint's fast tokenizer.

    Attributes:
        terms: The vocabulary's terms by id, shape (V).
        special_ids: The ids of special tokens.
        added: How many special tokens every text gets.
        sha256: A hash (hex) of the whole content without truncation and padding settings.
    """

    def __init__(self, folder: Path) -> None:
        """Loads a tokenizer and tests it on some texts.

        Raises InputError if it cannot be loaded, is not a fast tokenizer, has gaps in its ids,
        has a term that Lucene would change, or fails on a plain text, and as `load_tokenizer`.
        """
        self._folder = folder
        tokenizer = load_tokenizer(folder)
        if not tokenizer.is_fast:
            raise InputError(f"{folder}: no fast tokenizer (tokenizer.json or vocab.txt)")
        with refusing(f"{folder}: the tokenizer cannot be loaded"):
            content = json.loads(tokenizer.backend_tokenizer.to_str())
            vocabulary: dict[str, int] = tokenizer.get_vocab()
            self.special_ids = frozenset(tokenizer.all_special_ids)
            self.added = int(tokenizer.num_special_tokens_to_add())
        if sorted(vocabulary.values()) != list(range(len(vocabulary))):
            raise InputError(f"{folder}: the tokenizer's ids are not 0..{len(vocabulary) - 1}")
        self.terms = np.array(sorted(vocabulary, key=vocabulary.__getitem__), dtype=object)
        ordinary = (t for i, t in enumerate(self.terms) if i not in self.special_ids)
        if problem := first_term_fault(ordinary):
            raise InputError(f"{folder}: {problem}")
        self.sha256 = _content_hash(tokenizer, self.special_ids)
        self._tokenizer, self._can_panic = tokenizer, True
        self._side: str = tokenizer.truncation_side
        self._test_probes()
        self._can_panic = any(rule in json.dumps(content) for rule in _CAN_PANIC)

    def tokenized(self, texts: Sequence[str], max_length: int) -> Tokenized:
        """Tokenises texts and cuts them to `max_length` ids, [CLS] and [SEP] included.

        A text is cut at the side that the tokenizer states; [CLS] and [SEP] stay. Raises
        InputError if the tokenizer fails on a text, `max_length` leaves no room for wordpieces,
        or the tokenizer returns more ids than `max_length`.
        """
        if max_length <= self.added:
            raise InputError(f"`max_length` {max_length}: the tokenizer in {self._folder} adds "
                             f"{self.added} tokens to every text, so no room is left")
        backend = self._tokenizer.backend_tokenizer  # a fifth faster than transformers' own call
        backend.enable_truncation(max_length, direction=self._side)
        backend.no_padding()
        ids: list[list[int]] = []
        lost: list[int] = []
        for chunk in _chunks(texts):
            for encoding in self._encoded(backend, chunk):
                ids.append(encoding.ids)
                # the library keeps what was cut off in pieces, each with its special tokens
                lost.append(sum(len(piece) - self.added for piece in encoding.overflowing)
                            if len(encoding) >= max_length else 0)
        if ids and (longest := max(map(len, ids))) > max_length:
            raise InputError(f"{self._folder}: the tokenizer makes {longest} ids of a text that "
                             f"is cut to {max_length}")
        return Tokenized(ids, lost)

    def _encoded(self, backend: Any, texts: list[str]) -> list[Any]:
        """Returns the library's encodings; if it fails, the error names the first such text."""
        quiet = without_panic_report if self._can_panic else nullcontext
        try:
            with refusing(f"{self._folder}: the tokenizer fails on the text {texts[0][:60]!r}"), \
                    quiet():
                return list(backend.encode_batch_fast(texts))
        except InputError:
            for text in texts if len(texts) > 1 else ():
                self._encoded(backend, [text])
            raise

    def ids(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Returns the ids of `tokenized`."""
        return self.tokenized(texts, max_length).ids

    def _test_probes(self) -> None:
        """Tokenises some texts, one of which is cut; raises InputError for impossible ids."""
        ids = self.ids([*_PROBES, " ".join(self.terms[:200])], self.added + 8)
        if unknown := {i for row in ids for i in row if i >= len(self.terms)}:
            raise InputError(f"{self._folder}: the tokenizer gives the id {max(unknown)}, its "
                             f"vocabulary ends at {len(self.terms) - 1}")
        if max(map(len, ids)) <= self.added:
            raise InputError(f"{self._folder}: the tokenizer gives no wordpiece to any text")

    @property
    def transformers(self) -> Any:
        """The tokenizer object of transformers, for saving."""
        return self._tokenizer

    def pieces(self, text: str) -> list[str]:
        """Returns a text's wordpieces, without [CLS] and [SEP]."""
        return list(self._tokenizer.tokenize(text))

    @property
    def padding_id(self) -> int:
        """The id of the padding token, 0 if the tokenizer has none."""
        return int(self._tokenizer.pad_token_id or 0)


def refuse_other_vocabulary(folder: Path, outputs: int, terms: Sized) -> None:
    """Raises InputError if a model and its tokenizer differ in the number of terms."""
    if outputs != len(terms):
        raise InputError(f"{folder}: the model has {outputs} output terms, its tokenizer "
                         f"{len(terms)}")


def _content_hash(tokenizer: Any, special: Set[int]) -> str:
    """Returns a sha256 of everything that decides the ids of a text.

    It includes the special ids if tokenizer_config.json differs from tokenizer.json in them.
    """
    backend = tokenizer.backend_tokenizer
    content = json.loads(backend.to_str())
    content.pop("truncation", None)
    content.pop("padding", None)
    if special != {token["id"] for token in content["added_tokens"] if token["special"]}:
        content["special"] = sorted(special)
    if tokenizer.truncation_side != "right":  # popped with the truncation
        content["truncation_side"] = tokenizer.truncation_side
    if backend.encode_special_tokens:  # the backend's JSON lacks this setting
        content["encode_special_tokens"] = True
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yields the texts in order, in chunks of at most _CHUNK characters or of one text."""
    chunk: list[str] = []
    size = 0
    for text in texts:
        if chunk and size + len(text) > _CHUNK:
            yield chunk
            chunk, size = [], 0
        chunk.append(text)
        size += len(text)
    if chunk:
        yield chunk
