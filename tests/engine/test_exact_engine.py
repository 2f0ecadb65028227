"""The exact engine held to the oracle of impacts/exact.py, on arrays that it builds."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from indexes import Corpus
from reliability import draws

from spladev3_anserini.engine import arrays, build, postings, searcher
from spladev3_anserini.engine.arrays import EngineArrays, array_file, open_arrays
from spladev3_anserini.engine.build import ArrayBuilder, merge_arrays
from spladev3_anserini.engine.kernel import keep_best
from spladev3_anserini.engine.postings import EnginePostings
from spladev3_anserini.engine.searcher import EngineSearcher
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.quantize import MAX_IMPACT
from spladev3_anserini.impacts.shards import ImpactDocument


def arrays_of(documents: Corpus, folder: Path) -> Path:
    """The arrays of documents given as impacts."""
    folder.mkdir(parents=True)
    with ArrayBuilder(folder) as builder:
        passed = list(builder.passing(ImpactDocument(i, "", v) for i, v in documents))
        builder.write(folder, folder)
    assert [(document.id, document.vector) for document in passed] == documents
    return folder


def engine_of(documents: Corpus, folder: Path) -> EngineSearcher:
    """The engine on the arrays of documents."""
    return EngineSearcher(open_arrays(arrays_of(documents, folder / "index")))


def set_block(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Makes blocks of another size, so that a small collection has many."""
    for module in (arrays, build, postings, searcher):
        monkeypatch.setattr(module, "BLOCK", size)


def random_corpus(draw: random.Random, count: int, top: int) -> Corpus:
    """Documents with ties; a document without a term, and a term in all others."""
    documents = [(f"{draw.choice(['d', 'é', '😀', '-'])}{number}",
                  {f"t{term}": draw.randint(1, top)
                   for term in draw.sample(range(30), draw.randint(1, 6))} | {"all": 1})
                 for number in range(count)]
    draw.shuffle(documents)
    return [*documents, ("empty", {})]


def random_query(draw: random.Random, top: int) -> dict[str, int]:
    """Known and unknown terms, some of weight 0, and now and then the term of all documents."""
    query = {f"t{term}": draw.randint(0, top)
             for term in draw.sample(range(33), draw.randint(0, 12))}
    return query | ({"all": draw.randint(1, top)} if draw.random() < 0.3 else {})


@pytest.mark.fault(13, "random collections and queries for the exact engine: ties, many blocks, absent"
                   " terms, weight 0, more hits than documents, up to 64 threads",
                   then="the oracle's documents, scores and order",
                   detected="impacts/exact.py")
