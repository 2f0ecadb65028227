"""An index that is replaced while it is asked: each answer is wholly of one build."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import monotonic, sleep
from typing import Any

import pytest
from conftest import TEXTS, make_tiny
from served import client_of, make_index
from starlette.testclient import TestClient

from spladev3_anserini.engine.searcher import EngineSearcher
from spladev3_anserini.errors import InputError
from spladev3_anserini.lucene.publish import publish
from spladev3_anserini.serving import catalog as catalogs
from spladev3_anserini.serving import opened
from spladev3_anserini.serving.opened import OpeningOptions, ServedImpacts

ONE = {i: text for i, text in TEXTS.items() if text.strip()}
OTHER = {i: f"{text} cat wing" for i, text in ONE.items()}


@pytest.fixture(scope="module")
def builds(tiny: Path, tmp_path_factory: pytest.TempPathFactory, _indexes_here: object) -> list[Path]:
    """Two indexes of the same ids: other texts, another model."""
    folder = tmp_path_factory.mktemp("builds")
    second = make_tiny(folder / "model", seed=1)
    return [make_index(tiny, folder, ONE, store_texts=True, name="one"),
            make_index(second, folder, OTHER, store_texts=True, name="other")]


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogs, "_LOOK", 0.02)


@pytest.fixture
def index(builds: list[Path], tmp_path: Path) -> Path:
    shutil.copytree(builds[0], tmp_path / "index")
    return tmp_path / "index"


def replace_by(build: Path, index: Path) -> None:
    """Has a copy of a build take the place of the index, in one step, as `index` does it."""
    fresh = index.with_name("fresh")
    shutil.copytree(build, fresh)
    publish(fresh, index)
    shutil.rmtree(fresh)


def until(happens: Callable[[], bool]) -> None:
    end = monotonic() + 60
    while not happens():
        assert monotonic() < end
        sleep(0.01)


def answers(client: TestClient) -> Iterator[dict[str, Any]]:
    """All kinds of answers to one question, without their times."""
    found = client.get("/search", params={"q": "the cat on a wing"}).json()
    found.pop("milliseconds", None)
    yield found
    yield client.post("/explain", json={"query": "the cat", "docid": "d1"}).json()
    yield client.get("/documents/d1").json()


@pytest.mark.fault(20, "an index that is replaced while the server is asked by many threads",
                   then="each answer is wholly of the old or of the new one",
                   detected="a build is opened whole, and held from a request's start to its end")
@pytest.mark.parametrize("lucene", [False, True], ids=["arrays", "lucene"])
def test_no_answer_is_of_two_builds(builds: list[Path], index: Path, lucene: bool) -> None:
    expected = []
    for build in builds:
        with client_of({"index": build}, lucene=lucene) as client:
            expected.append([*answers(client)])
    assert all(one != other for one, other in zip(*expected, strict=True))
    stop, seen = Event(), [set[int](), set[int](), set[int]()]
    with client_of({"index": index}, lucene=lucene) as client, ThreadPoolExecutor(4) as pool:

        def ask() -> int:
            count = 0
            while not stop.is_set():
                for kind, answer in enumerate(answers(client)):
                    seen[kind].add(next((place for place, of in enumerate(expected)
                                         if answer == of[kind]), -1))
                    count += 1
            return count

        asking = [pool.submit(ask) for _ in range(4)]
        try:
            for build in (1, 0, 1):
                for kinds in seen:
                    kinds.clear()
                replace_by(builds[build], index)
                until(lambda build=build: next(answers(client)) == expected[build][0])  # type: ignore[misc]
        finally:
            stop.set()
        assert sum(future.result() for future in asking) > 20
        assert set.union(*seen) <= {0, 1}, seen
        assert [*answers(client)] == expected[1]
        assert 'splade_index_replacements_total{index="index",result="taken"}' in client.get("/metrics").text


@pytest.mark.fault(20, "a server's index that is replaced by a damaged one, or taken away",
                   then="the old one goes on, with a line and a metric", detected="it is opened before it is used")
def test_a_damaged_index_does_not_take_the_place(builds: list[Path], index: Path,
                                                 capfd: pytest.CaptureFixture[str]) -> None:
    with client_of({"index": index}) as client:
        before = [*answers(client)]

        def refused() -> float:
            name = 'splade_index_replacements_total{index="index",result="refused"} '
            return float((client.get("/metrics").text.partition(name)[2].split() or ["0"])[0])

        count = refused()
        damaged = index.with_name("damaged")
        shutil.copytree(builds[1], damaged)
        file = damaged / "engine.impacts.npy"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        replace_by(damaged, index)
        until(lambda: refused() > count)
        assert [*answers(client)] == before
        shutil.rmtree(index)
        until(lambda: refused() > count + 1)
        assert [*answers(client)] == before
        err = capfd.readouterr().err
        assert "the new index cannot be opened; the old one goes on" in err
        assert "engine.impacts.npy: changed since the index was built (sha256)" in err
        shutil.copytree(builds[1], index)
        until(lambda: [*answers(client)] != before)
        assert client.get("/documents/d1").json()["text"] == OTHER["d1"]


def test_an_index_that_is_not_opened_whole_is_closed(index: Path, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher tries such an index again and again."""
    closed: list[str] = []
    monkeypatch.setattr(EngineSearcher, "close", lambda searcher: closed.append(searcher.name))
    with pytest.raises(InputError, match="nowhere"):
        ServedImpacts(index, OpeningOptions(model=str(tmp_path / "nowhere")))
    assert len(closed) == 1


@pytest.mark.parametrize("kind", ["ServedImpacts", "Bm25Searcher"])
def test_an_index_that_is_replaced_while_it_is_opened_is_closed(
        kind: str, builds: list[Path], index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    class Opened:
        def __init__(self, *_: object) -> None:
            replace_by(builds[1], index)

        def close(self) -> None:
            closed.append(kind)

    monkeypatch.setattr(opened, kind, Opened)
    if kind == "Bm25Searcher":
        monkeypatch.setattr(opened, "recorded_manifest", lambda _: None)
        monkeypatch.setattr(opened, "is_bm25_index", lambda _: True)
    with pytest.raises(InputError, match="was replaced while it was opened"):
        opened.open_served(index, OpeningOptions())
    assert closed == [kind]
