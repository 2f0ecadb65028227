"""A service -> the web application: its routes, its errors, its pages."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi import Path as UrlPath
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from spladev3_anserini.errors import InputError, first_line
from spladev3_anserini.progress import log
from spladev3_anserini.serving.answers import Service, UnknownDocumentError
from spladev3_anserini.serving.catalog import UnknownIndexError
from spladev3_anserini.serving.contract import (
    REFUSALS,
    DocumentAnswer,
    ExplainRequest,
    Explanation,
    Health,
    SearchAnswer,
    SearchRequest,
    ServedIndexes,
)
from spladev3_anserini.serving.guard import Guard
from spladev3_anserini.serving.metrics import metrics_text
from spladev3_anserini.serving.openapi_page import openapi_page
from spladev3_anserini.serving.unambiguous import refuse_ambiguous
from spladev3_anserini.text import VERSION, one_line

#: The files of the page, and their types; no other name is ever served.
_PAGE = {"index.html": "text/html; charset=utf-8", "page.css": "text/css; charset=utf-8",
         "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}


def make_app(service: Service, hosts: Collection[str] | None = None) -> ASGIApp:
    """Returns the application, within its limits.

    Args:
        service: What answers.
        hosts: The names that a request may give the server in its Host header; None is any.
    """
    app = FastAPI(title="spladev3_anserini", version=VERSION, docs_url=None, redoc_url=None,
                  description="Search of impact indexes: hits, expansions, and why they match.",
                  responses=REFUSALS, dependencies=[Depends(refuse_ambiguous)])
    _add_errors(app)
    _add_answers(app, service)
    _add_pages(app)
    return Guard(app, service.limits, hosts)


def _add_answers(app: FastAPI, service: Service) -> None:
    @app.post("/search", response_model=SearchAnswer)
    async def search(body: SearchRequest) -> Response:
        """Search with a text or with impacts."""
        return _json(await service.search(body))

    @app.get("/search", response_model=SearchAnswer)
    async def search_by_url(
            q: Annotated[str, Query(description="The text of the query.")],
            index: str | None = None, fuse: Annotated[list[str] | None, Query()] = None,
            variant: str | None = None, hits: int = 10, texts: bool = True) -> Response:
        """Search with a text: the same as POST, for a browser or curl."""
        return _json(await service.search(SearchRequest(
            query=q, impacts=None, index=index, fuse=fuse, variant=variant, hits=hits,
            texts=texts)))

    @app.post("/explain", response_model=Explanation)
    async def explain(body: ExplainRequest) -> Response:
        """Say why a document has its score, term by term."""
        return _json(await service.explain(body))

    @app.get("/documents/{docid:path}", response_model=DocumentAnswer)
    async def document(docid: Annotated[str, UrlPath(min_length=1)],
                       index: str | None = None) -> Response:
        """Return a document's text and impacts."""
        return _json(await service.document(index, docid))

    @app.get("/models", response_model=ServedIndexes)
    async def models() -> Response:
        """List the indexes, and the variants that each can be asked with."""
        return _json(service.models())

    @app.get("/health", response_model=Health)
    async def health() -> Response:
        """Say that the server answers."""
        return _json({"status": "ok"})

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(metrics_text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_pages(app: FastAPI) -> None:
    folder = Path(__file__).parent / "page"
    files = {name: (folder / name).read_bytes() for name in _PAGE if (folder / name).is_file()}
    description = openapi_page(app)

    def page_file(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, f"{name}: no such file of the page")
        return Response(files[name], media_type=_PAGE[name])

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return page_file("index.html")

    @app.get("/page/{name}", include_in_schema=False)
    async def file_of_page(name: str) -> Response:
        return page_file(name)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(description, media_type="text/html; charset=utf-8")


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(UnknownIndexError)
    @app.exception_handler(UnknownDocumentError)
    async def unknown(_: Request, error: Exception) -> Response:
        return _json({"error": _plain(error)}, 404)

    @app.exception_handler(InputError)
    async def refused(_: Request, error: Exception) -> Response:
        return _json({"error": _plain(error)}, 422)

    @app.exception_handler(RequestValidationError)
    @app.exception_handler(ValidationError)
    async def invalid(request: Request, error: Any) -> Response:
        kind = request.headers.get("content-type", "")
        if request.method == "POST" and not kind.startswith("application/json"):
            return _json({"error": f"the body is of the type {kind[:60]!r}; send JSON, with the "
                                   "header content-type: application/json"}, 422)
        problem = error.errors()[0]
        # FastAPI's own errors say first where the field is: body, query or path
        place = problem["loc"][isinstance(error, RequestValidationError):]
        field = ".".join(map(str, place))[:100]
        words = str(problem["msg"]).removeprefix("Value error, ")
        return _json({"error": one_line(f"{field}: {words}" if field else words)}, 422)

    @app.exception_handler(HTTPException)
    async def failed(_: Request, error: Any) -> Response:
        return _json({"error": one_line(str(error.detail))}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        log.error("a request failed: %s: %s", type(error).__name__, first_line(error))
        return _json({"error": f"the server failed: {type(error).__name__}"}, 500)


def _plain(error: Exception) -> str:
    """Returns an error's text without the backticks around parameters, which are fields here."""
    return str(error).replace("`", "")


def _json(content: dict[str, Any], status: int = 200,
          headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(body.encode("utf-8", "backslashreplace"), status, headers,
                    media_type="application/json")
