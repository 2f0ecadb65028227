"""Candidates, corpus and topics -> what one part of a scoring needs: texts by id, and blocks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.collection.corpus import CorpusDigest, hash_of
from spladev3_anserini.collection.survey import texts_of_ids
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.encoding.directory import WHOLE, Part
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.training.score_files import QueryCandidates, read_candidates


class CandidateBlock(NamedTuple):
    """The size of a block of candidates, in queries and in pairs with a document, and its hash."""

    queries: int
    pairs: int
    sha256: str

    @classmethod
    def of(cls, records: list[QueryCandidates]) -> CandidateBlock:
        return cls(len(records), sum(len(entry.documents) for entry in records),
                   hashlib.sha256(json.dumps(records).encode()).hexdigest())


class ScoringWork(NamedTuple):
    """What one part of a scoring needs.

    Attributes:
        candidates: The file of mined candidates, with its `sha256`.
        block: Queries per block; each block gets one score file.
        part: The part that is scored here; it has every N-th block.
        blocks: All blocks of the file, also those of other parts.
        queries: Texts by id, of this part only.
        documents: Texts by id, of this part only.
        corpus: Hash of the corpus.
        topics: Hash of the topics.
    """

    candidates: Path
    sha256: str
    block: int
    part: Part
    blocks: list[CandidateBlock]
    queries: dict[str, str]
    documents: dict[str, str]
    corpus: str
    topics: str

    @property
    def pairs(self) -> int:
        """How many pairs this part scores."""
        return sum(block.pairs for number, block in enumerate(self.blocks)
                   if self.part.has(number))


def read_scoring_work(candidates: Path, corpus: str, topics: str, part: Part = WHOLE,
                      block: int = 100) -> ScoringWork:
    """Reads the candidates, and the texts of this part's queries and documents into memory.

    `block` is the number of queries per score file.

    Raises:
        InputError: A file cannot be read, a query or document has no text (the message names its
            id), or the corpus has a needed document twice.
    """
    sha256, blocks = sha256_of(candidates), []
    queries: dict[str, str] = {}
    needed: dict[str, str] = {}
    for number, records in enumerate(candidate_blocks(candidates, block)):
        blocks.append(CandidateBlock.of(records))
        if part.has(number):
            for entry in records:
                queries[entry.query] = ""
                for document in entry.documents:
                    needed.setdefault(document, entry.query)
    all_topics = read_topics(topics)
    texts = {topic.id: topic.text for topic in all_topics}
    for query in queries:
        if query not in texts:
            raise InputError(f"{topics}: no query {query!r}, which {candidates} has")
        queries[query] = texts[query]
    digest = CorpusDigest()
    documents = texts_of_ids(corpus, needed, str(candidates), digest)
    return ScoringWork(candidates, sha256, block, part, blocks, queries, documents,
                       digest.hexdigest(), hash_of(all_topics))


def candidate_blocks(candidates: Path, size: int) -> Iterator[list[QueryCandidates]]:
    """Yields the candidates of `size` queries at once; the last block may have fewer."""
    iterator = read_candidates(candidates)
    while block := list(islice(iterator, size)):
        yield block
