"""The OpenAPI description of an app -> a plain page, which needs no file from elsewhere."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

from fastapi import FastAPI


def openapi_page(app: FastAPI) -> bytes:
    """Returns an HTML page that lists each route, what it takes and what it answers."""
    description = app.openapi()
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
             f"content='width=device-width'><title>{escape(app.title)}</title>"
             f"<link rel=icon href=/page/icon.svg><link rel=stylesheet href=/page/page.css>"
             f"<main><h1>{escape(app.title)} {escape(app.version)}</h1>"
             f"<p>{escape(app.description)} <a href=/openapi.json>openapi.json</a></p>"]
    for path, methods in description["paths"].items():
        for method, route in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
                         f"<p>{escape(route.get('description', ''))}</p>")
            parts.append(_fields("Parameters", [
                (one["name"], one["schema"], one.get("description", ""))
                for one in route.get("parameters", [])]))
            if body := route.get("requestBody"):
                parts.append(_of_schema("Body", body["content"], description))
            parts.append(_of_schema("Answer", route["responses"]["200"]["content"], description))
    return "".join([*parts, "</main></html>"]).encode()


def _of_schema(title: str, content: dict[str, Any], description: dict[str, Any]) -> str:
    name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schema = description["components"]["schemas"][name]
    return _fields(title, [(field, value, value.get("description", ""))
                           for field, value in schema["properties"].items()])


def _fields(title: str, rows: list[tuple[str, dict[str, Any], str]]) -> str:
    if not rows:
        return ""
    lines = [f"<dt><code>{escape(name)}</code> <code>{escape(_type(schema))}</code></dt>"
             f"<dd>{_in_code(words)}</dd>" for name, schema, words in rows]
    return f"<h3>{title}</h3><dl>{''.join(lines)}</dl>"


def _in_code(words: str) -> str:
    """Returns words as HTML; those in backticks are code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(words))


def _type(schema: dict[str, Any]) -> str:
    """Returns a short name of a field's type."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    if "const" in schema or "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
    return str(schema.get("type", "any"))
