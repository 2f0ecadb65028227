"""Finished score files -> a journal that names them, so that an interrupted run can resume."""

from __future__ import annotations

from pathlib import Path

from spladev3_anserini.encoding.directory import Part
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing, append_line, read_bytes, sha256_of
from spladev3_anserini.impacts.manifest import from_json, read_record, to_json
from spladev3_anserini.training.score_files import SCORE_MANIFEST, ScoreManifest, ScorePart


class ScoreJournal:
    """The finished files of a folder of scores.

    Each part of a scoring has a journal (`.progress-1-of-1.jsonl`). A part adds a line after a file
    has its final name. The manifest, once written, names all files. All files of a folder have the
    same fingerprint, which the folder holds. A file is finished if a journal or the manifest has
    its name and sha256. Its content alone would not show it: changed scores look like any others.
    """

    def __init__(self, folder: Path, part: Part, temporary: Path) -> None:
        self._folder = folder
        self._journal = folder / f".progress-{part.number}-of-{part.of}.jsonl"
        intact = read_score_journal(self._journal)
        # the journal is rewritten, since a kill may have cut its last line short
        with appearing(self._journal, temporary=temporary) as stream:
            stream.writelines(to_json(record) + "\n" for record in intact)
        self._known: set[tuple[str, str]] = set()
        self.reload()

    def reload(self) -> None:
        """Reads the files that other parts have finished meanwhile."""
        journaled = [record for journal in self._folder.glob(".progress-*-of-*.jsonl")
                     for record in read_score_journal(journal)]
        for record in (*journaled, *_published(self._folder)):
            self._known.add((record.name, record.sha256))

    def finished_hash(self, name: str) -> str | None:
        """Returns the sha256 of a finished file; None if it is missing, unfinished or changed."""
        path = self._folder / name
        if not path.is_file() or (name, digest := sha256_of(path)) not in self._known:
            return None
        return digest

    def add(self, name: str, queries: int, pairs: int) -> None:
        """Adds a file that has just been written to this part's journal."""
        record = ScorePart(name=name, sha256=sha256_of(self._folder / name), queries=queries,
                           pairs=pairs)
        append_line(self._journal, to_json(record))
        self._known.add((record.name, record.sha256))


def read_score_journal(journal: Path) -> list[ScorePart]:
    """Returns the lines of a journal; lines that are cut short or changed are ignored."""
    records = []
    for line in read_bytes(journal).splitlines() if journal.exists() else ():
        try:
            records.append(from_json(ScorePart, line))
        except (ValueError, RecursionError):
            continue
    return records


def _published(folder: Path) -> tuple[ScorePart, ...]:
    """The files that the manifest names; none if it is missing or damaged.

    A damaged manifest is written again from the journals.
    """
    try:
        return read_record(ScoreManifest, folder / SCORE_MANIFEST).parts
    except InputError:
        return ()
