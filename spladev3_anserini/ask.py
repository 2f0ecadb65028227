"""Command: one's own questions to an index."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from spladev3_anserini.cli import SETTINGS, echo, run, table
from spladev3_anserini.errors import InputError
from spladev3_anserini.options import FOLDER, MODEL_HELP, hits_option, model_run_options

_SNIPPET = 64


@click.command("ask", context_settings=SETTINGS)
@click.argument("question", nargs=-1, metavar='["QUESTION"]...')
@click.option("--index", required=True, type=FOLDER, help="An index built by this package.")
@click.option("--corpus", metavar="CORPUS", help="Show the beginning of each hit's text from here.")
@click.option("--model", show_default="the one the index names", help=MODEL_HELP)
@hits_option(5)
@click.option("--terms", default=10, type=click.IntRange(min=0),
              help="Query terms to show, largest impact first; + marks terms not in the question.")
@model_run_options
def main(question: tuple[str, ...], index: Path, corpus: str | None, model: str | None, hits: int,
         terms: int, max_length: int, batch_tokens: int | None, device: str, dtype: str) -> None:
    """Ask an index, and see what the model makes of the question.

    Quote each QUESTION. Without one, reads a question a line until the end of input (Ctrl-D).

    \b
    Example:
      spladev3-anserini ask --index index "how do I copy a file"
    """
    from spladev3_anserini.collection.ids import checked_text
    from spladev3_anserini.collection.topics import Topic
    from spladev3_anserini.encoding.encoder import Settings
    from spladev3_anserini.encoding.queries import encode_topics, encoder_for_index
    from spladev3_anserini.lucene.searcher import open_index

    searcher, record = open_index(index)
    if record is None:
        raise InputError(f"{index}: was not built by this package, ask knows nothing of its model; "
                         "use search --prebuilt --model ...")
    settings = Settings(max_length=max_length, batch_tokens=batch_tokens, device=device,
                        dtype=dtype)
    encoder = encoder_for_index(index, record, model, "auto", settings)
    texts = _beginnings(corpus) if corpus else {}
    # words without quotes are one question
    asked = (" ".join(question),) if not any(" " in text for text in question) else question
    for text in asked if question else _lines_of_input():
        checked_text(text, "the question", "text")
        query = encode_topics(encoder, [Topic("question", text, "the question")])[0].query
        own = set(encoder.tokenizer.pieces(text))
        if question or not sys.stdin.isatty():
            echo(f"\n{text}")
        shown = sorted(query.items(), key=lambda item: (-item[1], item[0]))[:terms]
        echo("  " + "  ".join(f"{'' if t in own else '+'}{t} {w}" for t, w in shown))
        found = searcher.search(query, hits)
        rows = [(f"  {rank}", hit.docid, f"{hit.score}", texts.get(hit.docid, ""))
                for rank, hit in enumerate(found, 1)]
        echo(_aligned(rows) if rows else "  no document shares a term with this question")
    searcher.close()


def _aligned(rows: list[tuple[str, str, str, str]]) -> str:
    heads = table([(rank, docid, score) for rank, docid, score, _ in rows], words=2)
    return "\n".join(f"{head}  {row[3]}".rstrip()
                     for head, row in zip(heads.splitlines(), rows, strict=True))


def _lines_of_input() -> Iterator[str]:
    interactive = sys.stdin.isatty()
    if interactive:
        echo("a question a line; Ctrl-D ends", err=True)
    while True:
        try:
            text = click.prompt("question", prompt_suffix="> ", err=True) if interactive \
                else input()
        except (click.Abort, EOFError):
            echo(err=True, nl=interactive)
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


if __name__ == "__main__":
    run(main)
