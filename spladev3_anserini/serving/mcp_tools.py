"""A service -> tools of the Model Context Protocol, on standard input and output."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field, ValidationError

from spladev3_anserini.errors import SpladeError, first_problem
from spladev3_anserini.serving.answers import Service
from spladev3_anserini.serving.contract import SearchRequest
from spladev3_anserini.text import VERSION

#: Characters of a hit's text; `get_document` has the whole.
_SHOWN = 2000


def make_tools(service: Service) -> MCPServer[Any]:
    """Returns a server of the tools `search` and `get_document`."""
    server: MCPServer[Any] = MCPServer(
        "spladev3-anserini", version=VERSION, log_level="WARNING",
        instructions="Search of document collections: search for passages, then get documents.")
    names = [row["name"] for row in service.models()["indexes"]]
    known = f"one of {', '.join(names)}; the first by default"

    @server.tool(description=f"Search a collection for the documents that match a question best. "
                             f"The index is {known}.")
    async def search(
            query: Annotated[str, Field(description="The question, in plain words.")],
            index: Annotated[str | None, Field(description=f"The index, {known}.")] = None,
            hits: Annotated[int, Field(description="The most documents.")] = 10) -> dict[str, Any]:
        try:
            answer = await service.search(SearchRequest(query=query, impacts=None, index=index,
                                                        fuse=None, variant=None, hits=hits,
                                                        texts=True))
        except ValidationError as error:
            raise ToolError(first_problem(error)) from None
        except SpladeError as error:
            raise ToolError(str(error)) from None
        return {"index": answer["index"], "hits": [
            {"docid": hit["docid"], "score": hit["score"], "text": _beginning(hit["text"])}
            for hit in answer["hits"]]}

    @server.tool(description=f"Return the whole text of a document by its id. The index is "
                             f"{known}.")
    async def get_document(
            docid: Annotated[str, Field(description="The id, as a hit of search has it.")],
            index: Annotated[str | None, Field(description=f"The index, {known}.")] = None
    ) -> dict[str, Any]:
        try:
            answer = await service.document(index, docid)
        except SpladeError as error:
            raise ToolError(str(error)) from None
        return {"docid": docid, "text": answer["text"],
                "terms": [row["term"] for row in answer["impacts"][:20]]}

    return server


def run_tools(service: Service) -> None:
    """Serves the tools on standard input and output until the input ends."""
    make_tools(service).run("stdio")


def _beginning(text: str | None) -> str | None:
    return text if text is None or len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
