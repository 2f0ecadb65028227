"""Command: the runs of several systems -> one fused run."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, summary
from spladev3_anserini.cli.options import hits_option, run_output_option, tag_option
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.cli.types import FILE, WholeNumber
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted


@click.command("fuse", context_settings=SETTINGS)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=FILE)
@run_output_option
@click.option("--method", default="rrf", type=click.Choice(["rrf", "sum"]),
              help="How scores are made. rrf adds 1 / (k + rank). sum adds weighted scores; each "
              "run's scores of a query are scaled to 0 ... 1 first (min-max).")
@click.option("--k", show_default="60", type=WholeNumber(0, 1_000_000),
              help="The k of rrf. The larger it is, the less the first ranks count for.")
@click.option("--weights", metavar="W,W,...", show_default="1 for each run",
              help="The weights of sum, one for each RUN and in their order, such as .7,.3.")
@click.option("--raw-scores", is_flag=True,
              help="With --method sum, add the scores as they are, without min-max.")
@hits_option(1000)
@tag_option("fuse")
def main(runs: tuple[Path, ...], output: Path, method: str, k: int | None, weights: str | None,
         raw_scores: bool, hits: int, tag: str) -> None:
    """Fuse the runs of several systems into one.

    RUNs are TREC runs, also gzipped; - is standard input. A document's rank is that by its score.
    The order of the RUNs changes nothing. Equal scores are ordered by document id.

    \b
    Example:
      spladev3-anserini fuse run.txt run.bm25.txt --output run.fused.txt
    """
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.collection.runs import read_run_file
    from spladev3_anserini.lucene.ranking import write_run
    from spladev3_anserini.rankers.fusion import fuse_runs

    pace = Pace()
    if len(set(runs)) < len(runs):
        twice = next(run for run in runs if runs.count(run) > 1)
        raise InputError(f"{twice}: is given twice; give it more weight with --weights")
    refuse_overwriting(output, run=runs)
    queries, lines = write_run(output, fuse_runs(
        [read_run_file(run) for run in runs], [str(run) for run in runs], method, k=k,
        weights=_weights(weights), raw_scores=raw_scores, hits=hits), tag, exact=True)
    summary(output, f"{output}: {counted(len(runs), 'run')} fused by {method}; "
                    f"{counted(queries, 'query')}, {counted(lines, 'line')}"
                    f"{pace.text(queries, 'query')}")


def _weights(text: str | None) -> list[float] | None:
    """Returns the numbers of a text such as `.7,.3`; None for None."""
    if text is None:
        return None
    try:
        return [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        raise InputError(f"--weights {text}: expected numbers, such as .7,.3") from None
