"""Types of option values: their names in --help and their completion in a shell."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem


class WholeNumber(click.IntRange):
    """An integer within bounds, shown as N."""

    def get_metavar(self, *of: Any, **more: Any) -> str:
        return "N"


class _Path(click.Path):
    """A path, shown as FILE, FOLDER or RUN; its reader checks whether it exists."""

    def __init__(self, name: str) -> None:
        super().__init__(path_type=Path)
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> Any:
        return super().convert(_not_empty(self, value, param, ctx), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter,
                       incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="dir" if self.name == "folder" else "file")]


class _Source(click.types.StringParamType):
    """A text that is a path or a name, such as a corpus or a model; its reader decides which."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> Any:
        return super().convert(_not_empty(self, value, param, ctx), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter,
                       incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


def _not_empty(kind: click.ParamType[Any], value: Any, param: click.Parameter | None,
               ctx: click.Context | None) -> Any:
    """The value; an empty one, as of a shell's variable that is not set, would mean the current
    folder."""
    if value == "":
        kind.fail("is empty", param, ctx)
    return value


class Number(click.FloatRange):
    """A number within bounds. Click's own takes nan, which no comparison refuses, and inf."""

    def get_metavar(self, *of: Any, **more: Any) -> str:
        return "FLOAT"

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


FILE, FOLDER, RUN = _Path("file"), _Path("folder"), _Path("run")
CORPUS, TOPICS, QRELS = _Source("corpus"), _Source("topics"), _Source("qrels")
EXCLUSIONS, DATA = _Source("file"), _Source("file")
MODEL, RECIPE, COLLECTION = _Source("model"), _Source("recipe"), _Source("collection")
TABLE = _Source("table")
