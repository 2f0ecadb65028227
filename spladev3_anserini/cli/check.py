"""Command: a run, documents and queries -> whether the run is exact."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo, fail
from spladev3_anserini.cli.types import FILE, FOLDER, WholeNumber
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query import MAX_HITS
from spladev3_anserini.text import counted

_KINDS = {"score": "by a score", "hits": "by other hits", "ties": "by the order of ties"}


@click.command("check", context_settings=SETTINGS)
@click.option("--run", "path", required=True, type=FILE, help="The TREC run of any engine.")
@click.option("--encoded", required=True, type=FOLDER,
              help="The encoded directory of the documents; all of them are held in memory.")
@click.option("--queries", required=True, type=FOLDER,
              help="The queries: a folder that `encode --topics` wrote.")
@click.option("--hits", type=WholeNumber(1, MAX_HITS), show_default="the most of a query",
              help="Documents per query that the run was asked for.")
@click.option("--ties", default="ours", type=click.Choice(["ours", "any"]),
              help="ours: documents of equal scores are ordered by id. any: their order does not "
              "count, nor which of them are the last hits.")
@click.option("--sample", type=WholeNumber(min=1), show_default="all",
              help="Compare only this many queries, drawn at random.")
@click.option("--seed", default=0, metavar="N", help="Seed for --sample.")
def main(path: Path, encoded: Path, queries: Path, hits: int | None, ties: str,
         sample: int | None, seed: int) -> None:
    """Check that a run of any engine is exact.

    Each query's documents, scores and order are compared with the integer dot products of the
    impacts, which are computed here. Exit 0: they are the same. Exit 1: they differ.

    \b
    Example:
      spladev3-anserini check --run run.txt --encoded encoded --queries queries
    """
    import random

    from spladev3_anserini.collection.runs import read_run_file
    from spladev3_anserini.evaluation.run_check import check_run
    from spladev3_anserini.impacts.encoded_queries import read_encoded_queries
    from spladev3_anserini.impacts.shards import read_manifest, verify_shards

    run, documents = read_run_file(path), read_manifest(encoded)
    if documents.fingerprint.side != "document":
        raise InputError(f"{encoded}: holds encoded queries; give the documents")
    topics = read_encoded_queries(queries, encoded, documents)
    if unknown := run.keys() - {topic.id for topic in topics}:
        raise InputError(f"{path}: the query {min(unknown)!r} is not in {queries}")
    verify_shards(encoded, documents)
    if sample is not None and sample < len(topics):
        drawn = set(random.Random(seed).sample(range(len(topics)), sample))
        topics = [topic for place, topic in enumerate(topics) if place in drawn]
    found = [difference for difference in check_run(run, encoded, documents, topics, hits)
             if difference.kind != "ties" or ties == "ours"]
    if found:
        kinds = Counter(difference.kind for difference in found)
        fail(1, f"{path}: {len(found):,} of {counted(len(topics), 'query')} differ from the "
                "integer dot products: "
                + ", ".join(f"{kinds[kind]:,} {words}" for kind, words in _KINDS.items()
                            if kinds[kind])
                + f"; the first is {found[0].query!r}: {found[0].first}")
    depth = hits or max(map(len, run.values()))
    echo(f"{path}: exact to {counted(depth, 'hit')}; documents, scores and order of "
         f"{counted(len(topics), 'query')} are those of the integer dot products"
         f"{'; ties in any order' if ties == 'any' else ''}")
