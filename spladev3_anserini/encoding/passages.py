"""Documents -> their passages: substrings of a text that fit a length, at ends of sentences."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from threading import Lock
from typing import NamedTuple

from spladev3_anserini.collection.corpus_file import Document
from spladev3_anserini.collection.passages import PassageSplit, passage_id
from spladev3_anserini.collection.records import checked_id
from spladev3_anserini.errors import InputError
from spladev3_anserini.model.tokenizer import PieceOffsets, Tokenized, Tokenizer

#: The shortest passage; much of a shorter one would be [CLS] and [SEP].
SHORTEST_PASSAGE = 16
#: Where a sentence ends: a full stop and white space, a full stop of Chinese and Japanese, a blank
#: line. The next sentence begins at the end of the match.
_SENTENCE_END = re.compile(r"""(?<![.!?])[.!?]++["'”’»)\]]*+\s++"""
                           r"""|[。！？｡]++[」』”’）"')\]]*+\s*+|\n[^\S\n]*+\n\s*+""")


class _Places(NamedTuple):
    """The wordpieces at which a passage may begin or end, ascending."""

    sentences: list[int]
    words: list[int]
    pieces: list[int]

    def last(self, low: int, high: int) -> int:
        """Returns the last place in (low, high]: of a sentence, else of a word, else any."""
        for places in self:
            before = bisect_right(places, high)
            if before and places[before - 1] > low:
                return places[before - 1]
        return high


def chosen_split(length: int, stride: int | None) -> PassageSplit:
    """Returns the split into passages; a stride of None is half the length.

    Raises InputError for a length that is too short and for a stride that would leave wordpieces
    out.
    """
    if length < SHORTEST_PASSAGE:
        raise InputError(f"`passages` {length}: expected {SHORTEST_PASSAGE} wordpieces or more")
    stride = max(1, length // 2) if stride is None else stride
    if not 1 <= stride <= length:
        raise InputError(f"`stride` {stride}: expected 1 to {length}, the length of `passages`; "
                         "with more, parts of the documents would be in no passage")
    return PassageSplit(length=length, stride=stride)


class PassageSplitter:
    """Divides documents into passages.

    A passage ends at the last end of a sentence in the second half of its length. The next one
    begins at the last beginning of a sentence in the second half of the stride, and never after
    that end. Where there is no such place it is a word's, and in a word that is too long a
    wordpiece's. So each wordpiece of a document is in a passage.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: str, split: PassageSplit) -> None:
        """Prepares for a tokenizer and the prompt before each passage.

        Raises InputError if the tokenizer does not say where its wordpieces are in the text, or
        leaves no room beside the prompt.
        """
        self._tokenizer, self._prompt, self._split = tokenizer, prompt, split
        before = len(tokenizer.pieces(prompt)) if prompt else 0
        self._room = split.length - tokenizer.added - before
        if self._room < SHORTEST_PASSAGE // 2:
            raise InputError(f"`passages` {split.length}: [CLS], [SEP] and the prompt leave room "
                             f"for {max(0, self._room)} wordpieces")
        tokenizer.require_offsets("`passages`")
        self._lock = Lock()  # a tokenizer cuts texts or does not: it has one state for all threads

    def __call__(self, documents: Sequence[Document]) -> tuple[list[Document], Tokenized]:
        """Returns the passages of documents in their order, as documents, and their wordpieces.

        A part of a text can have more wordpieces than in the whole text. Its document is then
        divided again, with less room. If that does not help, the passage is cut, as a text is.
        """
        with self._lock:
            return self._divided(documents)

    def _divided(self, documents: Sequence[Document]) -> tuple[list[Document], Tokenized]:
        whole = self._tokenized([document.text for document in documents])
        passages = [[document.text] for document in documents]
        tokens = [Tokenized([ids], [lost]) for ids, lost in zip(*whole, strict=True)]
        rooms = {place: self._room for place, lost in enumerate(whole.lost) if lost}
        while rooms:
            texts = [documents[place].text for place in rooms]
            for (place, room), text, pieces in zip(rooms.items(), texts,
                                                   self._tokenizer.offsets(texts), strict=True):
                passages[place] = passages_of(text, pieces, room, self._split.stride)
            found = self._tokenized([text for place in rooms for text in passages[place]])
            again, end = {}, 0
            for place, room in rooms.items():
                begin, end = end, end + len(passages[place])
                tokens[place] = Tokenized(found.ids[begin:end], found.lost[begin:end])
                if (most := max(tokens[place].lost)) and room - most >= self._room // 2:
                    again[place] = room - most
            rooms = again
        return [
            Document(_checked(document, number), text, document.where)
            for document, texts in zip(documents, passages, strict=True)
            for number, text in enumerate(texts)
        ], Tokenized([ids for own in tokens for ids in own.ids],
                     [lost for own in tokens for lost in own.lost])

    def _tokenized(self, texts: Sequence[str]) -> Tokenized:
        return self._tokenizer.tokenized([self._prompt + text for text in texts],
                                         self._split.length)


def _checked(document: Document, number: int) -> str:
    """Returns the id of a passage; raises InputError if it is longer than Lucene takes."""
    return checked_id(passage_id(document.id, number), document.where)


def passages_of(text: str, pieces: PieceOffsets, room: int, stride: int) -> list[str]:
    """Returns the passages of a text: at least one, which is the text if it fits.

    Args:
        text: The text.
        pieces: Its wordpieces.
        room: The most wordpieces of a passage.
        stride: The most wordpieces between the beginnings of two passages.
    """
    if len(pieces.starts) <= room:
        return [text]
    ends = list(accumulate(pieces.ends, max))
    return [text[pieces.starts[first] : ends[last - 1]].strip()
            for first, last in _ranges(_places(text, pieces, ends), len(ends), room, stride)]


def _ranges(places: _Places, count: int, room: int, stride: int) -> Iterator[tuple[int, int]]:
    """Yields the first wordpiece of each passage and the one after its last."""
    begin = 0
    while count - begin > room:
        end = places.last(begin + room // 2, begin + room)
        yield begin, end
        most = min(stride, room)
        begin = places.last(begin + most // 2, min(begin + most, end))
    yield begin, count


def _places(text: str, pieces: PieceOffsets, ends: Sequence[int]) -> _Places:
    """Returns where passages may begin: no place is inside a character."""
    starts, words = pieces.starts, pieces.words
    whole = [place for place in range(1, len(starts)) if starts[place] >= ends[place - 1]]
    of_words = [place for place in whole if words[place] != words[place - 1]]
    known, sentences = set(whole), []
    for match in _SENTENCE_END.finditer(text):
        # some tokenizers have the space before a word in its first wordpiece
        place = bisect_right(ends, match.end())
        if place in known and not text[min(starts[place], match.end()) : match.end()].strip():
            sentences.append(place)
    return _Places(sentences, of_words, whole)
