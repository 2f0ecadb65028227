"""Options of `search` and `evaluate`: documents instead of passages."""

from __future__ import annotations

import click

from spladev3_anserini.cli.options import Decorator, together


def refuse_lone_delimiter(passages: str | None, delimiter: str | None) -> None:
    """Raises UsageError for --passage-delimiter where no documents are asked for."""
    if delimiter and not passages:
        raise click.UsageError("--passage-delimiter: give --max-passage or --passages too")


def passage_score_options(*ways: str, more: str = "") -> Decorator:
    """Returns the options; `ways` are the values of --passages, and `more` ends its help."""
    return together(
        click.option("--max-passage", "passages", flag_value="max", default=None,
                     help="Give documents instead of their passages (DOCID#N), scored by their "
                     "best passage. The same as --passages max."),
        click.option("--passages", type=click.Choice(ways), help="Give documents, scored by their "
                     f"best passage or their first one{more}."),
        click.option("--passage-delimiter", metavar="TEXT", show_default="#",
                     help="What stands before the number of a passage in its id. Needed for "
                     "passages that `encode --passages` did not make."))
