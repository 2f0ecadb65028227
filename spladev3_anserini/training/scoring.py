"""Candidates, their texts and a teacher -> a folder of raw scores, resumable."""

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
from spladev3_anserini.progress import counter
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
_ROOM_CHECKED = 10_000


class Block(NamedTuple):
    """How many queries and documents a block of candidates has, and their hash."""

    queries: int
    pairs: int
    sha256: str

    @classmethod
    def of(cls, records: list[QueryCandidates]) -> Block:
        return cls(len(records), sum(len(own.documents) for own in records),
                   hashlib.sha256(json.dumps(records).encode()).hexdigest())


class Work(NamedTuple):
    """What one part of a scoring needs: the candidates' file, its texts by id, and what each
    block of `block` queries has. `corpus` and `topics` are hashes."""

    candidates: Path
    sha256: str
    block: int
    part: Part
    blocks: list[Block]
    queries: dict[str, str]
    documents: dict[str, str]
    corpus: str
    topics: str

    @property
    def pairs(self) -> int:
        return sum(own.pairs for number, own in enumerate(self.blocks) if self.part.has(number))


class ScoringOutcome(NamedTuple):
    """What a scoring did: how many files it wrote, how many it kept because they were finished, the
    manifest, which is None while other parts still have work to do, and the pairs scored now."""

    written: int
    kept: int
    manifest: ScoreManifest | None
    scored: int


def read_work(candidates: Path, corpus: str, topics: str, part: Part = WHOLE,
              block: int = 100) -> Work:
    """Reads the candidates once, and then the texts of the part's own queries and documents, which
    alone stay in memory.

    Raises InputError as the readers do, for a query or document that has no text, by its id, and
    for a needed document that the corpus has twice.
    """
    sha256, blocks = sha256_of(candidates), []
    queries: dict[str, str] = {}
    needed: dict[str, str] = {}
    for number, records in enumerate(_blocks(candidates, block)):
        blocks.append(Block.of(records))
        if part.has(number):
            for own in records:
                queries[own.query] = ""
                for document in own.documents:
                    needed.setdefault(document, own.query)
    asked = read_topics(topics)
    known = {topic.id: topic.text for topic in asked}
    for query in queries:
        if query not in known:
            raise InputError(f"{topics}: no query {query!r}, which {candidates} has")
        queries[query] = known[query]
    digest = CorpusDigest()
    documents = texts_of_ids(corpus, needed, str(candidates), digest)
    return Work(candidates, sha256, block, part, blocks, queries, documents, digest.hexdigest(),
                hash_of(asked))


def score_candidates(work: Work, teacher: PairScorer, output: Path,
                     overwrite: bool = False) -> ScoringOutcome:
    """Scores the positives and candidates of every query of this part with one teacher, into
    `output/part-00000.jsonl` ... and, once all parts are there, `output/manifest.json`.

    What is there already and is whole is kept. Raises InputError for a folder that holds the
    scores of another fingerprint (the differences shown; with `overwrite` they are replaced) or
    anything else, for a query too long for the teacher, and as `PairScorer.score` does, naming the
    query.
    """
    fingerprint = fingerprint_of(work, teacher)
    replaced = overwrite and _holds_other_scores(output, fingerprint)
    if not replaced:
        _refuse_other(output, fingerprint)
    _refuse_long_queries(work, teacher)
    with locked(output / f".lock-{work.part.number}-of-{work.part.of}", "score",
                f"part {work.part}"):
        if replaced:
            for path in output.iterdir():
                if not path.name.startswith(".lock-"):
                    path.unlink()
        return _score(work, teacher, output, fingerprint)


def fingerprint_of(work: Work, teacher: PairScorer) -> ScoreFingerprint:
    """What decides a teacher's scores of this work."""
    return ScoreFingerprint(
        teacher=teacher.sha256, kind=teacher.kind, max_length=teacher.settings.max_length,
        batch_tokens=teacher.batch_tokens, device=teacher.device.partition(":")[0],
        dtype=teacher.dtype, t5_token=teacher.settings.t5_token if teacher.kind == "t5" else "",
        candidates=work.sha256, corpus=work.corpus, topics=work.topics, block=work.block,
        package=VERSION)


