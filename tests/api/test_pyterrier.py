"""PyTerrier's transformers: hits of `run`, measures of `evaluate`, and what PyTerrier's operators do with them."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest
from conftest import WORDS
from ir_measures import AP, RR, P, R, nDCG

import spladev3_anserini as splade

QUERIES = {"q1": "the cat on the mat", "q2": "heat and air flow", "q3": "wing", "q4": "dog runs"}
TOPICS = pd.DataFrame(list(QUERIES.items()), columns=["qid", "query"])


def texts() -> dict[str, str]:
    """Sixty random texts, each third one twice, so that scores are tied."""
    draw = random.Random(7)
    words = [word for word in WORDS if word.isalpha()]
    made = {f"d{number}": " ".join(draw.choices(words, k=draw.randint(3, 20))) for number in range(60)}
    return made | {f"twin{number}": made[f"d{number}"] for number in range(0, 60, 3)}


def judged() -> dict[str, dict[str, int]]:
    draw = random.Random(8)
    return {query: {name: draw.randint(0, 2) for name in draw.sample(sorted(texts()), 15)}
            for query in QUERIES}


@pytest.fixture(scope="module")
def model(tiny: Path) -> splade.Model:
    return splade.load(tiny, variant="splade-v3", max_length=32)


@pytest.fixture(scope="module")
def index(model: splade.Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[splade.Index]:
    with model.index(texts(), tmp_path_factory.mktemp("pyterrier") / "index") as opened:
        yield opened


def rows(frame: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(frame[["qid", "docno", "score", "rank"]].itertuples(index=False, name=None))


def expected_rows(index: splade.Index, hits: int) -> list[tuple[object, ...]]:
    return [(query, docid, score, rank) for query, text in QUERIES.items()
            for rank, (docid, score) in enumerate(index.search(text, hits))]


def test_a_frame_has_the_hits_of_search_from_rank_0(index: splade.Index) -> None:
    found = splade.terrier.Retriever(index, hits=30)(TOPICS)
    assert rows(found) == expected_rows(index, 30)
    assert list(found.columns) == ["qid", "query", "docno", "score", "rank"]
    assert dict(zip(found["qid"], found["query"], strict=True)) == QUERIES
    scores = found["score"].tolist()
    assert len(scores) == 120
    assert len(set(scores)) < len(scores)  # there are ties to be ordered
    one = splade.terrier.Retriever(index).search("wing")
    assert one["docno"].tolist() == [hit.docid for hit in index.search("wing", 1000)]
    assert splade.terrier.Retriever(index)([{"qid": "q3", "query": "wing"}])[0]["docno"] == \
        one["docno"][0]


def test_an_experiment_gives_the_measures_of_evaluate(index: splade.Index) -> None:
    qrels = pd.DataFrame([(query, docno, label) for query, labels in judged().items()
                          for docno, label in labels.items()], columns=["qid", "docno", "label"])
    measures = [nDCG @ 10, AP, P @ 5, R @ 20, RR]
    table = pt.Experiment([splade.terrier.Retriever(index, hits=40)], TOPICS, qrels, measures)
    means = index.run(QUERIES, hits=40).evaluate(judged(), measures).means
    assert {name: table[name][0] for name in means} == pytest.approx(means, abs=1e-12)
    # one of them by hand: trec_eval orders ties by id, descending
    precisions = []
    for query, text in QUERIES.items():
        best = sorted(index.search(text, 40), key=lambda hit: hit.docid, reverse=True)
        best.sort(key=lambda hit: -hit.score)
        precisions.append(sum(judged()[query].get(hit.docid, 0) > 0 for hit in best[:5]) / 5)
    assert table["P@5"][0] == pytest.approx(sum(precisions) / 4)
    tree = pt.Experiment([splade.terrier.Retriever(index, hits=40) % 20, splade.terrier.Retriever(index, 40)],
                         TOPICS, qrels, measures, plan="tree", baseline=0)
    assert tree["nDCG@10"].tolist() == pytest.approx([means["nDCG@10"]] * 2)


def test_impacts_of_a_frame_are_searched_as_they_are(index: splade.Index, model: splade.Model) -> None:
    for encoder in (splade.terrier.QueryEncoder(index), splade.terrier.QueryEncoder(model)):
        encoded = encoder(TOPICS)
        assert encoded["query_toks"].tolist() == [index.impacts(text) for text in QUERIES.values()]
        pipeline = encoder >> splade.terrier.Retriever(index, 30)
        assert rows(pipeline(TOPICS)) == expected_rows(index, 30)
    own = pd.DataFrame([("q1", {"wing": 3, "cat": 0})], columns=["qid", "query_toks"])
    assert rows(splade.terrier.Retriever(index, 5)(own)) == [
        ("q1", docid, score, rank) for rank, (docid, score) in
        enumerate(index.search({"wing": 3}, 5))]


def test_operators_of_pyterrier(index: splade.Index) -> None:
    retriever = splade.terrier.Retriever(index, 30)
    fused = (retriever % 7).compile()
    assert isinstance(fused, splade.terrier.Retriever)
    assert fused.hits == 7
    assert rows(fused(TOPICS)) == rows((retriever % 7)(TOPICS)) == expected_rows(index, 7)
    assert (retriever % 100).compile() is retriever
    assert len((retriever % 0).compile()(TOPICS)) == 0
    doubled = (retriever + retriever)(TOPICS)
    twice = {(query, docno): 2 * score for query, docno, score, _ in expected_rows(index, 30)}
    assert {(row.qid, row.docno): row.score for row in doubled.itertuples()} == twice
    assert len((retriever | retriever)(TOPICS)) == 120
    assert rows((0.5 * retriever)(TOPICS))[0][2] == expected_rows(index, 30)[0][2] / 2


def test_options_of_rankings_are_kept_when_pyterrier_compiles(index: splade.Index) -> None:
    own = pd.DataFrame([("d3", texts()["d3"]), ("d4", "wing")], columns=["qid", "query"])
    retriever = splade.terrier.Retriever(index, 20, remove_query=True, threads=1)
    run = index.run({"d3": texts()["d3"], "d4": "wing"}, 4, remove_query=True)
    expected = [(query, docid, score, rank) for query, hits in run.items()
                for rank, (docid, score) in enumerate(hits.items())]
    fused = (retriever % 4).compile()
    assert repr(fused).endswith("hits=4, remove_query=True, threads=1)")
    assert rows(fused(own)) == rows((retriever % 4)(own)) == expected
    assert "d3" not in fused(own)["docno"].tolist()
    with pytest.raises(TypeError, match="num_results"):
        splade.terrier.Retriever(index, num_results=5)


def test_texts_are_encoded_and_indexed_in_a_pipeline(index: splade.Index, model: splade.Model,
                                                     tmp_path: Path) -> None:
    documents = [{"docno": docno, "text": text} for docno, text in texts().items()]
    encoded = splade.terrier.DocumentEncoder(model)(pd.DataFrame(documents))
    assert encoded["toks"].tolist() == model.impacts(texts().values())
    assert encoded.columns.tolist() == ["docno", "text", "toks"]
    shorter = pt.apply.text(lambda row: row["text"].split(" #", 1)[0])
    marked = ({**document, "text": document["text"] + " # cut"} for document in documents)
    pipeline = shorter >> splade.terrier.DocumentIndexer(model, tmp_path / "index")
    with pipeline.index(marked) as built:
        assert rows(splade.terrier.Retriever(built, 30)(TOPICS)) == expected_rows(index, 30)
    with splade.terrier.DocumentIndexer(model, tmp_path / "index").index(documents) as again:
        assert len(again.search("wing")) == 10  # the index that is there is taken
    with pytest.raises(splade.InputError, match="document 'd0': has `toks`"):
        (splade.terrier.DocumentEncoder(model) >> splade.terrier.DocumentIndexer(
            model, tmp_path / "other")).index(documents)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("make", ["Retriever", "QueryEncoder", "DocumentEncoder"])
def test_pyterrier_s_own_test_of_a_transformer(make: str, index: splade.Index, model: splade.Model) -> None:
    transformer = getattr(splade.terrier, make)(model if make == "DocumentEncoder" else index)
    inputs = pt.inspect.transformer_inputs(transformer)
    assert inputs[0] == {"Retriever": ["qid", "query"], "QueryEncoder": ["query"],
                         "DocumentEncoder": ["text"]}[make]
    for columns in inputs:
        outputs = pt.inspect.transformer_outputs(transformer, columns)
        assert set(columns) < set(outputs)
    drawn = pt.schematic.transformer_schematic(transformer)
    assert drawn["label"] == make
    assert make in pt.schematic.draw(drawn)
    assert make in repr(transformer)


def test_an_indexer_and_a_pipeline_say_what_they_read(model: splade.Model, tmp_path: Path,
                                                      index: splade.Index) -> None:
    indexer = splade.terrier.DocumentIndexer(model, tmp_path / "index")
    assert pt.inspect.indexer_inputs(indexer) == [["docno", "text"]]
    pipeline = splade.terrier.QueryEncoder(index) >> splade.terrier.Retriever(index)
    assert pt.inspect.transformer_outputs(pipeline, ["qid", "query"]) == [
        "qid", "query", "query_toks", "docno", "score", "rank"]


@pytest.mark.parametrize(("frame", "message"), [
    ({"qid": ["1", "1"], "query": ["wing", "cat"]}, "is already at"),
    ({"qid": ["1", "1"], "query_toks": [{"wing": 1}, {"cat": 1}]}, "a `qid` occurs twice"),
    ({"qid": ["1"], "query_toks": [{"wing": 1.5}]}, "impacts are whole numbers"),
    ({"qid": ["1"], "query_toks": [None]}, r"'1': its `query_toks` are no \{term: impact\}"),
    ({"qid": ["1"], "query": [float("nan")]}, "text"),
    ({"qid": ["a b"], "query": ["wing"]}, "white space"),
])
def test_a_frame_that_cannot_be_searched_is_refused(frame: dict[str, list[object]], message: str,
                                                    index: splade.Index) -> None:
    with pytest.raises(splade.InputError, match=message):
        splade.terrier.Retriever(index)(pd.DataFrame(frame))


def test_hits_are_not_queries_and_numbers_are_not_texts(index: splade.Index, model: splade.Model) -> None:
    retriever = splade.terrier.Retriever(index)
    with pytest.raises(pt.validate.InputValidationError):
        (retriever >> retriever)(TOPICS)
    for make, arguments, call in ((splade.terrier.Retriever, (), "open_index"), (splade.terrier.QueryEncoder, (), "load"),
                                  (splade.terrier.DocumentEncoder, (), "load"),
                                  (splade.terrier.DocumentIndexer, ("folder",), "load")):
        for given in ("demo", Path("index")):
            with pytest.raises(splade.InputError, match=rf"expected what splade\.{call}\(.*, not {type(given).__name__}"):
                make(given, *arguments)
    with pytest.raises(splade.InputError, match="`hits` 0"):
        splade.terrier.Retriever(index, 0)
    with pytest.raises(splade.InputError, match="item 2"):
        splade.terrier.DocumentEncoder(model)(pd.DataFrame({"text": ["wing", 7]}))


def test_neither_java_nor_pyterrier_is_loaded_for_nothing(index: splade.Index) -> None:
    assert not pt.java.started()
    script = ("import sys, spladev3_anserini as splade\n"
              "assert 'pyterrier' not in sys.modules\n"
              f"index = splade.open_index({str(index.folder)!r})\n"
              "found = splade.terrier.Retriever(index, 3).transform_iter([{'qid': '1', 'query': 'wing'}])\n"
              "assert len(list(found)) == 3\n"
              "assert 'jnius' not in sys.modules\n")
    subprocess.run([sys.executable, "-c", script], check=True)


def test_without_pyterrier_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find: Callable[[str], object] = lambda name: None  # noqa: E731
    monkeypatch.setattr("spladev3_anserini.errors.find_spec", find)
    with pytest.raises(splade.InputError, match=r"pip install 'spladev3-anserini\[terrier\]'"):
        splade.terrier  # noqa: B018
