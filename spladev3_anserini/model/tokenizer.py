"""Text -> wordpiece ids, by a tokenizer that is checked against its model and against Lucene."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence, Set, Sized
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spladev3_anserini.errors import InputError, refusing
from spladev3_anserini.impacts.terms import indexed_terms
from spladev3_anserini.model.loading import load_tokenizer
from spladev3_anserini.model.panics import without_panic_report
from spladev3_anserini.model.slow_tokenizer import Cut, cut_ids, identity

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
    """A checkpoint's tokenizer.

    Attributes:
        terms: The names of the vocabulary's terms by id, as `indexed_terms` makes them, shape (V).
        nameless: The ids that the vocabulary has no token for, as after a repeated line.
        special_ids: The ids of special tokens.
        added: How many special tokens every text gets.
        sha256: A hash (hex) of the whole content without truncation and padding settings.
    """

    def __init__(self, folder: Path, *, lower_case: bool = False) -> None:
        """Loads a tokenizer and tests it on some texts; with `lower_case`, one that lower-cases
        texts even if its own rules do not.

        Raises InputError if it cannot be loaded, has too large ids, fails on a plain text, or gives
        token types, and as `load_tokenizer`.
        """
        self._folder = folder
        tokenizer = load_tokenizer(folder)
        self._tokenizer, self._fast = tokenizer, bool(tokenizer.is_fast)
        self._lower_case = lower_case and not self._fast
        content = ""
        with refusing(f"{folder}: the tokenizer cannot be loaded"):
            if self._fast:
                if lower_case:
                    _lower_case(tokenizer.backend_tokenizer)
                content = json.dumps(json.loads(tokenizer.backend_tokenizer.to_str()))
                _refuse_token_types(tokenizer, folder)
            vocabulary: dict[str, int] = tokenizer.get_vocab()
            self.special_ids = frozenset(tokenizer.all_special_ids)
            self.added = int(tokenizer.num_special_tokens_to_add())
        tokens = self._tokens_by_id(vocabulary)
        self.nameless = frozenset(place for place, token in enumerate(tokens) if token is None)
        self.terms = np.array(indexed_terms(tokens), dtype=object)
        self.sha256 = (_content_hash(tokenizer, self.special_ids) if self._fast
                       else identity(tokenizer, folder, lower_case))
        self._can_panic = True
        self._side: str = tokenizer.truncation_side
        self._test_probes()
        self._can_panic = any(rule in content for rule in _CAN_PANIC)

    def _tokens_by_id(self, vocabulary: Mapping[str, int]) -> list[str | None]:
        """The token of each id, None where there is none. Of tokens with the same id the library
        says which one it is."""
        size = max(vocabulary.values(), default=-1) + 1
        tokens: list[str | None] = [None] * size
        for token, place in vocabulary.items():
            tokens[place] = (token if tokens[place] is None
                             else self._tokenizer.convert_ids_to_tokens(place))
        return tokens

    def tokenized(self, texts: Sequence[str], max_length: int) -> Tokenized:
        """Tokenises texts and cuts them to `max_length` ids, [CLS] and [SEP] included.

        A text is cut at the side that the tokenizer states; [CLS] and [SEP] stay. Raises
        InputError if the tokenizer fails on a text, `max_length` leaves no room for wordpieces,
        or the tokenizer returns more ids than `max_length`.
        """
        if max_length <= self.added:
            raise InputError(f"`max_length` {max_length}: the tokenizer in {self._folder} adds "
                             f"{self.added} tokens to every text, so no room is left")
        if not self._fast:
            cut = self._cut(texts, max_length)
            return self._within(max_length, [row.ids for row in cut], [row.lost for row in cut])
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
        return self._within(max_length, ids, lost)

    def _within(self, max_length: int, ids: list[list[int]], lost: list[int]) -> Tokenized:
        if ids and (longest := max(map(len, ids))) > max_length:
            raise InputError(f"{self._folder}: the tokenizer makes {longest} ids of a text that "
                             f"is cut to {max_length}")
        return Tokenized(ids, lost)

    def _cut(self, texts: Sequence[str], max_length: int) -> list[Cut]:
        """Tokenises texts in Python; if that fails, the error names the first such text."""
        rows: list[Cut] = []
        for text in texts:
            with refusing(f"{self._folder}: the tokenizer fails on the text {text[:60]!r}"):
                rows.append(cut_ids(self._tokenizer, self._lowered(text), max_length))
        return rows

    def _lowered(self, text: str) -> str:
        return text.lower() if self._lower_case else text

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
        """Returns a text's wordpieces by their names in `terms`, without [CLS] and [SEP]."""
        ids = self._tokenizer(self._lowered(text), add_special_tokens=False, truncation=False,
                              verbose=False)["input_ids"]
        return [str(self.terms[place]) for place in ids]

    @property
    def padding_id(self) -> int:
        """The id of the padding token, 0 if the tokenizer has none."""
        return int(self._tokenizer.pad_token_id or 0)


def refuse_other_vocabulary(folder: Path, outputs: int, terms: Sized, *,
                            wider: bool = False) -> None:
    """Raises InputError if a model has fewer output terms than its tokenizer, or more unless
    `wider`: output layers are often padded to a round number."""
    if outputs < len(terms) or (outputs > len(terms) and not wider):
        raise InputError(f"{folder}: the model has {outputs} output terms, its tokenizer "
                         f"{len(terms)}")


def _refuse_token_types(tokenizer: Any, folder: Path) -> None:
    """Raises InputError for a tokenizer that gives a model other token types than 0 throughout."""
    if ("token_type_ids" in tokenizer.model_input_names
            and any(tokenizer.backend_tokenizer.encode("a").type_ids)):
        raise InputError(f"{folder / 'tokenizer.json'}: post_processor: gives texts another "
                         "token type than 0, which is not applied here; weights would differ from "
                         "the model's own")


def _lower_case(backend: Any) -> None:
    """Makes a tokenizer lower-case texts first, as sentence-transformers' `do_lower_case` does."""
    from tokenizers import normalizers

    rule = json.loads(backend.to_str())["normalizer"] or {}
    rules = rule.get("normalizers", [rule])
    if any(own.get("type") == "Lowercase" or own.get("lowercase") for own in rules):
        return
    first = [normalizers.Lowercase()]
    own = backend.normalizer
    backend.normalizer = normalizers.Sequence(first if own is None else [*first, own])


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
