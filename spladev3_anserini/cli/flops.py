"""Command: encoded documents or indexes, with queries -> FLOPS and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import (
    FOLDER,
    MODEL_HELP,
    model_run_options,
    trust_option,
    variant_option,
)
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import counted, table

if TYPE_CHECKING:
    from spladev3_anserini.analysis.flops import Cost
    from spladev3_anserini.encoding.encoder import Settings


@click.command("flops", context_settings=SETTINGS)
@click.option("--index", "indexes", multiple=True, metavar="[NAME=]DIR",
              help="An index of impacts; may be given several times.")
@click.option("--encoded", multiple=True, metavar="[NAME=]DIR",
              help="Instead of --index: encoded documents; the same FLOPS, but no bytes.")
@click.option("--topics", metavar="FILE", help="As for search; encoded on the fly.")
@click.option("--queries", multiple=True, type=FOLDER,
              help="Instead of --topics: encoded queries, one for each index, in its order.")
@click.option("--model", show_default="the one each index names", help=MODEL_HELP)
@variant_option("Which variant weighs the queries; auto takes the index's own.")
@click.option("--qrels", metavar="FILE", help="For --run.")
@click.option("--run", "runs", multiple=True, type=FOLDER,
              help="Also what each index is worth: its run, in the order of the indexes.")
@click.option("--measure", default="nDCG@10", help="For --run, as evaluate names it.")
@click.option("--plot", type=FOLDER, metavar="FILE",
              help="With --run: a picture of the measure against FLOPS (.svg or .png).")
@click.option("--format", "form", default="text", type=click.Choice(["text", "json"]))
@trust_option
@model_run_options
def main(indexes: tuple[str, ...], encoded: tuple[str, ...], topics: str | None,
         queries: tuple[Path, ...], model: str | None, variant: str, qrels: str | None,
         runs: tuple[Path, ...], measure: str, plot: Path | None, form: str, trust: bool,
         max_length: int, batch_tokens: int | None, device: str, dtype: str) -> None:
    """Count what a query costs on a collection: how many terms a query and a document share.

    FLOPS = sum over terms of the share of documents that have it times the share of queries that
    do. List bytes per posting are those of Lucene's files of postings (.doc; .pos and .pay where
    there are any); what `index` prints counts the whole index, with its dictionary and ids.

    \b
    Example:
      spladev3-anserini flops --index v3=v3/index --index doc=doc/index --topics topics.tsv
    """
    from spladev3_anserini.cli.options import named_paths
    from spladev3_anserini.encoding.encoder import Settings

    folders = named_paths("--index" if indexes else "--encoded", indexes or encoded)
    if bool(indexes) == bool(encoded):
        raise click.UsageError("give either --index or --encoded")
    if bool(topics) == bool(queries):
        raise click.UsageError("give either --topics or --queries")
    if queries and len(queries) != len(folders):
        raise InputError(f"--queries: {len(queries)} given for "
                         f"{counted(len(folders), 'collection')}; give one for each, in order")
    if plot:
        from spladev3_anserini.analysis.plots import checked_suffix

        checked_suffix(plot, "--plot")
        if not runs:
            raise click.UsageError("--plot needs --qrels and --run")
    worth = _worth(qrels, runs, measure, len(folders))
    settings = Settings(max_length=max_length, batch_tokens=batch_tokens, device=device,
                        dtype=dtype)
    costs, groups = {}, []
    for number, (name, folder) in enumerate(folders.items()):
        own = queries[number] if queries else None
        costs[name], group = _cost(folder, bool(encoded), topics, own, model, variant, settings,
                                   trust)
        groups.append(group)
    show = _as_json if form == "json" else _table
    echo(show(costs, measure, worth))
    if plot:
        from spladev3_anserini.analysis.scatter import Point, scatter_plot

        scatter_plot([Point(name, cost.flops, value, group) for (name, cost), value, group
                      in zip(costs.items(), worth, groups, strict=True)], plot, measure=measure)


def _cost(folder: Path, is_encoded: bool, topics: str | None, queries: Path | None,
          model: str | None, variant: str, settings: Settings,
          trust: bool) -> tuple[Cost, str]:
    """What one collection costs, and the variant that it is of."""
    from spladev3_anserini.analysis.flops import cost_of_encoded, cost_of_index, queries_for
    from spladev3_anserini.impacts.manifest import IndexManifest
    from spladev3_anserini.impacts.shards import read_manifest
    from spladev3_anserini.lucene.check import one_build, read_index_manifest

    with one_build(folder):
        record = IndexManifest(encoded=read_manifest(folder), versions={}) if is_encoded \
            else read_index_manifest(folder, trust=trust)
        asked = queries_for(folder, record, topics, queries, model, variant, settings)
        cost = cost_of_encoded(folder, record.encoded, asked) if is_encoded and record \
            else cost_of_index(folder, record, asked)
    return cost, record.encoded.fingerprint.variant if record else "built elsewhere"


def _worth(qrels: str | None, runs: tuple[Path, ...], measure: str, count: int) -> list[float]:
    """The mean of each run; none where none is given."""
    if not runs and not qrels:
        return []
    if not qrels or len(runs) != count:
        raise InputError(f"--run: {len(runs)} given for {counted(count, 'collection')}; give "
                         "--qrels, and one run for each collection in their order")
    from spladev3_anserini.evaluation.query_values import query_values

    found = query_values(qrels, {str(path): path for path in runs}, measure)
    return [sum(found[str(path)].values()) / len(found[str(path)]) for path in runs]


def _as_json(costs: dict[str, Cost], measure: str, worth: list[float]) -> list[dict[str, object]]:
    values = [{measure: value} for value in worth] or [{}] * len(costs)
    return [{"name": name, **cost._asdict(),
             "list_bytes_per_posting": cost.list_bytes_per_posting, **own}
            for (name, cost), own in zip(costs.items(), values, strict=True)]


def _table(costs: dict[str, Cost], measure: str, worth: list[float]) -> str:
    def bytes_of(number: int | None) -> str:
        return "-" if number is None else f"{number:,}"

    rows = [["", "FLOPS", "terms/document", "terms/query", "documents", "queries", "postings",
             "index bytes", "list bytes/posting", *([measure] if worth else [])]]
    for number, (name, cost) in enumerate(costs.items()):
        each = cost.list_bytes_per_posting
        rows.append([name, f"{cost.flops:.4f}", f"{cost.document_nonzeros:.1f}",
                     f"{cost.query_nonzeros:.1f}", f"{cost.documents:,}", f"{cost.queries:,}",
                     f"{cost.postings:,}", bytes_of(cost.index_bytes),
                     "-" if each is None else f"{each:.2f}",
                     *([f"{worth[number]:.4f}"] if worth else [])])
    return table(rows)
