"""An address -> the open index of an engine, through the engine's own client."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.errors import InputError
from spladev3_anserini.servers.qdrant_edge import open_qdrant_edge
from spladev3_anserini.servers.qdrant_server import connect_to_qdrant
from spladev3_anserini.servers.rest import connect_to_elasticsearch, connect_to_opensearch


class Connection(Protocol):
    """An index in an engine, which may not be there yet."""

    #: What messages call it: address and name.
    where: str

    def loaded_export(self) -> str | None:
        """Returns the `export_id` of what is loaded; None if there is no index.

        Raises InputError for an index that `load` did not make.
        """

    def create(self, setup: dict[str, Any], export: str) -> None:
        """Creates the index of an export and marks it with the `export_id`."""

    def refresh(self) -> None:
        """Makes `counts` see what an earlier load sent."""

    def counts(self, parts: int) -> list[int]:
        """Returns how many documents of each part the index holds, and in the end, how many in all.
        """

    def send(self, lines: Sequence[str], first: str) -> None:
        """Sends lines of a bulk file; documents that are there already are replaced.

        Raises InputError, beginning with `first`, the place of the first line, if one is refused.
        """

    def finish(self) -> None:
        """Makes what was sent searchable and durable."""

    def search(self, body: dict[str, Any], hits: int) -> Ranking:
        """Returns the best hits of a query, whose scores are floats and may be divided.

        Ties are ordered by id, also at the cut.
        """

    def close(self) -> None:
        """Closes it."""


def connect(engine: str, url: str, name: str) -> Connection:
    """Connects to an engine; nothing is created.

    Args:
        engine: The name of the engine.
        url: Its address. For Qdrant, an address without `://` is a folder of Qdrant Edge, which is
            Qdrant's own code in this process.
        name: The name of the index or collection; Qdrant Edge has one in each folder.

    Raises:
        InputError: The client is not installed, or the address cannot be reached.
    """
    local = "://" not in url
    if local and (engine != "qdrant" or re.search(r":\d+$", url)):
        raise InputError(f"`url` {url}: expected an address such as http://localhost:9200")
    if engine == "qdrant":
        return open_qdrant_edge(url) if local else connect_to_qdrant(url, name)
    return (connect_to_opensearch if engine == "opensearch"
            else connect_to_elasticsearch)(url, name)
