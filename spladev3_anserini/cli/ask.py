"""Command: one's own questions to an index."""

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
from spladev3_anserini.cli.model_options import model_option, model_run_options
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
@model_run_options
def main(question: tuple[str, ...], index: Path, corpus: str | None, model: str | None, hits: int,
         terms: int, trust: bool, max_length: int, batch_tokens: int | None, device: str,
         dtype: str) -> None:
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
    from spladev3_anserini.lucene.searcher import open_searcher

    for text in question:
        checked_question(text)
    searcher, record = open_searcher(index, trust=trust)
    if record is None:
        raise InputError(f"{index}: was not built by this package, ask knows nothing of its model; "
                         "use search --prebuilt --model ...")
    settings = EncoderSettings(max_length=max_length, batch_tokens=batch_tokens, device=device,
                        dtype=dtype)
    encoder = encoder_for_index(index, record, model, "auto", settings)
    texts = _beginnings(corpus) if corpus else {}
    # words without quotes are one question
    asked = (" ".join(question),) if not any(" " in text for text in question) else question
    typed = not question and sys.stdin is not None and sys.stdin.isatty()
    for text in asked if question else _lines_of_input(typed):
        try:
            checked_question(text)
        except InputError as error:
            if not typed:
                raise
            warn(str(error))
            continue
        query = encode_topics(encoder, [Topic("question", text, "the question")])[0].query
        pieces = set(encoder.tokenizer.pieces(text))
        if not typed:
            echo(f"\n{text}")
        shown = sorted(query.items(), key=lambda item: (-item[1], item[0]))[:terms]
        echo("  " + "  ".join(f"{'' if t in pieces else '+'}{t} {w}" for t, w in shown))
        rows = [(f"  {rank}", hit.docid, f"{hit.score}", texts.get(hit.docid, ""))
                for rank, hit in enumerate(searcher.search(query, hits), 1)]
        echo(_aligned(rows) if rows else "  no document shares a term with this question")
    searcher.close()


def checked_question(text: str) -> None:
    """Raises InputError for a question that no one can have meant: an arrow key, for example, is
    an escape and two letters, which would be searched as text."""
    from spladev3_anserini.collection.records import checked_text

    checked_text(text, "the question", "text")
    if hidden := [c for c in text if unicodedata.category(c) == "Cc" and c not in "\t\n\r"]:
        raise InputError(f"the question {text[:60]!r} has the control character {hidden[0]!r}; "
                         "type it as plain text")


def _aligned(rows: list[tuple[str, str, str, str]]) -> str:
    heads = table([(rank, docid, score) for rank, docid, score, _ in rows], words=2)
    return "\n".join(f"{head}  {row[3]}".rstrip()
                     for head, row in zip(heads.splitlines(), rows, strict=True))


def _lines_of_input(typed: bool) -> Iterator[str]:
    if sys.stdin is None:
        return
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # what is not UTF-8 is refused in a line
    prompt = "question> " if typed and sys.stdout.isatty() else ""
    if typed:
        echo("a question a line; Ctrl-D ends", err=True)
        # imported, it edits what `input` reads and keeps a history, of this process alone
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401
    while True:
        if typed and not prompt:  # `input` would write it into the file that takes the answers
            click.echo("question> ", nl=False, err=True)
        try:
            text = input(prompt)
        except EOFError:
            if typed:
                echo(err=True)
            return
        if text.strip():
            yield text


def _beginnings(corpus: str) -> dict[str, str]:
    from spladev3_anserini.collection.corpus import read_corpus

    return {document.id: _beginning(document.id, document.text)
            for document in read_corpus(corpus)}


def _beginning(identifier: str, text: str) -> str:
    """The first words of a text, without a first line that only repeats the id."""
    first, _, rest = text.partition("\n")
    repeats = re.sub(r"[\W_]", "", first) == re.sub(r"[\W_]", "", identifier)
    words = " ".join((rest if repeats else text).split())
    return words if len(words) <= _SNIPPET else words[:_SNIPPET].rstrip() + " ..."
