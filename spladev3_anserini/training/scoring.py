"""Candidates, their texts and a teacher -> a folder of raw scores; resumes where it stopped."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import torch
import transformers
from tqdm import tqdm

from spladev3_anserini.collection.corpus import CorpusDigest, hash_of
from spladev3_anserini.collection.survey import texts_of_ids
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.encoding.directory import WHOLE, Part
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import locked, sha256_of
from spladev3_anserini.impacts.manifest import differences_text, read_record, write_record
from spladev3_anserini.progress import counter, skip
from spladev3_anserini.rankers.pair_scorer import PairError, PairScorer, chunks
from spladev3_anserini.text import VERSION
from spladev3_anserini.training.score_files import (
    SCORE_MANIFEST,
    QueryCandidates,
    ScoreFingerprint,
    ScoreManifest,
    ScorePart,
    Scores,
    read_candidates,
    write_scores,
)
from spladev3_anserini.training.score_journal import ScoreJournal

FINGERPRINT = "fingerprint.json"
#: Queries whose lengths are checked at once.
_QUERIES_CHECKED = 10_000


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


class ScoringOutcome(NamedTuple):
    """What a scoring did.

    Attributes:
        written: Score files that were written.
        kept: Score files that an earlier run had finished.
        manifest: The folder's manifest; None while other parts are not finished.
        scored: Pairs that were scored in this run.
    """

    written: int
    kept: int
    manifest: ScoreManifest | None
    scored: int


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
    for number, records in enumerate(_blocks(candidates, block)):
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


def score_candidates(work: ScoringWork, teacher: PairScorer, output: Path,
                     overwrite: bool = False) -> ScoringOutcome:
    """Scores the positives and candidates of every query of this part with one teacher.

    The scores go to `output/part-00000.jsonl` and so on. When all parts are finished,
    `output/manifest.json` is written. Score files that are finished and intact are kept.

    Raises:
        InputError: The folder holds scores of another fingerprint (the message names the
            differences; `overwrite` replaces them) or other files, a query leaves no room for a
            document, a score is not finite, or the candidates changed meanwhile.
    """
    fingerprint = score_fingerprint(work, teacher)
    replaces = overwrite and _holds_other_scores(output, fingerprint)
    if not replaces:
        _refuse_other(output, fingerprint)
    _refuse_long_queries(work, teacher)
    with locked(output / f".lock-{work.part.number}-of-{work.part.of}", "score",
                f"part {work.part}"):
        if replaces:
            for path in output.iterdir():
                if not path.name.startswith(".lock-"):
                    path.unlink()
        return _score(work, teacher, output, fingerprint)


def score_fingerprint(work: ScoringWork, teacher: PairScorer) -> ScoreFingerprint:
    """Returns everything that decides the bytes of a teacher's scores of this work."""
    return ScoreFingerprint(
        teacher=teacher.sha256, kind=teacher.kind, max_length=teacher.settings.max_length,
        batch_tokens=teacher.batch_tokens, device=teacher.device.partition(":")[0],
        dtype=teacher.dtype, t5_token=teacher.settings.t5_token
        if teacher.kind == "t5" and not teacher.settings.template else "",
        candidates=work.sha256, corpus=work.corpus, topics=work.topics, block=work.block,
        package=VERSION, template=teacher.settings.template or "")


def _holds_other_scores(output: Path, fingerprint: ScoreFingerprint) -> bool:
    """Whether a folder holds scores of another fingerprint."""
    if not (output / FINGERPRINT).exists():
        return False
    try:
        _refuse_other(output, fingerprint)
    except InputError:
        return True
    return False


def _score(work: ScoringWork, teacher: PairScorer, output: Path,
           fingerprint: ScoreFingerprint) -> ScoringOutcome:
    temporary = _temporary(output, work.part)
    if not (output / FINGERPRINT).exists():
        write_record(fingerprint, output / FINGERPRINT, temporary)
    journal = ScoreJournal(output, work.part, temporary)
    written = kept = scored = 0
    with counter(f"scoring with {teacher.name}", work.pairs, unit="pair") as bar:
        for number, records in enumerate(_blocks(work.candidates, work.block)):
            if not work.part.has(number):
                continue
            # the journal must never name scores of candidates that changed since they were read
            if CandidateBlock.of(records) not in work.blocks[number : number + 1]:
                raise _changed(work)
            name, block = part_name(number), work.blocks[number]
            if journal.finished_hash(name):
                kept += 1
                skip(bar, block.pairs)
                continue
            write_scores(output / name, _block_scores(records, work, teacher, bar), temporary)
            journal.add(name, block.queries, block.pairs)
            written += 1
            scored += block.pairs
    teacher.warn_of_cuts()
    if sha256_of(work.candidates) != work.sha256:
        raise _changed(work)
    manifest = _publish(work, teacher, output, fingerprint, journal)
    return ScoringOutcome(written, kept, manifest, scored)


