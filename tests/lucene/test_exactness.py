"""Lucene and the exact engine held to the oracle: same documents, scores and order, by a real index."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from indexes import Corpus, assert_equal, index_of
from reliability import draws, tried

from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.query import MAX_EXACT_SCORE
from spladev3_anserini.lucene.check import statistics
from spladev3_anserini.lucene.opening import open_postings
from spladev3_anserini.lucene.postings import open_lucene_postings
from spladev3_anserini.lucene.searcher import ImpactSearcher

TERMS = ["a", "b", "##c", '"', "\\", "é", "中", "[CLS]", "\u00a0", "common"]
identifiers = st.text("ab19é中😀-_.:#", min_size=1, max_size=4)
impacts = st.integers(1, 6)
vectors = st.dictionaries(st.sampled_from(TERMS), impacts, max_size=6)
queries = st.dictionaries(st.sampled_from([*TERMS, "absent"]), st.integers(0, 5), max_size=8)


@pytest.mark.fault(13, "random corpora and queries: ties, absent terms, weight 0, no term, more"
                   " hits than documents",
                   then="the oracle's documents, scores and order",
                   detected="impacts/exact.py")
@settings(max_examples=draws(15, 0.5), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(identifiers, vectors, min_size=1, max_size=25),
       st.lists(queries, min_size=1, max_size=6), st.sampled_from([1, 3, 1000]),
       st.integers(1, 3), st.booleans())
def test_random_small_corpora(tmp_path_factory: pytest.TempPathFactory,
                              corpus: dict[str, dict[str, int]], asked: list[dict[str, int]],
                              hits: int, shards: int, optimize: bool) -> None:
    """Ties, absent terms, terms in every document, empty queries, hits beyond the corpus."""
    tried()
    corpus["always"] = {"common": 1}
    documents = [(i, v | {"common": 1}) for i, v in corpus.items()]
    documents.append(("nothing", {}))
    index = index_of(documents, tmp_path_factory.mktemp("random"), shards, optimize=optimize)
    assert statistics(index).documents == len(documents) - 1
    assert_equal(index, documents, [*asked, {"common": 2}, {}], hits)


@pytest.fixture(scope="module")
def zipfian() -> Corpus:
    """3,000 documents of 60 terms drawn by Zipf's law: long lists, skewed impacts, many ties."""
    draw = random.Random(20240311)
    weights = [1 / rank for rank in range(1, 501)]
    documents = []
    for number in range(3000):
        terms = set(draw.choices(range(500), weights, k=90))
        documents.append((f"d{number}", {f"t{term}": min(255, 1 + int(draw.expovariate(0.04)))
                                         for term in sorted(terms)}))
    return documents


@pytest.mark.parametrize(("shards", "threads", "optimize"), [(1, 1, True), (5, 2, False)])
def test_long_postings(zipfian: Corpus, shards: int, threads: int, optimize: bool,
                       tmp_path: Path) -> None:
    draw = random.Random(7)
    asked = [{f"t{draw.randrange(500)}": draw.randint(1, 300) for _ in range(size)}
             for size in (1, 2, 5, 20, 60, 200) for _ in range(5)]
    index = index_of(zipfian, tmp_path, shards, threads, optimize)
    for hits in (10, 1000, 5000):
        assert_equal(index, zipfian, asked, hits)


@pytest.mark.fault(13, "more ties than hits",
                   then="the oracle's order",
                   detected="impacts/exact.py")
def test_more_ties_than_hits(tmp_path: Path) -> None:
    documents = [(str(n), {"a": 9, "b": 1 + n % 2}) for n in range(2500)]
    index = index_of(documents, tmp_path)
    assert_equal(index, documents, [{"a": 1000}, {"a": 1}, {"a": 3, "b": 3}], 1000)


@pytest.mark.fault(13, "queries beyond 1,024 terms",
                   then="the oracle's documents, scores and order",
                   detected="impacts/exact.py")
def test_queries_beyond_lucenes_limit_are_searched_whole(tmp_path: Path) -> None:
    documents = [(f"d{n}", {f"t{n:04d}": 5, f"t{n + 1:04d}": 7}) for n in range(1500)]
    index = index_of(documents, tmp_path)
    whole = {f"t{n:04d}": 1 + n % 9 for n in range(1500)}
    exactly = dict(list(whole.items())[:1024])
    assert_equal(index, documents, [whole, exactly, exactly | {"t1400": 1}], 2000)


def test_queries_of_thousands_of_terms(zipfian: Corpus, tmp_path: Path) -> None:
    """Long lists and many ties: one thread and several, and a document's score."""
    draw = random.Random(5)
    documents = [(identifier, vector | {f"t{500 + draw.randrange(4500)}": draw.randint(1, 3)
                                        for _ in range(40)}) for identifier, vector in zipfian]
    asked = [{f"t{term}": draw.randint(1, most) for term in draw.sample(range(5000), size)}
             for size, most in ((1025, 9), (2045, 9), (2045, 1), (5000, 9), (5000, 1))]
    index, oracle = index_of(documents, tmp_path, 1, 1), ExactSearcher(documents)
    for hits, threads in ((10, 1), (3000, 4)):
        assert_equal(index, documents, [*asked, *reversed(asked)], hits, threads)
    for opened in (open_postings, open_lucene_postings):
        with opened(index) as postings:
            for query in asked:
                ((docid, score),) = oracle.search(query, 1)
                assert postings.score(query, docid) == score


@pytest.mark.fault(13, "sums near 2^24", then="the oracle's scores", detected="impacts/exact.py")
def test_sums_up_to_2_to_the_24_are_exact(tmp_path: Path) -> None:
    big = 32_767
    documents = [("below", {"x": big, "y": big, "z": 1}), ("same", {"x": big, "y": big, "w": 1}),
                 ("more", {"x": big, "y": big, "z": 2}), ("one", {"z": 1})]
    index = index_of(documents, tmp_path)
    query = {"x": 255, "y": 256, "z": 1, "w": 1}
    oracle = ExactSearcher(documents).search(query, 10)
    assert MAX_EXACT_SCORE - 50_000 < oracle[0][1] < MAX_EXACT_SCORE
    assert_equal(index, documents, [query], 10)


def test_pyserinis_searcher_finds_the_same(zipfian: Corpus, tmp_path: Path) -> None:
    """The same index through Pyserini's own LuceneImpactSearcher, its idf filter switched off."""
    import os

    os.environ.setdefault("OPENAI_API_KEY", "unused")
    index = index_of(zipfian, tmp_path)
    from spladev3_anserini.lucene.jvm import start_jvm

    start_jvm()
    from pyserini.search.lucene import LuceneImpactSearcher

    class Given:
        def encode(self, text: str, **_: object) -> dict[str, int]:
            return {term: 2 + len(term) for term in text.split()}

    peer = LuceneImpactSearcher(str(index), Given(), min_idf=-1)
    searcher = ImpactSearcher(index)
    for text in ("t0 t1 t2", "t5 t77 t400", "t499"):
        # Anserini takes 1e-6 steps off tied scores
        theirs = [(hit.docid, round(hit.score)) for hit in peer.search(text, k=1000)]
        assert searcher.search(Given().encode(text), 1000) == theirs
