"""Command: the runs of all parts of an index -> the run of the whole."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, summary
from spladev3_anserini.cli.options import hits_option, run_output_option
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.text import counted


@click.command("merge-runs", context_settings=SETTINGS)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@run_output_option
@hits_option(1000, "Documents per query; no more than each part was searched for.")
def main(runs: tuple[Path, ...], output: Path, hits: int) -> None:
    """Merge the runs of all parts of an index.

    Each RUN is what `search --part` wrote for a part, with RUN.part.json beside it. The result has
    the bytes of the run that `search` writes for the whole index. Runs of other queries, of
    another encoding, or of too few hits are refused, and so is a missing part.

    \b
    Example:
      spladev3-anserini merge-runs run.1.txt run.2.txt --output run.txt
    """
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.lucene.part_runs import merged_rankings, part_run_file, read_part_runs
    from spladev3_anserini.lucene.ranking import write_run

    pace = Pace()
    refuse_overwriting(output, run=[*runs, *map(part_run_file, runs)])
    records = read_part_runs(runs, hits)
    rankings = merged_rankings(runs, records[0].topics, hits)
    answered, lines = write_run(output, rankings, records[0].tag,
                                exact=records[0].passages == "mean")
    count = len(records[0].topics)
    summary(output, f"{output}: {counted(len(runs), 'run')} merged, {counted(count, 'query')}, "
                    f"{answered:,} with hits, {counted(lines, 'line')}{pace.text(count, 'query')}")
