"""Command: encoded documents or indexes, with queries -> FLOPS and bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.model_options import (
    MODEL_HELP,
    model_option,
    model_run_options,
    variant_option,
)
from spladev3_anserini.cli.options import (
    TOPICS_HELP,
    format_option,
    measure_option,
    named_paths,
    qrels_option,
    runs_option,
    topics_option,
    trust_option,
)
from spladev3_anserini.cli.types import FILE
from spladev3_anserini.errors import InputError
from spladev3_anserini.text import table

if TYPE_CHECKING:
    from spladev3_anserini.analysis.flops import SearchCost
    from spladev3_anserini.encoding.settings import EncoderSettings


@click.command("flops", context_settings=SETTINGS)
@click.option("--index", "indexes", multiple=True, metavar="[NAME=]FOLDER",
              help="An index of impacts. Repeat the option for several.")
@click.option("--encoded", multiple=True, metavar="[NAME=]FOLDER",
              help="Count encoded documents instead of --index. FLOPS are the same, but there are "
              "no bytes to count.")
@topics_option(f"The queries, encoded now. {TOPICS_HELP}", required=False)
@click.option("--queries", multiple=True, metavar="[NAME=]FOLDER",
              help="Instead of --topics: a folder of queries that `encode --topics` wrote. NAME is "
              "that of their index.")
@model_option(f"The model of the queries. {MODEL_HELP}", default="the one each index names")
@variant_option("the variant of the index")
@qrels_option("The relevance judgments of the runs given with --run.", required=False)
@runs_option()
@measure_option
@click.option("--plot", type=FILE,
              help="Also plot the measure of the runs against FLOPS (.svg or .png).")
@format_option()
@trust_option
@model_run_options
def main(indexes: tuple[str, ...], encoded: tuple[str, ...], topics: str | None,
         queries: tuple[str, ...], model: str | None, variant: str, qrels: str | None,
         runs: tuple[str, ...], measure: str, plot: Path | None, form: str, trust: bool,
         max_length: int, batch_tokens: int | None, device: str, dtype: str) -> None:
    """Count what queries cost on a collection: FLOPS and bytes.

    FLOPS is the mean number of terms that a query and a document share: the sum, over terms, of
    the share of documents that have the term times the share of queries that have it. List bytes
    per posting count Lucene's files of postings (.doc, also .pos and .pay). The bytes that `index`
    prints count the whole index, with dictionary and ids.

    \b
    Example:
      spladev3-anserini flops --index v3=v3/index --index doc=doc/index \\
        --topics topics.tsv
    """
    from spladev3_anserini.encoding.settings import EncoderSettings

    folders = named_paths("--index" if indexes else "--encoded", indexes or encoded)
    if bool(indexes) == bool(encoded):
        raise click.UsageError("give either --index or --encoded")
    if bool(topics) == bool(queries):
        raise click.UsageError("give either --topics or --queries")
    encoded_queries = _by_name("--queries", queries, folders)
    if plot:
        from spladev3_anserini.analysis.plots import checked_suffix

        checked_suffix(plot, "--plot")
        if not runs:
            raise click.UsageError("--plot needs --qrels and --run")
    means = _run_means(qrels, _by_name("--run", runs, folders), measure)
    settings = EncoderSettings(max_length=max_length, batch_tokens=batch_tokens, device=device,
                        dtype=dtype)
    costs, groups = {}, []
    for name, folder in folders.items():
        costs[name], group = _cost(folder, bool(encoded), topics, encoded_queries.get(name), model,
                                   variant, settings, trust)
        groups.append(group)
    show = _as_json if form == "json" else _table
    echo(show(costs, measure, means))
    if plot:
        from spladev3_anserini.analysis.scatter import Point, scatter_plot

        scatter_plot([Point(name, cost.flops, value, group) for (name, cost), value, group
                      in zip(costs.items(), means, groups, strict=True)], plot, measure=measure)


def _cost(folder: Path, is_encoded: bool, topics: str | None, queries: Path | None,
          model: str | None, variant: str, settings: EncoderSettings,
          trust: bool) -> tuple[SearchCost, str]:
    """Returns the cost of one collection, and its variant."""
    from spladev3_anserini.analysis.flops import cost_of_encoded, cost_of_index, queries_for
    from spladev3_anserini.impacts.manifest import IndexManifest
    from spladev3_anserini.impacts.shards import read_manifest
    from spladev3_anserini.lucene.check import read_index_manifest, refusing_replacement

    with refusing_replacement(folder):
        record = IndexManifest(encoded=read_manifest(folder), versions={}) if is_encoded \
            else read_index_manifest(folder, trust=trust)
        encoded_queries = queries_for(folder, record, topics, queries, model, variant, settings)
        cost = cost_of_encoded(folder, record.encoded, encoded_queries) if is_encoded and record \
            else cost_of_index(folder, record, encoded_queries)
    return cost, record.encoded.fingerprint.variant if record else "built elsewhere"


def _by_name(option: str, texts: tuple[str, ...], folders: dict[str, Path]) -> dict[str, Path]:
    """Returns {collection: path} for an option that is given for every collection or for none.

    The name is optional if there is only one collection.
    """
    paths = named_paths(option, texts)
    if len(paths) == len(folders) == 1:
        return dict(zip(folders, paths.values(), strict=True))
    if paths and paths.keys() != folders.keys():
        raise InputError(f"{option}: is for {', '.join(paths)}, and the collections are "
                         f"{', '.join(folders)}; give {option} NAME=... for each of them")
    return {name: paths[name] for name in folders} if paths else {}


def _run_means(qrels: str | None, runs: dict[str, Path], measure: str) -> list[float]:
    """Returns the mean of each run, in the order of the collections; no means without runs."""
    if not runs and not qrels:
        return []
    if not qrels or not runs:
        raise InputError("--run: give --qrels, and a run for each collection, as NAME=FILE")
    from spladev3_anserini.evaluation.query_values import query_values

    return [sum(values.values()) / len(values)
            for values in query_values(qrels, runs, measure).values()]


def _as_json(costs: dict[str, SearchCost], measure: str, means: list[float]) -> list[dict[str,
                                                                                          object]]:
    values = [{measure: value} for value in means] or [{}] * len(costs)
    return [{"name": name, **cost._asdict(),
             "list_bytes_per_posting": cost.list_bytes_per_posting, **measured}
            for (name, cost), measured in zip(costs.items(), values, strict=True)]


def _table(costs: dict[str, SearchCost], measure: str, means: list[float]) -> str:
    def bytes_of(number: int | None) -> str:
        return "-" if number is None else f"{number:,}"

    rows = [["", "FLOPS", "terms/document", "terms/query", "documents", "queries", "postings",
             "index bytes", "list bytes/posting", *([measure] if means else [])]]
    for number, (name, cost) in enumerate(costs.items()):
        each = cost.list_bytes_per_posting
        rows.append([name, f"{cost.flops:.4f}", f"{cost.document_nonzeros:.1f}",
                     f"{cost.query_nonzeros:.1f}", f"{cost.documents:,}", f"{cost.queries:,}",
                     f"{cost.postings:,}", bytes_of(cost.index_bytes),
                     "-" if each is None else f"{each:.2f}",
                     *([f"{means[number]:.4f}"] if means else [])])
    return table(rows)
