"""A template of this room and its values -> one page of HTML."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from spladev3_anserini import __version__
from spladev3_anserini.files import output_file


def write_page(path: Path, template: str, **values: object) -> None:
    """Writes the page, whole or not at all; it needs no other file. Values are escaped."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader(__package__, "."), autoescape=True,
                              trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template(template).render(
        version=__version__, today=datetime.now(UTC).date().isoformat(), **values)
    with output_file(path) as stream:
        stream.write(page)
