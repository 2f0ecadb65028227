"""What is written reads back: quantiser, shards (to vectors, CSR and the oracle), runs, queries."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from indexes import write_shard
from scipy.sparse import csr_matrix

from spladev3_anserini.collection.records import checked_id
from spladev3_anserini.collection.runs import read_run_file, write_hits
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.encoded_queries import read_encoded_queries
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.quantize import MAX_IMPACT, Quantizer
from spladev3_anserini.impacts.shards import ImpactDocument, read_shard
from spladev3_anserini.impacts.terms import term_fault


def _allowed(text: str) -> bool:
    try:
        return bool(checked_id(text, "here"))
    except InputError:
        return False


ids = st.text(min_size=1, max_size=6).filter(_allowed)
terms = st.text(min_size=1, max_size=6).filter(lambda term: term_fault(term) is None)
vectors = st.dictionaries(terms, st.integers(1, MAX_IMPACT), max_size=6)


@settings(max_examples=150, deadline=None)
@given(st.floats(0, MAX_IMPACT, exclude_min=True))
def test_any_scale_has_a_name_that_reads_back_as_itself(scale: float) -> None:
    own = Quantizer.of(scale)
    assert Quantizer.parse(str(own)) == own
    assert own.scale == float(f"{scale:.10g}")


@settings(max_examples=60, deadline=None)
@given(documents=st.dictionaries(ids, vectors, max_size=8), query=vectors,
       packed=st.booleans())
def test_a_shard_is_the_same_to_vectors_csr_and_the_oracle(
        documents: dict[str, dict[str, int]], query: dict[str, int], packed: bool) -> None:
    name = f"part-00000.jsonl{'.gz' if packed else ''}"
    with TemporaryDirectory() as folder:
        written = write_shard(Path(folder), name,
                              (ImpactDocument(i, "", v) for i, v in documents.items()), "h")
        found = list(read_shard(Path(folder) / "impacts" / name))
    assert {own.id: own.vector for own in found} == documents
    assert written.impacts == sum(sum(own.values()) for own in documents.values())
    vocabulary = sorted({t for own in [query, *documents.values()] for t in own})
    columns = {term: number for number, term in enumerate(vocabulary)}
    matrix = csr_matrix(
        ([v for own in found for v in own.vector.values()],
         [columns[t] for own in found for t in own.vector],
         np.cumsum([0, *(len(own.vector) for own in found)])),
        shape=(len(found), len(columns)), dtype=np.int64)
    scores = matrix @ np.array([query.get(t, 0) for t in vocabulary], dtype=np.int64)
    # a Python dictionary is the third way
    by_hand = [sum(query.get(t, 0) * v for t, v in own.items()) for own in documents.values()]
    assert scores.tolist() == by_hand
    hits = ExactSearcher((own.id, own.vector) for own in found).search(query, 100)
    assert dict(hits) == {i: s for i, s in zip(documents, by_hand, strict=True) if s}
    assert hits == sorted(hits, key=lambda hit: (-hit[1], hit[0]))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(ids, st.dictionaries(ids, st.integers(0, 2**53) | st.floats(-1e9, 1e9),
                                            min_size=1, max_size=5), min_size=1, max_size=4))
def test_a_run_reads_back(run: dict[str, dict[str, float]]) -> None:
    stream = StringIO()
    for query, own in run.items():
        write_hits(stream, query, list(own.items()), "tag")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.txt"
        path.write_bytes(stream.getvalue().encode())
        assert read_run_file(path) == {
            query: {d: s if isinstance(s, int) else float(f"{s:.6f}") for d, s in own.items()}
            for query, own in run.items()}


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(ids, vectors, min_size=1, max_size=5))
def test_encoded_queries_read_back(queries: dict[str, dict[str, int]]) -> None:
    with TemporaryDirectory() as folder:
        write_shard(Path(folder), "part-00000.jsonl",
                    (ImpactDocument(i, "", v) for i, v in queries.items()), "h")
        found = read_encoded_queries(Path(folder) / "impacts" / "part-00000.jsonl", Path("index"),
                                     None)
    assert dict(found) == queries
