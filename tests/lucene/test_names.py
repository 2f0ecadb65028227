"""The folder that a name means is the same for Python and for Java."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Result, write_lines
from indexes import Corpus, index_of

from spladev3_anserini.lucene import anserini
from spladev3_anserini.lucene.anserini import run_indexer
from spladev3_anserini.lucene.build import build_index
from spladev3_anserini.lucene.check import check_index, statistics
from spladev3_anserini.lucene.opening import open_postings, open_searcher

ONE: Corpus = [("one", {"a": 1}), ("é", {"a": 3})]
TWO: Corpus = [("two", {"a": 7})]


def best(index: Path) -> tuple[str, float]:
    searcher, record = open_searcher(index)
    try:
        assert record is not None
        assert record.encoded.documents == statistics(index).documents
        return searcher.search({"a": 1}, 1)[0]
    finally:
        searcher.close()


@pytest.mark.fault(22, "a relative index path after os.chdir, an index of the same name in both"
                   " folders", then="the hits of the index in the new folder",
                   detected="Java gets absolute names only")
def test_a_relative_name_after_chdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Java started in another folder than both, which it keeps."""
    for folder, corpus in (("one", ONE), ("two", TWO)):
        index_of(corpus, tmp_path / folder)
    index = Path("index")
    for folder, hit in (("one", ("é", 3)), ("two", ("two", 7)), ("one", ("é", 3))):
        monkeypatch.chdir(tmp_path / folder)
        assert best(index) == hit
        with open_postings(index) as postings:
            assert postings.vector(hit[0]) == {"a": hit[1]}
        check_index(index)
    monkeypatch.chdir(tmp_path / "two")
    (index / "segments_1").write_bytes(b"damaged")
    assert best(Path("../one/index")) == ("é", 3)
    # Anserini would take @encoded for a file of arguments
    shutil.copytree("encoded", "@encoded")
    build_index(Path("@encoded"), Path("@index"))
    assert best(Path("@index")) == ("two", 7)


def test_a_collection_below_path_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anserini 1.7.1 reads `collections/x` where it is asked to read /path/to/x."""
    commands: list[Any] = []

    def record(command: list[str], **_: object) -> None:
        commands.extend(command)
        raise InterruptedError

    monkeypatch.setattr(anserini.subprocess, "Popen", record)
    with pytest.raises(InterruptedError):
        run_indexer("JsonVectorCollection", Path("/path/to/x"), tmp_path / "index", 1, [], 1)
    given = commands[commands.index("-input") + 1]
    assert not given.startswith("/path/to")
    assert os.path.normpath(given) == "/path/to/x"


@pytest.mark.fault(20, "a corpus or an index in a folder whose name is not UTF-8",
                   detected="before any work; Java cannot open it")
def test_names_that_java_cannot_open(tmp_path: Path, refused: Callable[..., str], cli: Callable[
        ..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    index = index_of(TWO, tmp_path / "sound")
    bad = tmp_path / os.fsdecode(b"bad\xff")
    shutil.copytree(tmp_path / "sound", bad)
    topics = write_lines(tmp_path / "topics.tsv", ["q\ta"])
    for command in (("index", "--encoded", bad / "encoded", "--index", tmp_path / "new"),
                    ("index", "--encoded", index.parent / "encoded", "--index", bad / "new"),
                    ("index", "--encoded", index.parent / "encoded", "--index", bad / "index"),
                    ("search", "--index", bad / "index", "--topics", topics, "--output",
                     tmp_path / "run", "--lucene"),
                    ("verify", bad / "index")):
        assert "Java cannot open a name that is not UTF-8; rename it" in refused(*command)
    assert sorted(path.name for path in bad.iterdir()) == ["encoded", "index"]
    monkeypatch.chdir(bad)  # a relative name means a folder in it, an absolute one does not
    assert "not UTF-8" in refused("verify", "index")
    assert cli("verify", index).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad\udcff", "sound", "topics.tsv"]