@pytest.mark.parametrize("seed", range(draws(12, 0.1)))
def test_random_collections(seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    draw = random.Random(seed)
    set_block(monkeypatch, draw.choice([16, 100, 256, 1000]))
    count, top = draw.choice([1, 7, 300, 2500]), draw.choice([1, 3, 255, 256, MAX_IMPACT])
    documents = random_corpus(draw, count, top)
    engine, oracle = engine_of(documents, tmp_path), ExactSearcher(documents)
    asked = [random_query(draw, draw.choice([1, 5, top])) for _ in range(50)]
    for hits in (1, 10, 99, 100, 10**5):
        expected = [oracle.search(query, hits) for query in asked]
        assert engine.search_all(asked, hits, draw.choice([1, 2, 64])) == expected
    assert engine.search(asked[0], 0) == []


def test_ten_thousand_queries_with_ties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_block(monkeypatch, 64)
    draw = random.Random(17)
    documents = random_corpus(draw, 400, 2)
    engine, oracle = engine_of(documents, tmp_path), ExactSearcher(documents)
    asked = [random_query(draw, 2) for _ in range(10_000)]
    assert engine.search_all(asked, 20, 2) == [oracle.search(query, 20) for query in asked]


def test_more_documents_than_a_block(tmp_path: Path) -> None:
    draw = random.Random(3)
    documents = [(f"d{number}", {"all": 1} | {f"t{draw.randrange(400)}": draw.randint(1, 300)
                                              for _ in range(2)})
                 for number in range(140_000)]
    engine, oracle = engine_of(documents, tmp_path), ExactSearcher(documents)
    asked = [{f"t{draw.randrange(400)}": draw.randint(1, 300) for _ in range(12)} for _ in range(20)]
    for query in [*asked, {"all": 2}, {"all": 1} | asked[0]]:
        for hits in (10, 1000):
            assert engine.search(query, hits) == oracle.search(query, hits)


@pytest.mark.fault(13, "scores beyond 2^24, 2^31 and 2^46", then="the oracle's scores",
                   detected="impacts/exact.py")
def test_large_scores_are_exact(tmp_path: Path) -> None:
    """The last query leaves a key room for the documents of one block only, and there are two."""
    wide = {f"w{number}": MAX_IMPACT for number in range(70_000)}
    documents = [(f"d{number}", {"a": 1 + number % 7}) for number in range(66_000)]
    documents += [("e1", wide), ("e2", wide | {"w0": MAX_IMPACT - 1}), ("a0", dict(wide, a=9)),
                  ("x", {"a": MAX_IMPACT, "w0": MAX_IMPACT, "w1": MAX_IMPACT - 1})]
    engine, oracle = engine_of(documents, tmp_path), ExactSearcher(documents)
    for query in ({"a": 1000, "w0": 3}, {"a": MAX_IMPACT, "w0": MAX_IMPACT, "w1": MAX_IMPACT},
                  dict.fromkeys(wide, MAX_IMPACT) | {"a": 5}):
        found = engine.search(query, 50)
        assert found == oracle.search(query, 50)
    assert found[0][1] > 1 << 46
    with pytest.raises(InputError, match="`query`: a document could score 150"):
        engine.search(dict.fromkeys(wide, 2 * MAX_IMPACT), 10)


def test_more_documents_than_lucene_can_number(tmp_path: Path) -> None:
    """2^31 documents and more, of which five have a posting; the files of the others are holes."""
    count, numbers = (1 << 31) + 70_000, [5, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 31) + 69_999]
    blocks = -(-count // arrays.BLOCK)
    starts = np.zeros((blocks + 1, 1), np.int64)
    largest = np.zeros((blocks, 1), np.uint16)
    for number in numbers:
        starts[number // arrays.BLOCK + 1 :] += 1
        largest[number // arrays.BLOCK] = 7
    id_starts = np.memmap(tmp_path / "starts", np.int64, "w+", shape=(count + 1,))
    for place, number in enumerate(numbers):
        id_starts[number : number + 2] = [3 * place, 3 * place + 3]
    id_starts[(1 << 31) - 1 : (1 << 31) + 2] = [6, 9, 12]  # two of them are neighbours
    made = EngineArrays(np.array([n % arrays.BLOCK for n in numbers], np.uint16),
                        np.array([7, 6, 7, 7, 5], np.uint8), starts, largest, id_starts,
                        np.frombuffer(b"d0\nd1\nd2\nd3\nd4\n", np.uint8), np.frombuffer(b"t\n", np.uint8))
    engine = EngineSearcher(made)
    assert engine.search({"t": 3}, 10) == [("d0", 21), ("d2", 21), ("d3", 21), ("d1", 18),
                                           ("d4", 15)]
    assert engine.search({"t": 3}, 2) == [("d0", 21), ("d2", 21)]


@pytest.fixture
def three_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Corpus, list[Path]]:
    """A collection of several blocks, and its arrays in three parts of any documents."""
    set_block(monkeypatch, 32)
    documents = random_corpus(random.Random(8), 300, 300)
    return documents, [arrays_of(documents[part::3], tmp_path / f"part{part}") for part in range(3)]


def test_merged_parts_are_the_arrays_of_the_whole(three_parts: tuple[Corpus, list[Path]],
                                                  tmp_path: Path) -> None:
    documents, parts = three_parts
    whole, merged = arrays_of(documents, tmp_path / "whole"), tmp_path / "merged"
    merged.mkdir()
    merge_arrays([open_arrays(part) for part in parts], merged)
    assert len(list(whole.iterdir())) == len(EngineArrays._fields)
    assert {f.name: f.read_bytes() for f in whole.iterdir()} == {
        f.name: f.read_bytes() for f in merged.iterdir()}
    with pytest.raises(InputError, match="is there twice"):
        merge_arrays([open_arrays(parts[0]), open_arrays(parts[1]), open_arrays(parts[0])], merged)


def test_postings_are_those_of_the_documents(three_parts: tuple[Corpus, list[Path]],
                                             tmp_path: Path) -> None:
    documents, _ = three_parts
    found = EnginePostings(arrays_of(documents, tmp_path / "whole"))
    assert (found.documents, found.total) == (300, sum(len(vector) for _, vector in documents))
    assert found.frequencies(["all", "t3", "absent"]) == {
        "all": 300, "t3": sum("t3" in vector for _, vector in documents), "absent": 0}
    query = {"t1": 3, "t2": 5, "all": 1, "absent": 9}
    for docid, vector in documents[:-1]:
        assert list(found.vector(docid).items()) == sorted(vector.items())
        assert found.score(query, docid) == sum(w * vector.get(t, 0) for t, w in query.items())
    for absent in ("empty", "", "zzz", "d"):
        with pytest.raises(InputError, match="not in"):
            found.vector(absent)


@pytest.mark.fault(13, "no room on the disk for the arrays", then="one line, and nothing is killed",
                   detected="the file is made at its full length")
def test_a_full_disk_is_an_error_before_anything_is_mapped(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left") as caught:
        arrays_of([("d", {"a": 1})], tmp_path / "index")
    assert caught.value.filename == str(array_file(tmp_path / "index", "documents"))


def test_arrays_take_four_bytes_a_posting_or_three(tmp_path: Path) -> None:
    draw = random.Random(2)
    for top, size in ((300, 4), (255, 3)):
        documents = [(f"d{n}", {f"t{t}": draw.randint(1, top) for t in range(100)}) for n in range(500)]
        index = arrays_of([*documents, ("last", {"t0": top})], tmp_path / str(top))
        total = sum(array_file(index, name).stat().st_size for name in ("documents", "impacts"))
        assert total == 50_001 * size + 2 * 128  # NumPy's heads
        assert open_arrays(index).impacts.max() == top


@pytest.mark.parametrize("spread", [1, 2, 1000, 1 << 40])
def test_the_best_keys_are_those_of_a_sort(spread: int) -> None:
    random = np.random.default_rng(spread)
    for _ in range(200):
        size = int(random.integers(1, 300))
        keys = random.permutation(1 + (np.arange(size) + random.integers(0, spread, size) * 300))
        count, full = int(random.integers(1, size + 1)), keys.copy()
        bound = keep_best(full, size, count)
        expected = np.sort(keys)[::-1]
        assert np.sort(full[:count])[::-1].tolist() == expected[:count].tolist()
        assert expected[count - 1] >= bound
        assert count == size or bound > expected[count]
