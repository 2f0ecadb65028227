"""Candidates, their texts and a teacher -> a folder of raw scores; resumes where it stopped."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import torch
import transformers
from tqdm import tqdm

from spladev3_anserini.encoding.directory import Part
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import locked, sha256_of
from spladev3_anserini.impacts.manifest import differences_text, read_record, write_record
from spladev3_anserini.progress import counter, skip
from spladev3_anserini.rankers.pair_scorer import PairError, PairScorer, chunks
from spladev3_anserini.text import VERSION
from spladev3_anserini.training.earlier_scores import EarlierScores
from spladev3_anserini.training.score_files import (
    SCORE_MANIFEST,
    QueryCandidates,
    ScoreFingerprint,
    ScoreManifest,
    ScorePart,
    Scores,
    write_scores,
)
from spladev3_anserini.training.score_journal import ScoreJournal
from spladev3_anserini.training.scoring_work import (
    CandidateBlock,
    ScoringWork,
    candidate_blocks,
)

FINGERPRINT = "fingerprint.json"
#: Queries whose lengths are checked at once.
_QUERIES_CHECKED = 10_000


class ScoringOutcome(NamedTuple):
    """What a scoring did.

    Attributes:
        written: Score files that were written.
        kept: Score files that an earlier run had finished.
        manifest: The folder's manifest; None while other parts are not finished.
        scored: Pairs that the teacher scored in this run.
        taken: Pairs of the written files whose score an earlier scoring had.
    """

    written: int
    kept: int
    manifest: ScoreManifest | None
    scored: int
    taken: int = 0


def score_candidates(work: ScoringWork, teacher: PairScorer, output: Path, overwrite: bool = False,
                     scored: Sequence[Path] = ()) -> ScoringOutcome:
    """Scores the positives and candidates of every query of this part with one teacher.

    The scores go to `output/part-00000.jsonl` and so on. When all parts are finished,
    `output/manifest.json` is written. Score files that are finished and intact are kept.

    Args:
        work: The candidates and their texts.
        teacher: The teacher.
        output: The folder of its scores.
        overwrite: Replace scores of another fingerprint.
        scored: Folders of this teacher's earlier scores. What they hold is taken, not scored; see
            `EarlierScores`.

    Raises:
        InputError: The folder holds scores of another fingerprint (the message names the
            differences) or other files, earlier scores do not fit, a query leaves no room for a
            document, a score is not finite, or the candidates changed meanwhile.
    """
    if output.resolve() in (folder.resolve() for folder in scored):
        raise InputError(f"`scored`: {output} is also written; choose another `output`")
    fingerprint = score_fingerprint(work, teacher)
    earlier = EarlierScores(scored, fingerprint, work.queries)
    fingerprint = fingerprint.model_copy(update={"scored": earlier.sha256})
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
        return _score(work, teacher, output, fingerprint, earlier)


def score_fingerprint(work: ScoringWork, teacher: PairScorer) -> ScoreFingerprint:
    """Returns everything that decides the bytes of a teacher's scores of this work, all scored."""
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


def _score(work: ScoringWork, teacher: PairScorer, output: Path, fingerprint: ScoreFingerprint,
           earlier: EarlierScores) -> ScoringOutcome:
    temporary = _temporary(output, work.part)
    if not (output / FINGERPRINT).exists():
        write_record(fingerprint, output / FINGERPRINT, temporary)
    journal = ScoreJournal(output, work.part, temporary)
    written = kept = scored = taken = 0
    with counter(f"scoring with {teacher.name}", work.pairs, unit="pair") as bar:
        for number, records in enumerate(candidate_blocks(work.candidates, work.block)):
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
            known = [earlier.of(entry.query) for entry in records]
            present = sum(document in own for entry, own in zip(records, known, strict=True)
                          for document in entry.documents)
            bar.update(present)
            write_scores(output / name, _block_scores(records, known, work, teacher, bar),
                         temporary)
            journal.add(name, block.queries, block.pairs)
            written += 1
            scored += block.pairs - present
            taken += present
    teacher.warn_of_cuts()
    if sha256_of(work.candidates) != work.sha256:
        raise _changed(work)
    manifest = _publish(work, teacher, output, fingerprint, journal)
    return ScoringOutcome(written, kept, manifest, scored, taken)


def _changed(work: ScoringWork) -> InputError:
    return InputError(f"{work.candidates}: changed while it was being scored")


def _temporary(output: Path, part: Part) -> Path:
    """The part's temporary file; its name is fixed, so what a killed run left is overwritten."""
    return output / f".{part.number}-of-{part.of}.tmp"


def part_name(number: int) -> str:
    """The name of a block's score file."""
    return f"part-{number:05d}.jsonl"


def _block_scores(records: list[QueryCandidates], known: list[dict[str, float]], work: ScoringWork,
                  teacher: PairScorer, bar: tqdm[NoReturn]) -> Iterator[Scores]:
    """Yields the scores of each query of a block: the `known`, and those of the other pairs.

    The teacher scores all pairs of a block in one call.
    """
    pairs = [(entry.query, document) for entry, own in zip(records, known, strict=True)
             for document in entry.documents if document not in own]
    texts = [(work.queries[query], work.documents[document]) for query, document in pairs]
    try:
        scores = teacher.score(texts, bar.update) if texts else np.empty(0, np.float32)
    except PairError as error:
        query, document = pairs[error.position]
        raise InputError(f"{teacher.name}: query {query!r}, document {document!r}: "
                         f"{error}") from None
    values = iter(map(_shortest, scores))
    for entry, own in zip(records, known, strict=True):
        yield Scores(entry.query, {document: own[document] if document in own else next(values)
                                   for document in entry.documents})


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
