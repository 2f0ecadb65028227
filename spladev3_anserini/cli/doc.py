"""Command: the id of a document -> its text and its terms in an index."""

from __future__ import annotations

from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.options import format_option, trust_option
from spladev3_anserini.cli.types import FOLDER, WholeNumber


@click.command("doc", context_settings=SETTINGS)
@click.argument("docid", metavar="ID")
@click.option("--index", required=True, type=FOLDER, help="The index.")
@click.option("--terms", default=30, type=WholeNumber(min=0),
              help="Terms to show, largest impact first. --format json has all of them.")
@format_option()
@trust_option
def main(docid: str, index: Path, terms: int, form: str, trust: bool) -> None:
    """Show a document of an index: its text and its terms.

    The text is shown if the index has it (`index --store-texts`). A + marks an expansion then: a
    term that is not a wordpiece of the text.

    \b
    Example:
      spladev3-anserini doc d1 --index index
    """
    from spladev3_anserini.analysis.document import document_as_json, document_text, read_document

    document = read_document(index, docid, trust=trust)
    echo(document_as_json(document) if form == "json" else document_text(document, terms))
