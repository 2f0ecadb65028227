"""Command: runs of variants on the same queries -> where the first of them loses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import (
    FOLDER,
    MODEL_HELP,
    model_run_options,
    page_file,
    runs_option,
    trust_option,
)
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import warn
from spladev3_anserini.text import counted

if TYPE_CHECKING:
    from spladev3_anserini.collection.topics import Topic
    from spladev3_anserini.encoding.encoder import Encoder
    from spladev3_anserini.impacts.query import ImpactQuery


@click.command("breakdown", context_settings=SETTINGS)
@click.option("--qrels", required=True, metavar="FILE", help="As for evaluate.")
@click.option("--topics", required=True, metavar="FILE", help="As for search.")
@runs_option(required=True)
@click.option("--set", "names", multiple=True, metavar="NAME",
              help="Several sets of queries: {set} in qrels, topics, runs, index and queries "
              "stands for each NAME.")
@click.option("--index", metavar="DIR", help="Rarity is counted in this index of impacts.")
@click.option("--model", show_default="the one the index names",
              help=f"Whose wordpieces a query is cut into. {MODEL_HELP}")
@click.option("--expander", metavar="MODEL", help="The model whose expansion of a query counts.")
@click.option("--queries", metavar="ENCODED",
              help="Instead of --expander: its encoded queries (encode --topics).")
@click.option("--edges", multiple=True, metavar="FEATURE=A,B,...", show_default="tertiles",
              help="Where groups of a feature (length, rarity, expansion) end.")
@click.option("--measures", "measure", default="nDCG@10", metavar="MEASURE",
              help="One measure, as evaluate names it.")
@click.option("--worst", default=10, type=click.IntRange(min=1),
              help="Queries that lose most, to list.")
@click.option("--html", type=FOLDER, metavar="FILE", callback=page_file,
              help="Also write a page with charts.")
@click.option("--format", "form", default="text", type=click.Choice(["text", "json"]))
@trust_option
@model_run_options
def main(qrels: str, topics: str, runs: tuple[str, ...], names: tuple[str, ...],
         index: str | None, model: str | None, expander: str | None, queries: str | None,
         edges: tuple[str, ...], measure: str, worst: int, html: Path | None, form: str,
         trust: bool, max_length: int, batch_tokens: int | None, device: str, dtype: str) -> None:
    """Show on which queries a variant loses: by their length, rarity and expansion.

    Length: distinct wordpieces. Rarity: their mean idf in --index. Expansion: the share of the
    weight that --expander puts on terms that are not in the query. Each with the mean difference
    and its 95 % interval in groups of queries, and Spearman's correlation.

    \b
    Example:
      spladev3-anserini breakdown --qrels qrels.txt --topics topics.tsv \\
        --run doc=doc/run.txt --run v3=v3/run.txt --index doc/index \\
        --expander naver/splade-v3 --html breakdown.html
    """
    from spladev3_anserini.analysis.breakdown import breakdown
    from spladev3_anserini.analysis.breakdown_text import (
        breakdown_json,
        breakdown_table,
        write_breakdown,
    )
    from spladev3_anserini.analysis.query_features import (
        bag_of_words,
        expanding,
        parse_edges,
        query_features,
    )
    from spladev3_anserini.cli.options import named_paths
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.collection.topics import read_topics
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.evaluation.query_values import query_values
    from spladev3_anserini.lucene.check import one_build

    if expander and queries:
        raise click.UsageError("give either --expander or --queries")
    if len(names) != len(set(names)):
        raise click.UsageError("--set: a name is given twice")
    if names and any("{set}" not in text for text in (qrels, *runs)):
        raise click.UsageError("--set: write {set} where the set's name goes, in --qrels and in "
                               "each --run at least")
    if any("=" not in text for text in runs) or len(runs) < 2:
        raise InputError("--run: expected two or more, each as NAME=FILE")
    ends, paths = parse_edges(edges), named_paths("--run", runs)
    adds = expanding(expander, EncoderSettings(max_length=max_length, batch_tokens=batch_tokens,
                                        device=device, dtype=dtype)) if expander else None
    sets = []
    for name in names or ("all queries",):
        def filled(text: str, own: str = name) -> str:
            return text.replace("{set}", own)

        if html:
            refuse_overwriting(html, "--html", qrels=filled(qrels), topics=filled(topics),
                               run=[filled(str(path)) for path in paths.values()],
                               index=index and filled(index),
                               queries=queries and filled(queries))
        values = query_values(filled(qrels), {run: Path(filled(str(path)))
                                              for run, path in paths.items()}, measure)
        judged = next(iter(values.values()))
        asked = [topic for topic in read_topics(filled(topics)) if topic.id in judged]
        if len(asked) < len(judged):
            warn(f"{filled(qrels)}: {counted(len(judged) - len(asked), 'judged query')} without a "
                 f"topic in {filled(topics)}, left out")
        folder = Path(filled(index)) if index else None
        with one_build(folder):
            pieces = bag_of_words(folder, model, max_length, trust=trust)
            own = _expanded(asked, pieces, adds, Path(filled(queries)) if queries else None)
            features = query_features(asked, pieces, folder, own)
        sets.append(breakdown(name, values, features, {t.id: t.text for t in asked}, ends, worst))
    echo(breakdown_json(sets, measure) if form == "json" else breakdown_table(sets,
                                                                              measure).rstrip())
    if html:
        write_breakdown(html, sets, measure)


def _expanded(topics: list[Topic], pieces: Encoder, adds: Encoder | None,
              source: Path | None) -> dict[str, ImpactQuery] | None:
    from spladev3_anserini.analysis.query_features import read_expanded
    from spladev3_anserini.encoding.queries import encode_topics

    if source:
        return read_expanded(source, pieces)
    if adds is None:
        return None
    texts, limit = [topic.text for topic in topics], pieces.settings.max_length
    if list(adds.terms) != list(pieces.terms) or \
            adds.tokenizer.ids(texts, limit) != pieces.tokenizer.ids(texts, limit):
        raise InputError("--expander: cuts these queries into other wordpieces than the index's "
                         "model, so what is new cannot be told")
    return {topic.id: topic.query for topic in encode_topics(adds, topics)}
