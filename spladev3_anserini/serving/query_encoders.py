"""An index's manifest -> the encoders of all ways to weight a query for its documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.analysis.explanation import distinct_wordpieces
from spladev3_anserini.api.checks import LOADING
from spladev3_anserini.collection.snippets import Word
from spladev3_anserini.encoding.encoder import Encoder, TextError
from spladev3_anserini.encoding.queries import encoder_beside, encoder_for_index
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.manifest import IndexManifest
from spladev3_anserini.impacts.query import ImpactQuery
from spladev3_anserini.model.checkpoint import open_checkpoint
from spladev3_anserini.model.tokenizer import Tokenizer
from spladev3_anserini.model.variants import VARIANTS, QueryMode
from spladev3_anserini.progress import log


class EncodedText(NamedTuple):
    """A query's impacts, those of its terms that are its own wordpieces, and how many wordpieces
    were cut off."""

    impacts: ImpactQuery
    own: frozenset[str]
    cut: int = 0


#: A query without terms.
NO_TERMS = EncodedText({}, frozenset())


#: A text of words alone, and what is a word.
_PROBE, _WORD = "the aeroelastic wings of unbelievable lift", re.compile(r"[^\W_]+")
#: Words whose wordpieces are kept.
_KEPT_WORDS = 1 << 16


def words_by(tokenizer: Tokenizer) -> Callable[[str], Iterable[Word]]:
    """Returns a function from a text to its words with their wordpieces.

    A tokenizer that reads each word by itself, as BERT's does, reads a word once, which takes a
    tenth of the time. Others read the whole text.
    """
    if [pieces for *_, pieces in tokenizer.words(_PROBE)] != list(
            map(tokenizer.pieces, _PROBE.split())):
        return tokenizer.words
    pieces_of = lru_cache(_KEPT_WORDS)(tokenizer.pieces)
    return lambda text: [(*match.span(), pieces_of(match[0])) for match in _WORD.finditer(text)]


class QueryEncoders:
    """The encoders of an index's queries.

    Documents of all variants are encoded alike, so another way to weight a query finds them too,
    with other scores. One thread at a time may use them, but for `words`.

    Attributes:
        own: The index's own way to weight a query.
        modes: All ways that work, the index's own first.
    """

    def __init__(self, index: Path, record: IndexManifest, model: str | None,
                 settings: EncoderSettings) -> None:
        """Loads the index's own encoder and all others that can be had.

        Args:
            index: The index's folder.
            record: The index's manifest.
            model: The model; None is the one that the index names.
            settings: Length, batches, device, precision, and a table of query weights, which adds
                the mode `static`.

        Raises:
            InputError: As `encoder_for_index`.
        """
        table = settings.query_weights
        plain = replace(settings, query_weights=None)
        with LOADING:
            first = encoder_for_index(index, record, model, "auto", plain)
            self.own = first.mode
            self._encoders: dict[QueryMode, Encoder] = {first.mode: first}
            self._model, self._index, self._record = model, index, record
            others: tuple[QueryMode, ...] = (
                ("expand", "lexical", "bow") if first.variant.learns_queries else ("bow",))
            for mode in others:
                if mode not in self._encoders:
                    self._add(mode, first)
            if table is not None:
                self._encoders["static"] = encoder_for_index(index, record, model, "auto", settings)
            checkpoint = open_checkpoint(model or record.encoded.model_name).of("query")
            # one of its own, because the library locks a tokenizer while a length is set
            self._words = words_by(checkpoint.settings.load_tokenizer())
        self.modes: list[QueryMode] = list(self._encoders)

    def _add(self, mode: QueryMode, first: Encoder) -> None:
        """Adds another way to weight queries, if the checkpoint has what it needs."""
        variant = next(variant for variant in VARIANTS.values() if variant.query == mode)
        try:
            self._encoders[mode] = encoder_beside(first, self._record, self._model, variant)
        except InputError as error:
            log.info("%s: cannot be asked by %s queries: %s", self._index, mode, error)

    def encode(self, mode: QueryMode, texts: Sequence[str]) -> list[EncodedText]:
        """Encodes texts as queries.

        On a CPU each text is encoded by itself on one core, so its impacts depend on no other text.
        On a GPU texts share batches.

        Raises InputError if a text's weights cannot be used.
        """
        encoder = self._encoders[mode]
        tokens = encoder.tokenized(texts)
        try:
            queries = encoder.vectors_of(tokens.ids)
        except TextError as error:
            raise InputError(f"`query`: {error}") from None
        rows = (encoder.tokenizer.ids(texts, encoder.max_length) if encoder.prompt
                else tokens.ids)
        return [EncodedText(query, self._terms(encoder, ids), lost)
                for query, ids, lost in zip(queries, rows, tokens.lost, strict=True)]

    def wordpieces(self, text: str) -> frozenset[str]:
        """Returns the terms of a document's own wordpieces, cut to the length of the documents."""
        return frozenset(distinct_wordpieces(self._encoders[self.own].tokenizer, text,
                                             self._record.encoded.fingerprint.max_length))

    def words(self, text: str) -> Iterable[Word]:
        """Returns the words of a text for `snippet`, in any thread."""
        return self._words(text)

    def _terms(self, encoder: Encoder, ids: Sequence[int]) -> frozenset[str]:
        tokenizer = encoder.tokenizer
        return frozenset(tokenizer.terms[number] for number in set(ids) - tokenizer.special_ids)
