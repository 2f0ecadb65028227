"""Exports and loads that are killed or meet a full disk: whole or not there, and the same once run again."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from breaking import Break, one_line
from exports import encode_both
from reliability import draws, tried

from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.query import EncodedTopic
from spladev3_anserini.servers.connection import connect
from spladev3_anserini.servers.export import export_to
from spladev3_anserini.servers.load import load_export
from spladev3_anserini.servers.searching import search_engine

DOCUMENTS = [(f"d{n}", {".": 1 + n % 9, f"t{n % 50}": 1 + n % 300}) for n in range(3000)]
QUERIES = {"q1": {".": 7, "t3": 100}, "q2": {"t4": 1, "t5": 2}}


def whole(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.fault(10, "export-to killed (kill -9) at a random file operation, or on a full disk, run again",
                   then="nothing under its name, then the same bytes", detected="the folder appears whole")
@pytest.mark.parametrize("how", ["kill", "full"])
def test_an_export_appears_whole(how: str, breaking: Break, chance: random.Random, tmp_path: Path) -> None:
    encoded, queries = encode_both(tmp_path, DOCUMENTS[:40], QUERIES)
    folder = tmp_path / "place" / "export"
    command = ("export-to", "opensearch", "--encoded", encoded, "--queries", queries, "--output", folder)
    done = breaking(folder.parent, *command)
    assert done.code == 0, done
    expected = whole(folder)
    for _ in range(draws(4)):
        shutil.rmtree(folder.parent)
        broken = breaking(folder.parent, *command, how=how, event=chance.randrange(1, len(done.events)))
        if how == "kill":
            assert broken.code == -signal.SIGKILL
        elif broken.code:  # not where the last events only remove
            assert broken.code == 2
            assert "No space left on device" in one_line(broken.out.splitlines()[-1])
        assert not folder.exists() or whole(folder) == expected
        shutil.rmtree(folder, ignore_errors=True)
        assert breaking(folder.parent, *command).code == 0
        assert whole(folder) == expected
        assert [path.name for path in folder.parent.iterdir()] == ["export"]
        tried()


@pytest.mark.fault(10, "a load into Qdrant Edge killed (kill -9) at a random time, run again",
                   then="the oracle's documents, scores and order", detected="the engine's count of each part")
def test_a_killed_load_continues(breaking: Break, chance: random.Random, tmp_path: Path) -> None:
    encoded, _ = encode_both(tmp_path, DOCUMENTS, QUERIES, shards=6)
    folder, oracle = tmp_path / "export", ExactSearcher(DOCUMENTS)
    record = export_to("qdrant", encoded, folder)
    for number in range(draws(4)):
        edge = tmp_path / f"edge{number}"
        killed = breaking(edge, "load", folder, "--url", edge, how="kill", after=chance.uniform(0.1, 1.2))
        assert killed.code in (0, -signal.SIGKILL), killed
        index = connect("qdrant", str(edge), "splade")
        load_export(folder, record, index)
        topics = [EncodedTopic(name, query) for name, query in QUERIES.items()]
        assert dict(search_engine(folder, record, index, topics, 100, 1)) == {
            name: oracle.search(query, 100) for name, query in QUERIES.items()}
        index.close()
        tried()


def test_nothing_of_the_user_is_replaced(tmp_path: Path, refused: Callable[..., str]) -> None:
    encoded, queries = encode_both(tmp_path, [("d1", {"a": 1})], {"q": {"a": 1}})
    out = tmp_path / "export"
    export_to("qdrant", encoded, out)
    for name, source in (("encoded", encoded), ("queries", queries)):
        shutil.copytree(source, out / name)
    again = ("export-to", "qdrant", "--output", out, "--overwrite", "--encoded")
    assert "is inside --output, which would be replaced" in refused(*again, out / "encoded")
    assert "is inside --output" in refused(*again, encoded, "--queries", out / "queries")
    assert f"{out / 'encoded'}: is not of the export; move it away" in refused(*again, encoded)
    assert (out / "queries" / "manifest.json").exists()


def test_a_link_leads_to_the_export(tmp_path: Path) -> None:
    encoded, _ = encode_both(tmp_path, [("d1", {"a": 1})], {"q": {"a": 1}})
    (tmp_path / "big").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "big")
    for overwrite in (False, True):
        export_to("qdrant", encoded, tmp_path / "out", overwrite=overwrite)
        assert (tmp_path / "out").is_symlink()
        assert (tmp_path / "big" / "export.json").exists()
