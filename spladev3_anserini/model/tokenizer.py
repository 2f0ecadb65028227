"""Text -> wordpiece ids, by a tokenizer that is checked against its model and against Lucene."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spladev3_anserini.errors import InputError, refusing
from spladev3_anserini.impacts.terms import indexed_terms
from spladev3_anserini.model.bert_tokenizer import BERT_TOKENS, bert_backend
from spladev3_anserini.model.loading import load_tokenizer
from spladev3_anserini.model.panics import without_panic_report
from spladev3_anserini.model.slow_tokenizer import Cut, cut_ids, identity

#: Characters of text that are tokenised at once: the library needs some 100 bytes per wordpiece.
_CHUNK = 1 << 22
#: A word, an empty text, and a character that no vocabulary has.
_PROBES = ("the cat sat on a mat", "", "\U000f8fff é 中 123", "a b " * 20)
#: What can panic inside the tokenizers library on some text: a user's pattern, or a user's table.
_CAN_PANIC = ('"Regex"', '"Precompiled"')
_WORD = re.compile(r"\w+")


class Tokenized(NamedTuple):
    """The ids of each text, and how many wordpieces each text lost to the length limit."""

    ids: list[list[int]]
    lost: list[int]


class PieceOffsets(NamedTuple):
    """The wordpieces of a text, without special tokens: the characters at which each begins and
    ends, and the number of its word."""

    starts: list[int]
    ends: list[int]
    words: list[int | None]


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
        self._folder, self._lower_case = folder, lower_case
        self._library: Any = None
        self._backend = bert_backend(folder)
        self._side = "right"
        if self._backend is None:
            self._library = load_tokenizer(folder)
            self._backend = self._library.backend_tokenizer if self._library.is_fast else None
            self._side = self._library.truncation_side
        content: dict[str, Any] = {}
        with refusing(f"{folder}: the tokenizer cannot be loaded"):
            if self._backend:
                if lower_case:
                    _lower_case(self._backend)
                content = json.loads(self._backend.to_str())
                if self._library:
                    _refuse_token_types(self._library, folder)
            own = self._backend or self._library
            vocabulary: dict[str, int] = own.get_vocab()
            self.special_ids = frozenset(self._library.all_special_ids if self._library else
                                         map(vocabulary.__getitem__, BERT_TOKENS.values()))
            self.added = int(own.num_special_tokens_to_add(False))
        tokens = self._tokens_by_id(vocabulary)
        self.nameless = frozenset(place for place, token in enumerate(tokens) if token is None)
        self.terms = np.array(indexed_terms(tokens), dtype=object)
        self.sha256 = (self._content_hash(content) if self._backend
                       else identity(self._library, folder, lower_case))
        self._can_panic = True
        self._test_probes()
        rules = json.dumps(content | {"model": {}})
        self._can_panic = any(rule in rules for rule in _CAN_PANIC)

    def _tokens_by_id(self, vocabulary: Mapping[str, int]) -> list[str | None]:
        """The token of each id, None where there is none. Of tokens with the same id the library
        says which one it is."""
        named = self._backend.id_to_token if self._backend else self._library.convert_ids_to_tokens
        size = max(vocabulary.values(), default=-1) + 1
        tokens: list[str | None] = [None] * size
        for token, place in vocabulary.items():
            tokens[place] = token if tokens[place] is None else named(place)
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
        if not self._backend:
            cut = self._cut(texts, max_length)
            return self._within(max_length, [row.ids for row in cut], [row.lost for row in cut])
        # a fifth faster than transformers' own call
        self._backend.enable_truncation(max_length, direction=self._side)
        self._backend.no_padding()
        ids: list[list[int]] = []
        lost: list[int] = []
        for chunk in _chunks(texts):
            for encoding in self._encoded(chunk):
                ids.append(encoding.ids)
                # the library keeps what was cut off in pieces, each with its special tokens
                lost.append(sum(len(piece) - self.added for piece in encoding.overflowing)
                            if len(encoding) >= max_length else 0)
        return self._within(max_length, ids, lost)

    def require_offsets(self, parameter: str) -> None:
        """Raises InputError, naming the parameter, if the tokenizer has no `offsets`."""
        if not self._backend:
            raise InputError(f"{parameter}: the tokenizer in {self._folder} is written in Python "
                             "and does not say where its wordpieces are in a text")

    def offsets(self, texts: Sequence[str]) -> Iterator[PieceOffsets]:
        """Yields the wordpieces of uncut texts; only for a tokenizer with `require_offsets`."""
        self._backend.no_truncation()
        self._backend.no_padding()
        for chunk in _chunks(texts):
            for encoding in self._encoded(chunk, offsets=True):
                starts, ends = zip(*encoding.offsets, strict=True) if encoding.ids else ((), ())
                yield PieceOffsets(list(starts), list(ends), encoding.word_ids)

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
                rows.append(cut_ids(self._library, self._lowered(text), max_length))
        return rows

    def _lowered(self, text: str) -> str:
        return text.lower() if self._lower_case and not self._backend else text

    def _encoded(self, texts: list[str], *, offsets: bool = False) -> list[Any]:
        """Returns the library's encodings, or those with offsets but without special tokens; if it
        fails, the error names the first such text."""
        quiet = without_panic_report if self._can_panic else nullcontext
        try:
            with refusing(f"{self._folder}: the tokenizer fails on the text {texts[0][:60]!r}"), \
                    quiet():
                return list(self._backend.encode_batch(texts, add_special_tokens=False) if offsets
                            else self._backend.encode_batch_fast(texts))
        except InputError:
            for text in texts if len(texts) > 1 else ():
                self._encoded([text], offsets=offsets)
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
        if self._library is None:
            self._library = load_tokenizer(self._folder)
            if self._lower_case:
                _lower_case(self._library.backend_tokenizer)
        return self._library

    def pieces(self, text: str) -> list[str]:
        """Returns a text's wordpieces by their names in `terms`, without [CLS] and [SEP]."""
        if self._backend:
            ids = [place for part in self._whole(text) for place in part.ids]
        else:
            ids = self._library(self._lowered(text), add_special_tokens=False, truncation=False,
                                verbose=False)["input_ids"]
        return [str(self.terms[place]) for place in ids]

    def words(self, text: str) -> list[tuple[int, int, list[str]]]:
        """Returns where each word of a text begins and ends, and its wordpieces as `pieces`."""
        if not self._backend:
            return [(*match.span(), self.pieces(match[0])) for match in _WORD.finditer(text)]
        words: list[tuple[int, int, list[str]]] = []
        before = None
        for part in self._whole(text):
            for word, place, (start, end) in zip(part.word_ids, part.ids, part.offsets,
                                                 strict=True):
                if words and word == before and word is not None:
                    first, _, pieces = words.pop()
                    words.append((first, end, [*pieces, str(self.terms[place])]))
                else:
                    words.append((start, end, [str(self.terms[place])]))
                before = word
        return words

    def _whole(self, text: str) -> list[Any]:
        """Returns the library's encodings of a whole text, which are several if `tokenized` left it
        a length. Its settings stay, as other threads may use them."""
        with refusing(f"{self._folder}: the tokenizer fails on the text {text[:60]!r}"):
            first = self._backend.encode(text, add_special_tokens=False)
        parts = [part for part in (first, *first.overflowing) if len(part)]
        return sorted(parts, key=lambda part: part.offsets[0])

    def _content_hash(self, content: dict[str, Any]) -> str:
        """Returns a sha256 of everything that decides the ids of a text.

        It includes the special ids if tokenizer_config.json differs from tokenizer.json in them.
        """
        content = {key: value for key, value in content.items()
                   if key not in ("truncation", "padding")}
        if self.special_ids != {token["id"] for token in content["added_tokens"]
                                if token["special"]}:
            content["special"] = sorted(self.special_ids)
        if self._side != "right":  # left out with the truncation
            content["truncation_side"] = self._side
        if self._backend.encode_special_tokens:  # the backend's JSON lacks this setting
            content["encode_special_tokens"] = True
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def padding_id(self) -> int:
        """The id of the padding token, 0 if the tokenizer has none."""
        if self._library is None:
            return int(self._backend.token_to_id(BERT_TOKENS["pad_token"]))
        return int(self._library.pad_token_id or 0)


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
