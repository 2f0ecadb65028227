"""Command: a user's questions and an index -> hits, with the terms that were searched."""

from __future__ import annotations

import contextlib
import re
import sys
import unicodedata
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.model_options import (
    QUERY_TABLE_HELP,
    model_option,
    model_run_options,
    query_weights_option,
)
from spladev3_anserini.cli.options import corpus_option, hits_option, trust_option
from spladev3_anserini.cli.types import FOLDER, WholeNumber
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import warn
from spladev3_anserini.text import table

_SNIPPET = 64


@click.command("ask", context_settings=SETTINGS)
@click.argument("question", nargs=-1, metavar='["QUESTION"]...')
@click.option("--index", required=True, type=FOLDER, help="An index that `index` built.")
@corpus_option("The documents, to show the beginning of each hit's text.", required=False)
@model_option(default="the one the index names")
@hits_option(5, "Documents per question.")
@click.option("--terms", default=10, type=WholeNumber(min=0),
              help="Query terms to show, largest impact first. A + marks terms that are not in "
              "the question.")
@trust_option
@query_weights_option(f"Weight the wordpieces of a question {QUERY_TABLE_HELP}")
@model_run_options
def main(question: tuple[str, ...], index: Path, corpus: str | None, model: str | None, hits: int,
         terms: int, trust: bool, query_weights: str | None, max_length: int | None,
         batch_tokens: int | None, device: str, dtype: str) -> None:
    """Ask an index questions, and see the terms that are searched.

    Quote each QUESTION. Without one, the command reads one question per line until the end of
    input (Ctrl-D).

    \b
    Example:
      spladev3-anserini ask --index index "how do I copy a file"
    """
    from spladev3_anserini.collection.topics import Topic
    from spladev3_anserini.encoding.queries import encode_topics, encoder_for_index
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.lucene.opening import open_searcher

    for text in question:
        checked_question(text)
    searcher, record = open_searcher(index, trust=trust)
    if record is None:
        raise InputError(f"{index}: was not built by this package, ask knows nothing of its model; "
                         "use search --prebuilt --model ...")
    settings = EncoderSettings(max_length=max_length, batch_tokens=batch_tokens, device=device,
                               dtype=dtype, query_weights=query_weights)
    encoder = encoder_for_index(index, record, model, "auto", settings)
    texts = _beginnings(corpus) if corpus else {}
    # words without quotes are one question
    questions = (" ".join(question),) if not any(" " in text for text in question) else question
    interactive = not question and sys.stdin is not None and sys.stdin.isatty()
    for text in questions if question else _read_questions(interactive):
        try:
            checked_question(text)
        except InputError as error:
            if not interactive:
                raise
            warn(str(error))
            continue
        query = encode_topics(encoder, [Topic("question", text, "the question")])[0].query
        pieces = set(encoder.tokenizer.pieces(text))
        if not interactive:
            echo(f"\n{text}")
        largest = sorted(query.items(), key=lambda item: (-item[1], item[0]))[:terms]
        echo("  " + "  ".join(f"{'' if t in pieces else '+'}{t} {w}" for t, w in largest))
        rows = [(f"  {rank}", docid, f"{score}", texts.get(docid, ""))
                for rank, (docid, score) in enumerate(searcher.search(query, hits), 1)]
        echo(_aligned(rows) if rows else "  no document shares a term with this question")
    searcher.close()


def checked_question(text: str) -> None:
    """Raises InputError for a question with control characters, or that is not UTF-8.

    An arrow key, for example, types an escape and two letters, which would be searched as text.
    """
    from spladev3_anserini.collection.records import checked_text

    checked_text(text, "the question", "text")
    if hidden := [c for c in text if unicodedata.category(c) == "Cc" and c not in "\t\n\r"]:
        raise InputError(f"the question {text[:60]!r} has the control character {hidden[0]!r}; "
                         "type it as plain text")


def _aligned(rows: list[tuple[str, str, str, str]]) -> str:
    heads = table([(rank, docid, score) for rank, docid, score, _ in rows], words=2)
    return "\n".join(f"{head}  {row[3]}".rstrip()
                     for head, row in zip(heads.splitlines(), rows, strict=True))


def _read_questions(interactive: bool) -> Iterator[str]:
    """Yields the lines of standard input that are not empty, after a prompt on a terminal."""
    if sys.stdin is None:
        return
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # checked_question refuses non-UTF-8
    prompt = "question> " if interactive and sys.stdout.isatty() else ""
    if interactive:
        echo("a question a line; Ctrl-D ends", err=True)
        # its import gives `input` line editing, and a history of this process only
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401
    while True:
        if interactive and not prompt:  # `input` would write the prompt into the redirected output
            click.echo("question> ", nl=False, err=True)
        try:
            text = input(prompt)
        except EOFError:
            if interactive:
                echo(err=True)
            return
        if text.strip():
            yield text


def _beginnings(corpus: str) -> dict[str, str]:
    from spladev3_anserini.collection.corpus import read_corpus

    return {document.id: _beginning(document.id, document.text)
            for document in read_corpus(corpus)}


def _beginning(identifier: str, text: str) -> str:
    """Returns the first words of a text, without a first line that only repeats the id."""
    first, _, rest = text.partition("\n")
    repeats = re.sub(r"[\W_]", "", first) == re.sub(r"[\W_]", "", identifier)
    words = " ".join((rest if repeats else text).split())
    return words if len(words) <= _SNIPPET else words[:_SNIPPET].rstrip() + " ..."