def _holds_other_scores(output: Path, fingerprint: ScoreFingerprint) -> bool:
    """Whether a folder holds scores, and not those of this fingerprint."""
    if not (output / FINGERPRINT).exists():
        return False
    try:
        _refuse_other(output, fingerprint)
    except InputError:
        return True
    return False


def _score(work: Work, teacher: PairScorer, output: Path,
           fingerprint: ScoreFingerprint) -> ScoringOutcome:
    temporary = _temporary(output, work.part)
    if not (output / FINGERPRINT).exists():
        write_record(fingerprint, output / FINGERPRINT, temporary)
    finished = ScoreJournal(output, work.part, temporary)
    written = kept = scored = 0
    with counter(f"scoring with {teacher.name}", work.pairs, unit="pair") as bar:
        for number, records in enumerate(_blocks(work.candidates, work.block)):
            if not work.part.has(number):
                continue
            # before the journal says that they are the scores of the candidates there were
            if Block.of(records) not in work.blocks[number : number + 1]:
                raise _changed(work)
            name, own = part_name(number), work.blocks[number]
            if finished.holds(name):
                kept += 1
                bar.update(own.pairs)
                continue
            write_scores(output / name, _block_scores(records, work, teacher, bar), temporary)
            finished.note(name, own.queries, own.pairs)
            written += 1
            scored += own.pairs
    teacher.warn_of_cuts()
    if sha256_of(work.candidates) != work.sha256:
        raise _changed(work)
    manifest = _publish(work, teacher, output, fingerprint, finished)
    return ScoringOutcome(written, kept, manifest, scored)


def _changed(work: Work) -> InputError:
    return InputError(f"{work.candidates}: changed while it was being scored")


def _temporary(output: Path, part: Part) -> Path:
    """Where a part writes, so that what a kill leaves is written over."""
    return output / f".{part.number}-of-{part.of}.tmp"


def part_name(number: int) -> str:
    return f"part-{number:05d}.jsonl"


def _block_scores(records: list[QueryCandidates], work: Work, teacher: PairScorer,
                  bar: tqdm[NoReturn]) -> Iterator[Scores]:
    pairs = [(own.query, document) for own in records for document in own.documents]
    try:
        scores = teacher.score([(work.queries[q], work.documents[d]) for q, d in pairs], bar.update)
    except PairError as error:
        query, document = pairs[error.position]
        raise InputError(f"{teacher.name}: query {query!r}, document {document!r}: "
                         f"{error}") from None
    shown = iter(map(_shortest, scores))
    for own in records:
        yield Scores(own.query, {document: next(shown) for document in own.documents})


def _shortest(score: np.float32) -> float:
    """The number with the fewest digits that is this float32."""
    return float(str(score))


def _publish(work: Work, teacher: PairScorer, output: Path, fingerprint: ScoreFingerprint,
             finished: ScoreJournal) -> ScoreManifest | None:
    finished.read_all()
    parts = []
    for number, own in enumerate(work.blocks):
        name = part_name(number)
        if not (digest := finished.holds(name)):
            if work.part.has(number):
                raise InputError(f"{output / name}: changed while others were being scored; the "
                                 "same score again restores it")
            return None
        parts.append(ScorePart(name=name, sha256=digest, queries=own.queries,
                               pairs=own.pairs))
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
        found = read_record(ScoreFingerprint, output / FINGERPRINT)
        if shown := differences_text(found, fingerprint):
            raise InputError(f"{output}: holds other scores ({shown}); choose another `output`")
    elif output.is_dir() and any(not re.fullmatch(r"\.lock-.*|\..*\.tmp", path.name)
                                 for path in output.iterdir()):
        raise InputError(f"{output}: has files in it that no score wrote; choose another `output`")


def _refuse_long_queries(work: Work, teacher: PairScorer) -> None:
    names = list(work.queries)
    for some in chunks(names, _ROOM_CHECKED):
        rooms = teacher.room([work.queries[name] for name in some])
        for name, room in zip(some, rooms, strict=True):
            if room < 1:
                raise InputError(f"{teacher.name}: query {name!r}: {teacher.too_long}; give "
                                 "`max_length` more")


def _blocks(candidates: Path, size: int) -> Iterator[list[QueryCandidates]]:
    iterator = read_candidates(candidates)
    while block := list(islice(iterator, size)):
        yield block
