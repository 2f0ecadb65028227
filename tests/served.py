"""A server's app in this process: indexes of the tests, and clients that ask it without a socket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import TEXTS, write_corpus
from starlette.testclient import TestClient

import spladev3_anserini as splade
from spladev3_anserini.encoding.settings import EncoderSettings
from spladev3_anserini.serving.answers import Service
from spladev3_anserini.serving.app import make_app
from spladev3_anserini.serving.catalog import Catalog
from spladev3_anserini.serving.limits import Limits
from spladev3_anserini.serving.opened import OpeningOptions


def make_index(model: Path, folder: Path, texts: Mapping[str, str] = TEXTS, *,
               store_texts: bool = False, name: str = "index") -> Path:
    """Builds `folder/name`, an index of texts; an index of that name is replaced."""
    corpus = write_corpus(folder / f"{name}.jsonl", texts)
    splade.load(model).index(corpus, folder / name, overwrite=True, store_texts=store_texts).close()
    return folder / name


@contextmanager
def serving(folders: Mapping[str, Path], *, limits: Limits | None = None, table: Path | None = None,
            lucene: bool = False) -> Iterator[Service]:
    """A service of open indexes, closed after the block."""
    settings = EncoderSettings(query_weights=None if table is None else str(table))
    catalog = Catalog(folders, OpeningOptions(settings=settings, lucene=lucene))
    service = Service(catalog, limits or Limits())
    try:
        yield service
    finally:
        service.close()
        catalog.close()


@contextmanager
def client_of(folders: Mapping[str, Path], **options: Any) -> Iterator[TestClient]:
    """A client of the app of open indexes."""
    with serving(folders, **options) as service, \
            TestClient(make_app(service), raise_server_exceptions=False) as client:
        yield client


def error_of(answer: Any, status: int) -> str:
    """The error of a refused request: one line of JSON and nothing else."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    error = answer.json()["error"]
    assert error
    assert "\n" not in error
    assert "Traceback" not in error
    return str(error)
