"""Folders of a teacher's earlier scores -> its scores by query: no pair is scored twice."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Sequence
from pathlib import Path

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.manifest import differences_text
from spladev3_anserini.training.score_files import (
    ScoreFingerprint,
    read_score_manifest,
    read_scores,
    score_files,
)

#: What may differ between two scorings that give a pair the same score.
_MAY_DIFFER = ("candidates", "block", "scored")


class EarlierScores:
    """A teacher's scores of earlier scorings, by query.

    The score of a pair does not depend on other candidates. With batches of several pairs its last
    bit may, because of padding, so `sha256` belongs to the fingerprint of the scores that take
    these. Memory holds the file of each query, and the scores of one file per folder.

    Attributes:
        sha256: Hash of all scores in the folders; empty without folders.
    """

    def __init__(self, folders: Sequence[Path], fingerprint: ScoreFingerprint,
                 queries: Container[str]) -> None:
        """Reads which file has which query.

        Args:
            folders: Finished folders of raw scores. If several have a pair, the first's score is
                taken.
            fingerprint: What decides the scores that are to be completed.
            queries: The queries that may be asked for.

        Raises:
            InputError: A folder is not finished or has changed, or its scores are of another
                teacher, setting or text.
        """
        self._files: dict[str, list[Path]] = {}
        self._hashes: dict[Path, str] = {}
        self._opened: dict[Path, tuple[Path, dict[str, dict[str, float]]]] = {}
        for folder in folders:
            manifest = read_score_manifest(folder)
            alike = manifest.fingerprint.model_copy(update={
                name: getattr(fingerprint, name) for name in _MAY_DIFFER})
            if differing := differences_text(alike, fingerprint):
                raise InputError(f"`scored`: {folder} holds scores of another teacher, setting or "
                                 f"text ({differing}); score those pairs again without it")
            self._hashes |= {folder / part.name: part.sha256 for part in manifest.parts}
            for file in score_files(folder):
                for query, _ in read_scores(file):
                    if query in queries:
                        self._files.setdefault(query, []).append(file)
        joined = " ".join(self._hashes.values())
        self.sha256 = hashlib.sha256(joined.encode()).hexdigest() if folders else ""

    def of(self, query: str) -> dict[str, float]:
        """Returns the score of each document that has one for a query.

        Raises InputError if a file has changed since it was opened.
        """
        scores: dict[str, float] = {}
        for file in reversed(self._files.get(query, [])):
            scores |= self._scores_in(file)[query]
        return scores

    def _scores_in(self, file: Path) -> dict[str, dict[str, float]]:
        """The scores of a file by query; candidates are mostly in the order of earlier ones."""
        opened, scores = self._opened.get(file.parent, (None, {}))
        if opened != file:
            scores = dict(read_scores(file))
            if sha256_of(file) != self._hashes[file]:
                raise InputError(f"{file}: changed while its scores were taken")
            self._opened[file.parent] = file, scores
        return scores
