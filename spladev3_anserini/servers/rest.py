"""OpenSearch and Elasticsearch through their official clients."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from spladev3_anserini.collection.runs import Ranking
from spladev3_anserini.errors import InputError, import_optional, refusing
from spladev3_anserini.servers.feature_fields import PAGE
from spladev3_anserini.text import one_line, shortened

#: The key of the mapping's `_meta` that holds the `export_id`.
_META = "spladev3_anserini_export"
#: The environment variable of the key that Elasticsearch and Qdrant ask for.
API_KEY = "SPLADEV3_API_KEY"
#: Seconds before a document is sent again that the server had no room for.
_PAUSES = (1, 4, 16)
_NO_ROOM = 429


class RestIndex:
    """An index of OpenSearch or Elasticsearch; see `Connection`. Threads may share it."""

    def __init__(self, client: Any, url: str, name: str) -> None:
        self._client, self._name = client, name
        self.where = f"{one_line(url)}, index {name}"

    def loaded_export(self) -> str | None:
        """Returns the export that is loaded; see `Connection`."""
        with refusing(self.where):
            if not self._client.indices.exists(index=self._name):
                return None
            answer = self._client.indices.get_mapping(index=self._name)
            (index,) = answer.values()
            export = (index["mappings"].get("_meta") or {}).get(_META)
        if export is None:
            raise InputError(f"{self.where}: exists and was not made by load; choose another "
                             "`name`")
        return str(export)

    def create(self, setup: dict[str, Any], export: str) -> None:
        """Creates the index, with the export's id in its mapping."""
        mappings = setup["mappings"] | {"_meta": {_META: export}}
        with refusing(self.where):
            self._client.indices.create(index=self._name, body=setup | {"mappings": mappings})

    def refresh(self) -> None:
        """Makes `counts` see what an earlier load sent; a user who only searches may not."""
        with refusing(self.where):
            self._client.indices.refresh(index=self._name)

    def counts(self, parts: int) -> list[int]:
        """Returns the documents of each part, and of all."""
        queries = [*({"term": {"part": part}} for part in range(parts)), {"match_all": {}}]
        with refusing(self.where):
            return [int(self._client.count(index=self._name, body={"query": query})["count"])
                    for query in queries]

    def send(self, lines: Sequence[str], first: str) -> None:
        """Sends documents, two lines each; those that the server has no room for again, later."""
        waiting = list(lines)
        for pause in (*_PAUSES, None):
            with refusing(f"{first}: {self.where}"):
                answer = self._client.bulk(index=self._name, body=waiting)
                items = [item["index"] for item in answer["items"]]
                failed = [place for place, item in enumerate(items) if item["status"] >= 300]
            for place in failed:
                item = items[place]
                if item["status"] != _NO_ROOM or pause is None:
                    raise InputError(f"{first}: {self.where}: refuses the document "
                                     f"{item.get('_id')!r}: {_reason(item)}")
            if len(items) * 2 != len(waiting):
                raise InputError(f"{first}: {self.where}: answers for {len(items)} documents of "
                                 f"{len(waiting) // 2}")
            if not failed or pause is None:
                return
            waiting = [line for place in failed for line in waiting[2 * place : 2 * place + 2]]
            time.sleep(pause)

    def finish(self) -> None:
        """Switches on the refresh that the mapping switched off, and refreshes."""
        with refusing(self.where):
            self._client.indices.put_settings(index=self._name,
                                              body={"index": {"refresh_interval": None}})
            self._client.indices.refresh(index=self._name)

    def search(self, body: dict[str, Any], hits: int) -> Ranking:
        """Returns the best hits, page after page; the query sorts by score and id."""
        found: Ranking = []
        after: list[Any] | None = None
        while len(found) < hits:
            size = min(PAGE, hits - len(found))
            page = body | {"size": size} | ({"search_after": after} if after else {})
            with refusing(self.where):
                answer = self._client.search(index=self._name, body=page)
                if answer.get("timed_out") or answer["_shards"]["failed"]:
                    raise InputError(f"{self.where}: a part of the index did not answer; the hits "
                                     "would not be complete")
                rows = answer["hits"]["hits"]
                found += [(str(row["_id"]), float(row["_score"])) for row in rows]
                if len(rows) < size:
                    break
                after = rows[-1]["sort"]
        return found

    def close(self) -> None:
        """Closes the client's connections."""
        self._client.close()


def _reason(item: Any) -> str:
    error = item.get("error", {})
    text = error.get("reason", error) if isinstance(error, dict) else error
    return shortened(one_line(str(text)), 200)


def connect_to_opensearch(url: str, name: str) -> RestIndex:
    """Returns an index of OpenSearch; user and password may stand in the address."""
    client = import_optional("opensearchpy", "OpenSearch", "opensearch")
    with refusing(f"`url` {url}"):
        return RestIndex(client.OpenSearch(
            hosts=[url], timeout=120, max_retries=3, retry_on_timeout=True,
            retry_on_status=(429, 502, 503, 504)), url, name)


def connect_to_elasticsearch(url: str, name: str) -> RestIndex:
    """Returns an index of Elasticsearch; user and password may stand in the address."""
    client = import_optional("elasticsearch", "Elasticsearch", "elasticsearch")
    with refusing(f"`url` {url}"):
        return RestIndex(client.Elasticsearch(
            url, request_timeout=120, max_retries=3, retry_on_timeout=True,
            retry_on_status=(429, 502, 503, 504), api_key=os.environ.get(API_KEY)), url, name)
