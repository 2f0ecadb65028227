"""Command: runs on the same queries -> the kinds of queries on which the first run loses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.model_options import MODEL_HELP, model_option, model_run_options
from spladev3_anserini.cli.options import (
    format_option,
    html_option,
    measure_option,
    named_paths,
    qrels_option,
    runs_option,
    topics_option,
    trust_option,
)
from spladev3_anserini.cli.types import FOLDER, MODEL, WholeNumber
from spladev3_anserini.errors import InputError, refuse_without
from spladev3_anserini.progress import warn
from spladev3_anserini.text import counted

if TYPE_CHECKING:
    from spladev3_anserini.collection.topics import Topic
    from spladev3_anserini.encoding.encoder import Encoder
    from spladev3_anserini.impacts.query import ImpactQuery


@click.command("breakdown", context_settings=SETTINGS)
@qrels_option()
@topics_option()
@runs_option(required=True)
@click.option("--set", "names", multiple=True, metavar="NAME",
              help="The name of a query set. Each NAME replaces {set} in the values of --qrels, "
              "--topics, --run, --index and --queries. Repeat the option for several.")
@click.option("--index", type=FOLDER, help="The index of impacts where rarity is counted.")
@model_option(f"The model that cuts queries into wordpieces. {MODEL_HELP}",
              default="the one the index names")
@click.option("--expander", type=MODEL, help="The model whose expansion of a query is measured.")
@click.option("--queries", type=FOLDER,
              help="Instead of --expander: a folder of queries that `encode --topics` wrote with "
              "that model.")
@click.option("--edges", multiple=True, metavar="FEATURE=A,B,...", show_default="tertiles",
              help="Limits between the groups of a feature, such as length=3,6. Features are "
              "length, rarity and expansion.")
@measure_option
@click.option("--worst", default=10, type=WholeNumber(min=1),
              help="List this many of the queries with the largest losses.")
@html_option("Also write a page with charts.")
@format_option()
@trust_option
@model_run_options
def main(qrels: str, topics: str, runs: tuple[str, ...], names: tuple[str, ...],
         index: Path | None, model: str | None, expander: str | None, queries: Path | None,
         edges: tuple[str, ...], measure: str, worst: int, html: Path | None, form: str,
         trust: bool, max_length: int, batch_tokens: int | None, device: str, dtype: str) -> None:
    """Show on which kinds of queries a run loses to others.

    The first run is compared with each other run, on queries grouped by three features. Length is
    the number of distinct wordpieces. Rarity is their mean idf in --index. Expansion is the share
    of the weight that --expander puts on terms outside the query. Each group has its mean
    difference with a 95 % interval, and each feature Spearman's correlation.

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
        expanding_encoder,
        parse_edges,
        query_features,
        wordpiece_encoder,
    )
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.collection.topics import read_topics
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.evaluation.query_values import query_values
    from spladev3_anserini.lucene.check import refusing_replacement

    if html:
        refuse_without("matplotlib", "--html", "analysis")
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
    adds = expanding_encoder(expander, EncoderSettings(
        max_length=max_length, batch_tokens=batch_tokens, device=device,
        dtype=dtype)) if expander else None
    sets = []
    for name in names or ("all queries",):
        def filled(text: str | Path, set_name: str = name) -> str:
            return str(text).replace("{set}", set_name)

        if html:
            refuse_overwriting(html, "--html", qrels=filled(qrels), topics=filled(topics),
                               run=[filled(path) for path in paths.values()],
                               index=index and filled(index),
                               queries=queries and filled(queries))
        values = query_values(filled(qrels), {run: Path(filled(path))
                                              for run, path in paths.items()}, measure)
        judged = next(iter(values.values()))
        judged_topics = [topic for topic in read_topics(filled(topics)) if topic.id in judged]
        if len(judged_topics) < len(judged):
            missing = counted(len(judged) - len(judged_topics), "judged query")
            warn(f"{filled(qrels)}: {missing} without a topic in {filled(topics)}, left out")
        folder = Path(filled(index)) if index else None
        with refusing_replacement(folder):
            pieces = wordpiece_encoder(folder, model, max_length, trust=trust)
            expansions = _expanded(judged_topics, pieces, adds,
                                   Path(filled(queries)) if queries else None)
            features = query_features(judged_topics, pieces, folder, expansions)
        texts = {topic.id: topic.text for topic in judged_topics}
        sets.append(breakdown(name, values, features, texts, ends, worst))
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
                         "model, so expansions cannot be recognised")
    return {topic.id: topic.query for topic in encode_topics(adds, topics)}
