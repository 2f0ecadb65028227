"""The journal of one process that encodes: a line per shard that is on disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from spladev3_anserini.files import appearing, append_line, read_bytes
from spladev3_anserini.impacts.manifest import Fingerprint, Record, Shard, from_json, to_json

#: The names of the journals of all parts, as a pattern.
JOURNALS = "progress-*-of-*.jsonl"


class Environment(Record):
    """The versions and the device that encoded the shards of the lines after this one."""

    versions: dict[str, str]


class ShardJournal(NamedTuple):
    """The content of a journal.

    Attributes:
        fingerprint: Its first line; None if that is damaged.
        shards: The shards by name.
        environments: The environments that encoded them; a shard's `environment` is a place here.
    """

    fingerprint: Fingerprint | None
    shards: dict[str, Shard]
    environments: list[dict[str, str]]


def read_shard_journal(path: Path) -> ShardJournal:
    """Reads a journal up to a line that a crash cut short or that changed since."""
    journal = ShardJournal(None, {}, [])
    try:
        for number, line in enumerate(read_bytes(path).splitlines()):
            if number == 0:
                journal = journal._replace(fingerprint=from_json(Fingerprint, line))
            elif line.startswith(b'{"versions"'):
                journal.environments.append(from_json(Environment, line).versions)
            else:
                shard = from_json(Shard, line)
                if shard.environment < len(journal.environments):
                    journal.shards[shard.name] = shard
    except (ValueError, RecursionError):
        pass
    return journal


def write_shard_journal(path: Path, journal: ShardJournal) -> None:
    """Writes a journal with a fingerprint, whole or not at all."""
    environments = [Environment(versions=versions) for versions in journal.environments]
    with appearing(path) as stream:
        for record in (journal.fingerprint, *environments, *journal.shards.values()):
            if record is not None:
                stream.write(to_json(record) + "\n")


def add_shard(path: Path, journal: ShardJournal, shard: Shard, versions: dict[str, str]) -> None:
    """Appends a shard to a journal and its file, after its environment if that is new there."""
    if versions not in journal.environments:
        append_line(path, to_json(Environment(versions=versions)))
        journal.environments.append(versions)
    shard = shard.model_copy(update={"environment": journal.environments.index(versions)})
    append_line(path, to_json(shard))
    journal.shards[shard.name] = shard


def merged(journals: Iterable[ShardJournal],
           names: Iterable[str]) -> tuple[list[Shard], list[dict[str, str]]] | None:
    """Returns the named shards of several journals and all environments that encoded them.

    The environments are in the order of their texts, so they do not depend on who encoded when.
    Returns None if a shard is in no journal.
    """
    found = {shard.name: (shard, journal.environments[shard.environment])
             for journal in journals for shard in journal.shards.values()}
    names = list(names)
    if not found.keys() >= set(names):
        return None
    known = sorted({tuple(sorted(found[name][1].items())) for name in names})
    return [found[name][0].model_copy(update={
        "environment": known.index(tuple(sorted(found[name][1].items())))}) for name in names
    ], [dict(items) for items in known]
