"""`verify` and `index` hold the exact engine and Lucene to each other."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Result
from indexes import assert_equal, index_of
from signed import signed

from spladev3_anserini.engine.arrays import array_file
from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.lucene.check import INDEX_MANIFEST
from spladev3_anserini.lucene.opening import open_searcher

Cli = Callable[..., Result]
DRAW = random.Random(4)
DOCUMENTS = [(f"d{n}", {f"t{t}": DRAW.randint(1, 5) for t in DRAW.sample(range(20), 4)} | {"all": 1})
             for n in range(80)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return index_of(DOCUMENTS, tmp_path_factory.mktemp("agreement"))


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "index"))


def replace_array(index: Path, name: str, values: object) -> None:
    """Other values in an array, with a manifest that agrees."""
    file = array_file(index, name)
    np.save(file, values)
    record = json.loads((index / INDEX_MANIFEST).read_text())
    for entry in record["files"]:
        if entry["name"] == file.name:
            entry |= {"size": file.stat().st_size, "sha256": sha256_of(file)}
    (index / INDEX_MANIFEST).write_text(json.dumps(signed(record)))


def test_a_sound_index_agrees(index: Path, cli: Cli) -> None:
    shown = cli("verify", index)
    assert (shown.code, "the exact engine and Lucene agree on 50 sampled queries" in shown.out) == (0, True)


@pytest.mark.fault(12, "arrays of the exact engine with other impacts, past every hash",
                   detected="their counts; Lucene's hits")
def test_other_impacts_are_found(index: Path, cli: Cli) -> None:
    impacts = np.load(array_file(index, "impacts"))
    replace_array(index, "impacts", impacts + 1)
    shown = cli("verify", index)
    assert (shown.code, "does not hold what was encoded: total terms" in shown.err) == (1, True)
    replace_array(index, "impacts", np.roll(impacts, 1))
    shown = cli("verify", index)
    assert (shown.code, "the exact engine and Lucene disagree on the query {" in shown.err) == (1, True)


@pytest.mark.fault(14, "arrays of a format of another version", then="Lucene answers, and says why",
                   detected="the version in the manifest")
def test_arrays_of_another_format_are_left_to_lucene(index: Path, cli: Cli) -> None:
    record = json.loads((index / INDEX_MANIFEST).read_text())
    record["versions"]["engine"] = "2"
    (index / INDEX_MANIFEST).write_text(json.dumps(signed(record)))
    searcher, _ = open_searcher(index)
    assert searcher.name.endswith("(its arrays are of format 2, the exact engine reads format 1)")
    searcher.close()
    assert "; its arrays are of format 2" in cli("verify", index).out


def test_an_index_without_arrays_is_lucenes_and_gets_them_from_the_same_command(
        built: Path, tmp_path: Path, cli: Cli) -> None:
    words = ("index", "--encoded", built.parent / "encoded", "--index", tmp_path / "index")
    assert "of arrays" not in cli(*words, "--no-engine").out
    searcher, _ = open_searcher(tmp_path / "index")
    assert searcher.name.endswith("(the index has no arrays for the exact engine)")
    searcher.close()
    assert "was there already" in cli(*words, "--no-engine").out
    assert "was there already" not in (again := cli(*words)).out
    assert again.code == 0
    assert "MB of arrays for the exact engine (" in again.out
    assert "was there already" in cli(*words).out
    assert_equal(tmp_path / "index", DOCUMENTS, [{"all": 2, "t3": 1}, {"t1": 1, "t2": 2}], 50)


def test_without_numba_lucene_answers(index: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "spladev3_anserini.engine.searcher", raising=False)
    monkeypatch.delitem(sys.modules, "spladev3_anserini.engine.kernel", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    searcher, _ = open_searcher(index)
    assert "(the exact engine needs numba: " in searcher.name
    assert searcher.name.endswith("pip install 'spladev3-anserini[fast]')")
    searcher.close()
    assert "its arrays were counted and not searched: Lucene" in cli("verify", index).out


def test_where_numba_fails_lucene_answers(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cache is damaged, its LLVM does not fit: it raises anything."""
    from spladev3_anserini.engine import searcher as engine

    def fails(*_: object) -> None:
        raise EOFError("Ran out of input")

    monkeypatch.setattr(engine, "best_keys", fails)
    searcher, _ = open_searcher(index)
    assert searcher.name.endswith("(numba does not compile the exact engine: Ran out of input)")
    searcher.close()


@pytest.mark.fault(12, "an array's head damaged, and the index opened with --trust",
                   detected="NumPy does not read it")
def test_a_damaged_head(index: Path) -> None:
    file = array_file(index, "starts")
    file.write_bytes(b"x" * 20 + file.read_bytes()[20:])
    with pytest.raises(InputError, match=r"engine\.starts\.npy: not an array: "):
        open_searcher(index, trust=True)


@pytest.mark.fault(12, "arrays of other shapes, types or another index, past every hash",
                   then="exit 2, and no array is read beyond its end", detected="their shapes")
def test_arrays_that_are_not_of_one_index(index: Path, cli: Cli) -> None:
    good = {name: np.load(array_file(index, name))
            for name in ("documents", "impacts", "starts", "largest", "id_starts")}
    for name, wrong in (("documents", good["documents"][:-1]), ("documents", good["documents"] * 1.0),
                        ("impacts", good["impacts"].astype(">u2")), ("impacts", np.array(5)),
                        ("starts", good["starts"][:1]), ("starts", good["starts"][:, :0]),
                        ("starts", good["starts"] + 7), ("largest", good["largest"][:0]),
                        ("id_starts", good["id_starts"][:5]), ("id_starts", good["id_starts"] * 9)):
        replace_array(index, name, wrong)
        with pytest.raises(InputError, match=r"index: its engine\.\* are not of one index; build it"):
            open_searcher(index)
        replace_array(index, name, good[name])
    replace_array(index, "starts", good["starts"][:, 1:])
    assert ((shown := cli("verify", index)).code, "are not of one index" in shown.err) == (1, True)
