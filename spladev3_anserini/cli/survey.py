"""Command: a corpus, or topics and qrels -> counts and hashes."""

from __future__ import annotations

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.text import counted


@click.command("survey", context_settings=SETTINGS)
@click.option("--corpus", metavar="CORPUS", help="As encode takes it.")
@click.option("--topics", metavar="FILE", help="As search takes it; with --qrels.")
@click.option("--qrels", metavar="FILE", help="As evaluate takes it; with --topics.")
@click.option("--format", "form", default="text", type=click.Choice(["text", "json"]))
def main(corpus: str | None, topics: str | None, qrels: str | None, form: str) -> None:
    """Read a corpus, or topics with their qrels, and count what is in them.

    Bad lines and repeated ids are refused. The hashes are of ids, texts and grades, so the layout
    of the files does not change them.

    \b
    Example:
      spladev3-anserini survey --corpus corpus.jsonl
      spladev3-anserini survey --topics topics.tsv --qrels qrels.txt
    """
    from spladev3_anserini.collection.survey import survey_query_set, survey_texts

    if (topics is None) != (qrels is None) or (corpus is None) == (topics is None):
        raise click.UsageError("give either --corpus, or --topics and --qrels")
    if corpus is not None:
        texts = survey_texts(corpus, "document")
        echo({"documents": texts.documents, "sha256": texts.sha256} if form == "json"
             else f"{corpus}: {counted(texts.documents, 'document')}, sha256 {texts.sha256}")
        return
    query_set = survey_query_set(str(topics), str(qrels))
    if form == "json":
        echo(query_set._asdict())
        return
    echo(f"{topics}: {counted(query_set.queries, 'query')}, {query_set.judged:,} of them judged, "
         f"sha256 {query_set.topics_sha256}")
    echo(f"{qrels}: {counted(query_set.judgments, 'judgment')}, sha256 {query_set.qrels_sha256}")
