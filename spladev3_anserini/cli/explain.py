"""Command: a text, or a query and a document -> the terms behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from spladev3_anserini.cli.app import SETTINGS, echo, echo_marked, fail
from spladev3_anserini.cli.model_options import (
    QUERY_TABLE_HELP,
    model_option,
    model_run_options,
    query_weights_option,
    variant_option,
)
from spladev3_anserini.cli.options import format_option, hits_option, html_option, trust_option
from spladev3_anserini.cli.types import FOLDER, WholeNumber
from spladev3_anserini.errors import InputError

if TYPE_CHECKING:
    from spladev3_anserini.analysis.explanation import DocumentCost, Match, TextExplanation
    from spladev3_anserini.encoding.settings import EncoderSettings

#: Characters of the document's text that are shown, where the terms that match are.
_IN_TEXT, _ON_PAGE = 240, 2000


@click.command("explain", context_settings=SETTINGS)
@click.option("--text", help="Show the terms of this text. Needs --model.")
@click.option("--side", default="document", type=click.Choice(["document", "query"]),
              help="Whether --text is encoded as a document or as a query.")
@variant_option("the variant that the checkpoint's files name. Only with --text")
@click.option("--scale", default=100.0, help="Impact = rint(scale x weight). Only with --text.")
@click.option("--index", type=FOLDER, help="Instead of --text: show why a document of this "
              "index matches a query. Needs --docid and --query.")
@click.option("--docid", help="The id of the document.")
@click.option("--query", help="The text of the query.")
@model_option(default="the one the index names")
@hits_option(1000, "Documents to rank for --query. The rank of --docid among them is shown.")
@click.option("--terms", default=30, type=WholeNumber(min=1),
              help="Terms of --text to show. --html and --format json have all of them.")
@html_option("Also write the result as an HTML page.")
@format_option()
@trust_option
@query_weights_option(f"Weight the wordpieces of a query {QUERY_TABLE_HELP}")
@model_run_options
def main(text: str | None, side: str, variant: str, scale: float, index: Path | None,
         docid: str | None, query: str | None, model: str | None, hits: int, terms: int,
         html: Path | None, form: str, trust: bool, query_weights: str | None,
         max_length: int | None, batch_tokens: int | None, device: str, dtype: str) -> None:
    """Show the terms of a text, or why a document matches a query.

    A + marks an expansion: a term that is not a wordpiece of the text (or query). A score is shown
    term by term: the products sum to the index's score. The document's text is shown if the index
    has it (`index --store-texts`).

    Exit 1: the sum is not the index's score.

    \b
    Examples:
      spladev3-anserini explain --model demo --text "the heart pumps blood"
      spladev3-anserini explain --index index --docid d1 --query "what lifts"
    """
    from spladev3_anserini.analysis.explanation_text import (
        match_as_json,
        match_table,
        text_as_json,
        text_table,
    )
    from spladev3_anserini.analysis.html import write_page
    from spladev3_anserini.collection.overwriting import refuse_overwriting
    from spladev3_anserini.encoding.settings import EncoderSettings
    from spladev3_anserini.impacts.quantize import Quantizer

    if (text is None) == (index is None):
        raise click.UsageError("give either --text with --model, or --index with --docid and "
                               "--query")
    if html:
        refuse_overwriting(html, "--html", index=index, model=model,
                           query_weights=query_weights)
    settings = EncoderSettings(max_length=max_length, quantizer=Quantizer.of(scale),
                               batch_tokens=batch_tokens, device=device, dtype=dtype,
                               query_weights=query_weights)
    if text is not None:
        if not model or docid is not None or query is not None:
            raise click.UsageError("--text needs --model, and neither --docid nor --query")
        explanation = _of_text(text, model, side, variant, settings)
        values, text_output = text_as_json(explanation), text_table(explanation, terms)
        marked: list[tuple[str, bool]] = []
        page: dict[str, object] = {"title": f"What {model} makes of a {side}",
                                   "explanation": explanation, "match": None, "cost": None,
                                   "text": []}
    else:
        if index is None or docid is None or query is None:
            raise click.UsageError("--index needs --docid and --query")
        match, cost, document = _of_match(index, model, docid, query, hits, settings, trust)
        values = match_as_json(match, cost) | {"text": document.text}
        marked, text_output = document.part(match, _IN_TEXT), match_table(match, cost)
        page = {"title": f"Why {docid} has its score", "explanation": None, "match": match,
                "cost": cost, "text": document.part(match, _ON_PAGE)}
    if marked and form == "text":
        echo_marked([*marked, ("\n", False)])
    echo(values if form == "json" else text_output)
    if html:
        write_page(html, "analysis", "explanation.html.j2", **page)


class _Document(NamedTuple):
    """A document's text, None if the index has none, and what finds its words."""

    text: str | None
    words: Callable[[str], Iterable[tuple[int, int, Sequence[str]]]]

    def part(self, match: Match, characters: int) -> list[tuple[str, bool]]:
        """Returns the part of the text where the terms are that match."""
        from spladev3_anserini.collection.snippets import snippet

        terms = {product.term: product.product for product in match.products}
        return [] if self.text is None else snippet(self.text, terms, characters, self.words)


def _of_text(text: str, model: str, side: str, variant: str,
             settings: EncoderSettings) -> TextExplanation:
    from spladev3_anserini.analysis.explanation import explain_text
    from spladev3_anserini.encoding.encoder import Encoder
    from spladev3_anserini.model.checkpoint import chosen_variant, open_checkpoint

    checkpoint = open_checkpoint(model)
    return explain_text(Encoder(checkpoint, chosen_variant(
        variant, checkpoint, settings.query_weights), side, settings), text)


def _of_match(index: Path, model: str | None, docid: str, query: str, hits: int,
              settings: EncoderSettings, trust: bool) -> tuple[Match, DocumentCost, _Document]:
    from spladev3_anserini.analysis.explanation import explain_match
    from spladev3_anserini.encoding.queries import encoder_for_index
    from spladev3_anserini.lucene.check import refusing_replacement
    from spladev3_anserini.lucene.opening import open_with_texts

    with refusing_replacement(index):
        searcher, record, texts = open_with_texts(index, trust=trust)
        if record is None:
            raise InputError(f"{index}: was not built by this package, so how to encode a query "
                             "for it is unknown")
        encoder = encoder_for_index(index, record, model, "auto", settings)
        match, cost = explain_match(encoder, index, searcher, docid, query, hits)
        document = _Document(texts.text(docid) if texts else None, encoder.tokenizer.words)
        searcher.close()
    if match.score != match.index_score:
        fail(1, f"{docid}: the products sum to {match.score:,}, the index's score is "
                f"{match.index_score:,.1f} (Lucene's are exact up to 2^24 alone)")
    return match, cost, document
