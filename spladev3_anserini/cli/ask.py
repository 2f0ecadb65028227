"""Command: a user's questions and an index -> hits, with the terms that were searched."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spladev3_anserini.cli.app import SETTINGS, echo, echo_marked
from spladev3_anserini.cli.model_options import (
    QUERY_TABLE_HELP,
    model_option,
    model_run_options,
    query_weights_option,
    variant_option,
)
from spladev3_anserini.cli.options import corpus_option, format_option, hits_option, trust_option
from spladev3_anserini.cli.questions import checked_question, read_questions
from spladev3_anserini.cli.types import FOLDER, WholeNumber
from spladev3_anserini.errors import InputError
from spladev3_anserini.progress import warn
from spladev3_anserini.text import table

if TYPE_CHECKING:
    from spladev3_anserini.analysis.asked import AskedQuestion
    from spladev3_anserini.analysis.explanation import Product

#: Before a hit's text, and before its products.
_INDENT = "     "


@click.command("ask", context_settings=SETTINGS)
@click.argument("question", nargs=-1, metavar='["QUESTION"]...')
@click.option("--index", required=True, type=FOLDER, help="An index that `index` built.")
@corpus_option("The documents, to show their texts. They are all read into memory; an index with "
               "--store-texts has them.", required=False, default="the texts in the index")
@model_option(default="the one the index names")
@variant_option("that of the index. Any other gives other scores")
@hits_option(5, "Documents per question.")
@click.option("--terms", default=10, type=WholeNumber(min=0),
              help="Query terms to show, largest impact first. A + marks terms that are not in "
              "the question.")
@click.option("--explain", is_flag=True, help="Show the product of each term that query and "
              "document share. They add up to the score.")
@format_option()
@trust_option
@query_weights_option(f"Weight the wordpieces of a question {QUERY_TABLE_HELP}")
@model_run_options
def main(question: tuple[str, ...], index: Path, corpus: str | None, model: str | None,
         variant: str, hits: int, terms: int, explain: bool, form: str, trust: bool,
         query_weights: str | None, max_length: int | None, batch_tokens: int | None, device: str,
         dtype: str) -> None:
    """Ask an index questions, and see the terms that are searched.

    Quote each QUESTION. Without one, the command reads one question per line until the end of
    input (Ctrl-D). The texts of the hits are shown if the index has them: the part where the words
    of the question are. With --format json, each question gives a line.

    \b
    Example:
      spladev3-anserini ask --index index "how do I copy a file"
    """
    from spladev3_anserini.analysis.asked import Asking, asked_as_json
    from spladev3_anserini.encoding.queries import encoder_of_variant
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.lucene.check import refusing_replacement
    from spladev3_anserini.lucene.opening import open_postings, open_with_texts

    for text in question:
        checked_question(text)
    with ExitStack() as stack:
        stack.enter_context(refusing_replacement(index if explain else None))
        searcher, record, stored = open_with_texts(index, trust=trust)
        stack.callback(searcher.close)
        if record is None:
            raise InputError(f"{index}: was not built by this package, ask knows nothing of its "
                             "model; use search --prebuilt --model ...")
        encoder = encoder_of_variant(index, record, model, variant, EncoderSettings(
            max_length=max_length, batch_tokens=batch_tokens, device=device, dtype=dtype,
            query_weights=query_weights))
        texts = _texts_of(corpus) if corpus else {}
        asking = Asking(
            encoder, searcher, hits, stored.text if stored and not corpus else texts.get,
            stack.enter_context(open_postings(index)) if explain else None,
            240 if form == "json" else _columns() - len(_INDENT))
        # words without quotes are one question
        asked = (" ".join(question),) if not any(" " in text for text in question) else question
        interactive = not question and sys.stdin is not None and sys.stdin.isatty()
        for text in asked if question else read_questions(interactive):
            try:
                checked_question(text)
            except InputError as error:
                if not interactive:
                    raise
                warn(str(error))
                continue
            answer = asking.ask(text)
            if form == "json":
                echo(json.dumps(asked_as_json(answer)))
            else:
                _show(answer, terms, heading=not interactive)


def _texts_of(corpus: str) -> dict[str, str]:
    from spladev3_anserini.collection.corpus import read_corpus

    return {document.id: document.text for document in read_corpus(corpus)}


def _show(answer: AskedQuestion, terms: int, *, heading: bool) -> None:
    """Prints an answer: the question, its terms, and a line for each hit."""
    if heading:
        echo(f"\n{answer.question}")
    largest = list(answer.impacts.items())[:terms]
    echo("  " + "  ".join(f"{_marked(t, t in answer.own)} {w}" for t, w in largest))
    if not answer.hits:
        echo("  no document shares a term with this question")
        return
    heads = table([(f"  {hit.rank}", hit.docid, f"{hit.score}") for hit in answer.hits], words=2)
    for head, hit in zip(heads.splitlines(), answer.hits, strict=True):
        echo(head)
        if hit.snippet:
            echo_marked([(_INDENT, False), *hit.snippet])
        if hit.products is not None:
            echo(f"{_INDENT}{_sum_of(hit.products, terms)}")


def _columns() -> int:
    """Returns the width of the terminal, 100 without one."""
    return max(64, shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100)


def _marked(term: str, own: bool) -> str:
    return term if own else f"+{term}"


def _sum_of(products: list[Product], terms: int) -> str:
    """Returns the largest products as text, and the sum of all others."""
    shown = [f"{_marked(p.term, p.own)} {p.product}" for p in products[:terms]]
    if others := products[terms:]:
        shown.append(f"{len(others)} more {sum(p.product for p in others)}")
    return "  ".join(shown)
