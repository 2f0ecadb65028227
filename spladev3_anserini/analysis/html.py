"""A template and its values -> one page of HTML."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spladev3_anserini.errors import import_optional
from spladev3_anserini.files import output_file
from spladev3_anserini.text import VERSION, counted, visible

_PACKAGE, _ROOM = __name__.split(".")[:2]


def render_page(room: str, template: str, **values: object) -> str:
    """Renders a page of HTML that needs no other file.

    Values are escaped for HTML, and so are their invisible characters.

    Args:
        room: The room with the template; templates of this room can be included.
        template: The name of the template's file.
        values: The template's variables. One that is missing raises jinja2's UndefinedError.
    """
    jinja2 = import_optional("jinja2", "a page", "analysis")
    loaders = [jinja2.PackageLoader(f"{_PACKAGE}.{name}", ".") for name in (room, _ROOM)]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders), autoescape=True, finalize=_make_visible,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page: str = environment.get_template(template).render(
        version=VERSION, counted=counted, today=datetime.now(UTC).date().isoformat(), **values)
    return page


def write_page(path: Path, room: str, template: str, **values: object) -> None:
    """Renders a page, as `render_page` does, and writes it whole or not at all."""
    page = render_page(room, template, **values)
    with output_file(path) as stream:
        stream.write(page)


def _make_visible(value: Any) -> Any:
    return type(value)(visible(value)) if isinstance(value, str) else value
