"""The runs of all parts of an index -> the run of the whole, the same bytes as if it were one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from spladev3_anserini.collection.runs import Ranking, read_rankings
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.manifest import IndexManifest, Record, read_record, write_record
from spladev3_anserini.impacts.query import EncodedTopic
from spladev3_anserini.progress import counter
from spladev3_anserini.text import counted


class PartRun(Record):
    """What a run of a part was searched for. It lies beside the run.

    `part` is I/N. `whole` is the hash of the encoding's shards, `queries` that of the topics'
    impacts, and `run` that of the run's bytes. `hits` is the most hits per topic. `excluded` is the
    hash of what was taken out of the hits, empty for nothing. `passages` is how documents are
    scored by their passages; empty for hits as they are indexed. `topics` are in the order of the
    search, also those without a hit.
    """

    part: str
    whole: str
    queries: str
    run: str
    hits: int
    tag: str
    excluded: str = ""
    topics: tuple[str, ...]
    passages: str = ""


def part_run_file(run: Path) -> Path:
    """Returns the file of a run's record: `run.txt.part.json` for `run.txt`."""
    return run.with_name(f"{run.name}.part.json")


def write_part_run(run: Path, index: IndexManifest, topics: Sequence[EncodedTopic], hits: int,
                   tag: str, excluded: str, passages: str = "") -> None:
    """Writes the record of a run that was written, of a search of the part `index`."""
    queries = json.dumps([[topic.id, sorted(topic.query.items())] for topic in topics])
    write_record(PartRun(part=index.part, whole=index.whole, hits=hits, tag=tag, excluded=excluded,
                         passages=passages,
                         queries=hashlib.sha256(queries.encode()).hexdigest(), run=sha256_of(run),
                         topics=tuple(topic.id for topic in topics)), part_run_file(run))


def read_part_runs(runs: Sequence[Path], hits: int) -> list[PartRun]:
    """Reads the records of runs, which together must be one search of one index.

    Args:
        runs: The runs, in any order.
        hits: The hits that are wanted per topic.

    Returns:
        A record for each run.

    Raises:
        InputError: A run has no record, or changed since. Or the runs are not those of all parts
            of one index, each once, for the same topics, with one tag and for `hits` or more.
    """
    records: list[PartRun] = []
    for run in runs:
        file = part_run_file(run)
        if run.exists() and not file.exists():
            raise InputError(f"{run}: has no {file.name} beside it, which `search` writes with the "
                             "run of a part; search the part again, or copy both files")
        digest = sha256_of(run)
        record = read_record(PartRun, file)
        if record.run != digest:
            raise InputError(f"{run}: changed since it was searched (sha256); search the part "
                             "again")
        first = records[0] if records else record
        for field, what in (("whole", "an index of another encoding"), ("queries", "other queries"),
                            ("topics", "other queries"), ("tag", f"another tag, {record.tag}"),
                            ("excluded", "other excluded documents"),
                            ("passages", f"other passage scores ({record.passages or 'none'})")):
            if getattr(record, field) != getattr(first, field):
                raise InputError(f"{run}: is of {what} than {runs[0]}; they cannot be merged")
        if record.hits < hits:
            raise InputError(f"{run}: was searched for {counted(record.hits, 'hit')} per query, "
                             f"fewer than `hits` {hits}; take fewer hits, or search again for more")
        records.append(record)
    _refuse_other_than_all_parts(runs, [record.part for record in records])
    return records


def _refuse_other_than_all_parts(runs: Sequence[Path], parts: Sequence[str]) -> None:
    of = parts[0].partition("/")[2]
    for place, (run, part) in enumerate(zip(runs, parts, strict=True)):
        if part.partition("/")[2] != of:
            raise InputError(f"{run}: is of part {part}, and {runs[0]} of part {parts[0]}; they "
                             "cannot be merged")
        if part in parts[:place]:
            raise InputError(f"{run}: is of part {part}, and so is {runs[parts.index(part)]}")
    if missing := [part for number in range(1, int(of) + 1)
                   if (part := f"{number}/{of}") not in parts]:
        raise InputError(f"{runs[0]}: is of part {parts[0]}; there is no run of part {missing[0]}"
                         f"{f' and {len(missing) - 1:,} others' if missing[1:] else ''}")


def merged_rankings(runs: Sequence[Path], topics: Sequence[str],
                    hits: int) -> Iterator[tuple[str, Ranking]]:
    """Yields (topic, best hits) of the runs of all parts, in the order of `topics`.

    Hits are ordered by score descending, then by id ascending in UTF-8. Memory holds one topic.

    Args:
        runs: The runs of all parts; see `read_part_runs`.
        topics: All topics, in the order in which each run has them.
        hits: The most hits per topic.

    Raises:
        InputError: A document is in two runs for a topic, or a run has topics in another order.
    """
    readers = [read_rankings(run) for run in runs]
    heads = [next(reader, None) for reader in readers]
    with counter("merging", len(topics), unit="query") as bar:
        for topic in topics:
            ranking: Ranking = []
            of_document: dict[str, Path] = {}
            for number, head in enumerate(heads):
                if head is None or head[0] != topic:
                    continue
                heads[number] = next(readers[number], None)
                for document, _ in head[1]:
                    if (other := of_document.setdefault(document, runs[number])) != runs[number]:
                        raise InputError(f"{runs[number]}: has the document {document!r} for query "
                                         f"{topic!r}, and so has {other}; they are not of parts of "
                                         "one index")
                ranking += head[1]
            ranking.sort(key=lambda hit: (-hit[1], hit[0]))
            yield topic, ranking[:hits]
            bar.update()
    for run, head in zip(runs, heads, strict=True):
        if head is not None:
            raise InputError(f"{run}: has the query {head[0]!r} out of the order of its record")
