"""Command: a corpus -> the plan of its shards."""

from __future__ import annotations

import os
from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, summary
from spladev3_anserini.cli.options import corpus_option
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.cli.shard_options import on_error_option, shard_size_option
from spladev3_anserini.cli.types import FILE, WholeNumber
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.query import available_cores
from spladev3_anserini.text import counted


@click.command("plan", context_settings=SETTINGS)
@corpus_option()
@click.option("--output", required=True, type=FILE, help="The plan to write, as JSON lines. "
              ".gz compresses it; - is standard output.")
@shard_size_option
@on_error_option("the plan")
@click.option("--processes", type=WholeNumber(1, 1024), show_default="all cores",
              help="Processes that read at the same time. Files larger than 256 MiB are divided "
              "among them, gzipped ones are not. The plan does not depend on their number.")
def main(corpus: str, output: Path, shard_size: int | None, on_error: str,
         processes: int | None) -> None:
    """Note where each shard of a corpus begins.

    The corpus is read once and checked. `encode --plan` then reads only the texts of its own
    shards. Without a plan, each process of a large encode first reads the whole corpus.

    \b
    Example:
      spladev3-anserini plan --corpus corpus.jsonl --output plan.jsonl
      spladev3-anserini encode --plan plan.jsonl --part 2/8 --model demo
        --output encoded
    """
    from spladev3_anserini.collection.addresses import is_address
    from spladev3_anserini.collection.ir_datasets_source import irds_id
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.encoding.plan import write_plan
    from spladev3_anserini.encoding.planning import SHARD_SIZE, plan_texts

    pace = Pace()
    refuse_overwriting(output, "`output`", corpus=corpus)
    if Path(corpus).is_dir() and output.resolve().parent == Path(corpus).resolve():
        raise InputError(f"`output` {output}: is in the corpus's folder, and would be read as part "
                         "of it; choose another")
    source = corpus if irds_id(corpus) or is_address(corpus) else os.path.abspath(corpus)
    plan = plan_texts(source, "document", shard_size or SHARD_SIZE, skip=on_error == "skip",
                      processes=processes or available_cores())
    write_plan(plan._replace(typed=corpus), output)
    left_out = f", {counted(len(plan.rejected), 'line')} left out" if plan.rejected else ""
    shards = counted(len(plan.shards), "shard")
    summary(output, f"{output}: {counted(plan.documents, 'document')} in {shards}{left_out}"
                    f"{pace.text(plan.documents, 'document')}")
