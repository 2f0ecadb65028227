"""A template of a room and its values -> one page of HTML."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spladev3_anserini.errors import needed
from spladev3_anserini.files import output_file
from spladev3_anserini.text import VERSION, counted, visible

_PACKAGE, _ROOM = __name__.split(".")[:2]


def rendered(room: str, template: str, **values: object) -> str:
    """A page that needs no other file. Values are escaped, and so is what does not show in them; a
    value that the template names and that is not given is an error."""
    jinja2 = needed("jinja2", "a page", "analysis")
    own, shared = (jinja2.PackageLoader(f"{_PACKAGE}.{name}", ".") for name in (room, _ROOM))
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([own, shared]), autoescape=True, finalize=_shown,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page: str = environment.get_template(template).render(
        version=VERSION, counted=counted, today=datetime.now(UTC).date().isoformat(), **values)
    return page


def write_page(path: Path, room: str, template: str, **values: object) -> None:
    """Writes the page, whole or not at all."""
    page = rendered(room, template, **values)
    with output_file(path) as stream:
        stream.write(page)


def _shown(value: Any) -> Any:
    return type(value)(visible(value)) if isinstance(value, str) else value
