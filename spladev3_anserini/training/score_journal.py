"""Finished score files -> a journal of them, so that an interrupted run can resume."""

from __future__ import annotations

from pathlib import Path

from spladev3_anserini.encoding.directory import Part
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, append_line, read_bytes, sha256_of
from spladev3_anserini.impacts.manifest import from_json, read_record, to_json
from spladev3_anserini.training.score_files import SCORE_MANIFEST, ScoreManifest, ScorePart


class ScoreJournal:
    """The files that the parts of one scoring have written, each part in a journal of its own
    (`.progress-1-of-1.jsonl`, a line after each file has its final name), or that a manifest names.

    All are of one fingerprint, which the folder holds; a file is finished while its hash is one of
    those. What a file holds does not tell: scores that were changed since look as any do.
    """

    def __init__(self, folder: Path, part: Part, temporary: Path) -> None:
        self._folder = folder
        self._journal = folder / f".progress-{part.number}-of-{part.of}.jsonl"
        own = read_score_journal(self._journal)
        with appearing(self._journal, temporary=temporary) as stream:  # without a line cut short
            stream.writelines(to_json(record) + "\n" for record in own)
        self._known: set[tuple[str, str]] = set()
        self.read_all()

    def read_all(self) -> None:
        """Takes up what other parts have noted by now."""
        noted = [record for journal in self._folder.glob(".progress-*-of-*.jsonl")
                 for record in read_score_journal(journal)]
        for record in (*noted, *_published(self._folder)):
            self._known.add((record.name, record.sha256))

    def holds(self, name: str) -> str | None:
        """A finished file's hash; None for one that is missing or changed since."""
        path = self._folder / name
        if not path.is_file() or (name, digest := sha256_of(path)) not in self._known:
            return None
        return digest

    def note(self, name: str, queries: int, pairs: int) -> None:
        """Notes a file that has just been written."""
        record = ScorePart(name=name, sha256=sha256_of(self._folder / name), queries=queries,
                           pairs=pairs)
        append_line(self._journal, to_json(record))
        self._known.add((record.name, record.sha256))


def read_score_journal(journal: Path) -> list[ScorePart]:
    """The lines of a journal; one that is cut short or changed counts for nothing."""
    records = []
    for line in read_bytes(journal).splitlines() if journal.exists() else ():
        try:
            records.append(from_json(ScorePart, line))
        except (ValueError, RecursionError):
            continue
    return records


def _published(folder: Path) -> tuple[ScorePart, ...]:
    """What the manifest names, if it is there and whole: it is written again from the journals."""
    try:
        return read_record(ScoreManifest, folder / SCORE_MANIFEST).parts
    except InputError:
        return ()
