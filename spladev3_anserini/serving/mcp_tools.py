"""A service -> tools of the Model Context Protocol, on standard input and output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field, ValidationError

from spladev3_anserini.errors import SpladeError, first_problem
from spladev3_anserini.serving.answers import Service
from spladev3_anserini.serving.contract import SearchRequest
from spladev3_anserini.text import VERSION

#: Characters of a hit's text, where `get_document` has the whole; terms of a document.
_SHOWN, _TERMS = 2000, 20

_Question = Annotated[str, Field(description="The question, in plain words.")]
_Index = Annotated[str | None, Field(description="The name of an index; the first by default.")]
_Hits = Annotated[int, Field(description="The most documents.")]
_Document = Annotated[str, Field(description="The id, as a hit of search has it.")]


def make_tools(service: Service) -> MCPServer[Any]:
    """Returns a server of the tools `search` and `get_document`."""
    server: MCPServer[Any] = MCPServer(
        "spladev3-anserini", version=VERSION, log_level="WARNING",
        instructions="Search of document collections: search for passages, then get documents.")
    names = ", ".join(row["name"] for row in service.models()["indexes"])

    @server.tool(description="Search a collection for the documents that match a question best. "
                             f"Its indexes: {names}.")
    async def search(query: _Question, index: _Index = None, hits: _Hits = 10) -> dict[str, Any]:
        with _tool_errors():
            answer = await service.search(SearchRequest(
                query=query, impacts=None, index=index, fuse=None, variant=None, hits=hits,
                texts=True))
        return {"index": answer["index"], "hits": [
            {"docid": hit["docid"], "score": hit["score"], "text": _beginning(hit["text"])}
            for hit in answer["hits"]]}

    @server.tool(description=f"Return the whole text of a document by its id. Indexes: {names}.")
    async def get_document(docid: _Document, index: _Index = None) -> dict[str, Any]:
        with _tool_errors():
            answer = await service.document(index, docid)
        return {"docid": docid, "text": answer["text"],
                "terms": [row["term"] for row in answer["impacts"][:_TERMS]]}

    return server


@contextmanager
def _tool_errors() -> Iterator[None]:
    """Turns what the service refuses into one line for the assistant."""
    try:
        yield
    except ValidationError as error:
        raise ToolError(first_problem(error)) from None
    except SpladeError as error:
        raise ToolError(str(error)) from None


def run_tools(service: Service) -> None:
    """Serves the tools on standard input and output until the input ends."""
    make_tools(service).run("stdio")


def _beginning(text: str | None) -> str | None:
    return text if text is None or len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