def _changed(work: ScoringWork) -> InputError:
    return InputError(f"{work.candidates}: changed while it was being scored")


def _temporary(output: Path, part: Part) -> Path:
    """The part's temporary file; its name is fixed, so what a killed run left is overwritten."""
    return output / f".{part.number}-of-{part.of}.tmp"


def part_name(number: int) -> str:
    """The name of a block's score file."""
    return f"part-{number:05d}.jsonl"


def _block_scores(records: list[QueryCandidates], work: ScoringWork, teacher: PairScorer,
                  bar: tqdm[NoReturn]) -> Iterator[Scores]:
    """Yields the scores of each query of a block; the teacher scores all its pairs in one call."""
    pairs = [(entry.query, document) for entry in records for document in entry.documents]
    try:
        scores = teacher.score([(work.queries[q], work.documents[d]) for q, d in pairs], bar.update)
    except PairError as error:
        query, document = pairs[error.position]
        raise InputError(f"{teacher.name}: query {query!r}, document {document!r}: "
                         f"{error}") from None
    values = iter(map(_shortest, scores))
    for entry in records:
        yield Scores(entry.query, {document: next(values) for document in entry.documents})


def _shortest(score: np.float32) -> float:
    """The number with the fewest digits that is this float32."""
    return float(str(score))


def _publish(work: ScoringWork, teacher: PairScorer, output: Path, fingerprint: ScoreFingerprint,
             journal: ScoreJournal) -> ScoreManifest | None:
    """Writes the manifest if the files of all parts are finished; else returns None."""
    journal.reload()
    parts = []
    for number, block in enumerate(work.blocks):
        name = part_name(number)
        if not (digest := journal.finished_hash(name)):
            if work.part.has(number):
                raise InputError(f"{output / name}: changed while others were being scored; "
                                 "run the same `score` again to restore it")
            return None
        parts.append(ScorePart(name=name, sha256=digest, queries=block.queries,
                               pairs=block.pairs))
    manifest = ScoreManifest(
        name=teacher.name, fingerprint=fingerprint, parts=tuple(parts),
        queries=sum(part.queries for part in parts), pairs=sum(part.pairs for part in parts),
        environment={"python": platform.python_version(), "torch": str(torch.__version__),
                     "transformers": transformers.__version__, "device": teacher.device})
    write_record(manifest, output / SCORE_MANIFEST, _temporary(output, work.part))
    return manifest


def _refuse_other(output: Path, fingerprint: ScoreFingerprint) -> None:
    if output.exists() and not output.is_dir():
        raise InputError(f"`output`: {output} is a file, expected a folder")
    if (output / FINGERPRINT).exists():
        recorded = read_record(ScoreFingerprint, output / FINGERPRINT)
        if differing := differences_text(recorded, fingerprint):
            raise InputError(f"{output}: holds other scores ({differing}); choose another "
                             "`output`")
    elif output.is_dir() and any(not re.fullmatch(r"\.lock-.*|\..*\.tmp", path.name)
                                 for path in output.iterdir()):
        raise InputError(f"{output}: has files in it that no score wrote; choose another `output`")


def _refuse_long_queries(work: ScoringWork, teacher: PairScorer) -> None:
    names = list(work.queries)
    for chunk in chunks(names, _QUERIES_CHECKED):
        limits = teacher.tokens_left([work.queries[name] for name in chunk])
        for name, left in zip(chunk, limits, strict=True):
            if left < 1:
                raise InputError(f"{teacher.name}: query {name!r}: {teacher.too_long_reason}; "
                                 "give `max_length` more")


def _blocks(candidates: Path, size: int) -> Iterator[list[QueryCandidates]]:
    iterator = read_candidates(candidates)
    while block := list(islice(iterator, size)):
        yield block
