"""A request -> only one that can be read in one way: nothing twice, nothing that is not known."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.types import Scope

from spladev3_anserini.errors import InputError

#: The parameters of an address that may be given several times.
_LISTS = ("fuse",)


async def refuse_ambiguous(request: Request) -> None:
    """Raises InputError for a parameter that the route has not, and for what is given twice.

    Otherwise a misspelt `index` would be answered from another index, and of two values one.
    """
    route = request.scope["route"]
    if not route.include_in_schema:  # the page's address is its own
        return
    known = [field.alias for field in route.dependant.query_params]
    for name, count in Counter(name for name, _ in request.query_params.multi_items()).items():
        if name not in known:
            raise InputError(f"`{name[:100]}`: no parameter of this address; it takes "
                             f"{', '.join(known) or 'none'}")
        if count > 1 and name not in _LISTS:
            raise InputError(f"`{name}`: is given twice")
    if request.method == "POST":
        try:
            json.loads(await request.body(), object_pairs_hook=_refuse_twice)
        except (ValueError, RecursionError):
            return  # no JSON, which is refused for that


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    """Raises InputError for a key that an object of JSON has twice."""
    if len(dict(pairs)) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise InputError(f"the key {twice[:100]!r} is given twice")


def is_utf8(scope: Scope) -> bool:
    """Whether an address is UTF-8; what is not would be read as U+FFFD, which is another text."""
    try:
        unquote_to_bytes(scope.get("raw_path", b"") + b"?" + scope["query_string"]).decode()
    except UnicodeDecodeError:
        return False
    return True
