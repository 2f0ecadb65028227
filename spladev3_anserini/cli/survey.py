"""Command: a corpus, or topics and qrels -> counts and hashes."""

from __future__ import annotations

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import (
    TOPICS_HELP,
    corpus_option,
    format_option,
    qrels_option,
    topics_option,
)
from spladev3_anserini.text import counted


@click.command("survey", context_settings=SETTINGS)
@corpus_option(required=False)
@topics_option(f"The queries, instead of --corpus. {TOPICS_HELP}", required=False)
@qrels_option(required=False)
@format_option()
def main(corpus: str | None, topics: str | None, qrels: str | None, form: str) -> None:
    """Count the documents of a corpus, or topics and their qrels.

    The command prints how many there are, and a hash of their ids, texts and grades. The hash is
    the same in every file layout. Bad lines and repeated ids are refused.

    \b
    Example:
      spladev3-anserini survey --corpus corpus.jsonl
      spladev3-anserini survey --topics topics.tsv --qrels qrels.txt
    """
    from spladev3_anserini.collection.survey import survey_corpus, survey_query_set

    if (topics is None) != (qrels is None) or (corpus is None) == (topics is None):
        raise click.UsageError("give either --corpus, or --topics and --qrels")
    if corpus is not None:
        texts = survey_corpus(corpus)
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
