"""Options of what is left out of a query's hits."""

from __future__ import annotations

import click

from spladev3_anserini.cli.options import together
from spladev3_anserini.cli.types import EXCLUSIONS

exclusion_options = together(
    click.option("--remove-query", is_flag=True, help="Remove a document with the query's own id "
                 "from the query's hits. BEIR's ArguAna needs this."),
    click.option("--exclude", type=EXCLUSIONS, help="Remove the documents that this file excludes "
                 "for a query: TSV (query, document), JSON lines with excluded_ids (BRIGHT), or "
                 "ir_datasets:ID."))
