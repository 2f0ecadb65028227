"""Questions and answers as people have them: each form is the same training, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import write_lines
from pyarrow import ipc, parquet

from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.errors import InputError
from spladev3_anserini.training.own_data import OwnData, write_own_data
from spladev3_anserini.training.own_rows import read_rows
from spladev3_anserini.training.quick import held_out_count
from spladev3_anserini.training.score_files import read_candidates, read_scores

PAIRS = [("what runs", "the dog runs"), ("who sat", "the cat sat"), ("what runs", "a jet runs")]
#: Each query's positives and negatives, by their texts.
Learned = dict[str, tuple[set[str], set[str]]]


def read_back(folder: Path) -> Learned:
    """What the files hold, by the readers that training uses."""
    texts = {own.id: own.text for own in read_corpus(str(folder / "corpus.jsonl"))}
    queries = {own.id: own.text for own in read_topics(str(folder / "topics.jsonl"))}
    qrels = read_qrels(str(folder / "qrels.txt"))
    found = {text: ({texts[d] for d in qrels[name]}, set[str]()) for name, text in queries.items()}
    if (folder / "candidates.jsonl").exists():
        for entry in read_candidates(folder / "candidates.jsonl"):
            assert set(entry.positives) == qrels[entry.query].keys()
            found[queries[entry.query]][1].update(texts[d] for d in entry.candidates)
    return found


def written(source: Path, folder: Path) -> tuple[OwnData, Learned]:
    folder.mkdir()
    return write_own_data(str(source), folder), read_back(folder)


def test_pairs_in_every_format_are_one_training(tmp_path: Path) -> None:
    """By hand: the lines of a query are joined, and equal texts are one document."""
    rows = [{"query": query, "positive": positive} for query, positive in PAIRS]
    columns = {name: [row[name] for row in rows] for name in ("query", "positive")}
    table = pa.table(columns)
    write_lines(tmp_path / "pairs.jsonl", rows)
    write_lines(tmp_path / "st.jsonl", [{"anchor": q, "positive": p} for q, p in PAIRS])
    write_lines(tmp_path / "qa.jsonl", [{"question": q, "answer": p} for q, p in PAIRS])
    (tmp_path / "pairs.tsv").write_text("".join(f"{q}\t{p}\n" for q, p in PAIRS))
    (tmp_path / "header.tsv").write_text("query\tpositive\n" + "".join(
        f"{q}\t{p}\n" for q, p in PAIRS))
    (tmp_path / "pairs.csv").write_text("positive,query\n" + "".join(
        f'"{p}",{q}\n' for q, p in PAIRS))
    parquet.write_table(table, tmp_path / "pairs.parquet")
    parts = tmp_path / "parts"
    parts.mkdir()
    parquet.write_table(table.slice(0, 2), parts / "train-00000-of-00002.parquet")
    parquet.write_table(table.slice(2), parts / "train-00001-of-00002.parquet")
    saved = tmp_path / "saved"  # as `datasets` saves: a stream of arrow, and its state
    saved.mkdir()
    with ipc.new_stream(str(saved / "data-00000-of-00001.arrow"), table.schema) as stream:
        stream.write_table(table)
    (saved / "state.json").write_text(json.dumps({
        "_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    for source in ("pairs.jsonl", "st.jsonl", "qa.jsonl", "pairs.tsv", "header.tsv", "pairs.csv",
                   "pairs.parquet", "parts", "parts/train-*.parquet", "saved"):
        holds, found = written(tmp_path / source, tmp_path / f"{source.replace('/', '-')}.out")
        assert holds == OwnData(2, 3, None, False), source
        assert found == {"what runs": ({"the dog runs", "a jet runs"}, set()),
                         "who sat": ({"the cat sat"}, set())}, source


@pytest.mark.parametrize("rows", [
    [{"query": "q", "pos": ["a"], "neg": ["b", "c"]}],
    [{"anchor": "q", "positive": "a", "negative": "b"}, {"anchor": "q", "positive": "a", "negative": "c"}],
    [{"query": "q", "positive": "a", "negative_2": "c", "negative_1": "b"}],
    [{"query": "q", "positive": ["a"], "negative": ["b", "a", "c"]}],  # a positive is no negative
    "q\ta\tb\nq\ta\tc\n"])
def test_negatives_are_candidates(rows: Any, tmp_path: Path) -> None:
    source = tmp_path / ("rows.tsv" if isinstance(rows, str) else "rows.jsonl")
    if isinstance(rows, str):
        source.write_text(rows)
    else:
        write_lines(source, rows)
    assert written(source, tmp_path / "out") == (OwnData(1, 3, (2, 2), False), {
        "q": ({"a"}, {"b", "c"})})


@pytest.mark.parametrize("row", [
    {"query": "q", "docs": ["b", "a", "c"], "scores": [0.5, 2.0, -1]},
    {"query": "q", "pos": ["a"], "neg": ["b", "c"], "pos_scores": [2], "neg_scores": [0.5, -1]},
    {"anchor": "q", "positive": "a", "negative_1": "b", "negative_2": "c",
     "label": [2.0, 0.5, -1.0]}])
def test_scores_stay_with_their_texts(row: dict[str, Any], tmp_path: Path) -> None:
    holds, found = written(write_lines(tmp_path / "rows.jsonl", [row]), tmp_path / "out")
    assert (holds, found) == (OwnData(1, 3, (2, 2), True, 3.0), {"q": ({"a"}, {"b", "c"})})
    texts = {own.id: own.text for own in read_corpus(str(tmp_path / "out/corpus.jsonl"))}
    entry, = read_scores(tmp_path / "out/scores.jsonl")
    assert {texts[d]: score for d, score in entry.scores.items()} == {"a": 2.0, "b": 0.5, "c": -1.0}


@pytest.mark.parametrize(("lines", "message"), [
    ([{"query": "q", "positive": "a", "prompt": "x"}], r":1: the field 'prompt' is not applied"),
    ([{"query": "q", "positive": "a"}, {"query": "q", "pos": ["a"]}],
     r":2: has the fields pos, query, but .*:1 has positive, query; a file has one form"),
    ([{"query": "q"}], r":1: no field 'positive'"), ([{"positive": "q"}], r":1: no field 'query'"),
    ([{"query": " ", "positive": "a"}], r":1: the field 'query' has an empty text"),
    ([{"query": "q", "positive": ""}], r":1: the field 'positive' has an empty text"),
    ([{"query": "q", "positive": 3}], r":1: the field 'positive' is a number, expected a string"),
    ([{"query": "q", "positive": None}], r":1: the field 'positive' is null"),
    ([{"query": "q", "pos": [], "neg": ["b"]}], r":1: the field 'pos' is empty"),
    ([{"query": "q", "pos": ["a"], "neg": []}], r":1: nothing is learned from this query: it has no neg"),
    ([{"query": "q", "pos": ["a"], "neg": ["a"]}], r":1: nothing is learned from this query"),
    ([{"query": "q", "pos": ["a"], "positive": "a"}], r":1: the fields 'positive' and 'pos' mean the same"),
    ([{"query": "q", "docs": ["a", "b"]}], r":1: 'docs' without scores"),
    ([{"query": "q", "docs": ["a", "b"], "scores": [1]}], r":1: the field 'scores' has 1 score, for 2 texts"),
    ([{"query": "q", "docs": ["a", "b"], "scores": [1, 1]}], r":1: .*its scores are all equal"),
    ([{"query": "q", "docs": ["a", "b"], "scores": [1, "2"]}], r":1: a score in 'scores' is '2'"),
    (['{"query": "q", "docs": ["a", "b"], "scores": [1, NaN]}'], r":1: a score in 'scores' is 'nan'"),
    ([{"query": "q", "docs": ["a", "b"], "scores": [1, 2], "pos": ["a"]}], r":1: the field 'pos' beside 'docs'"),
    ([{"query": "q", "positive": "a", "negative": "b", "score": 0.5}], r":1: the field 'score' is no list"),
    ([{"query": "q", "pos": ["a"], "neg": ["b"], "pos_scores": [1]}], r":1: pos_scores and neg_scores need"),
    ([{"query": "q", "docs": ["a", "b"], "scores": [1, 2]},
      {"query": "q", "docs": ["a", "c"], "scores": [3, 2]}], r":2: the text 'a' has the score 3, and 1 before"),
    (["[1]"], r":1: not a JSON object"), ([], r"no row in it")])
def test_what_is_not_applied_is_refused(lines: list[Any], message: str, tmp_path: Path) -> None:
    write_lines(tmp_path / "rows.jsonl", lines)
    with pytest.raises(InputError, match=message):
        write_own_data(str(tmp_path / "rows.jsonl"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]  # nothing is half-written


@pytest.mark.parametrize(("name", "text", "message"), [
    ("a.tsv", "q\ta\nq\n", r"a\.tsv:2: has 1 column; expected query, positive"),
    ("a.tsv", "q\ta\tb\tc\n", r"a\.tsv:1: has 4 columns"),
    ("a.tsv", "q\ta\nq\ta\tb\n", r"a\.tsv:2: has the fields negative, positive, query, but"),
    ("a.tsv", "query\tpositive\nq\ta\tb\n", r"a\.tsv:2: has 3 columns, the header 2"),
    ("a.tsv", "12\t34\n", r"a\.tsv:1: holds numbers alone; expected texts, not ids"),
    ("a.csv", "query,positive,id\nq,a,1\n", r"a\.csv:2: the field 'id' is not applied"),
    ("a.xml", "<a>", r"a\.xml: unknown kind of file"),
    ("a.parquet", "none", r"a\.parquet: not a parquet file")])
def test_files_that_cannot_be_read(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        list(read_rows(str(tmp_path / name)))


def test_tables_name_the_row(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"query": ["q", "r"], "positive": ["a", None]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet, row 2: the field 'positive' is null"):
        list(read_rows(str(tmp_path / "a.parquet")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no parquet or arrow file in it"):
        list(read_rows(str(tmp_path / "empty")))
    with pytest.raises(InputError, match="A data set of the hub is downloaded first"):
        list(read_rows("someone/a-data-set"))


def test_a_tenth_is_held_out_within_bounds() -> None:
    assert [held_out_count(n) for n in (4, 40, 200, 400, 1000, 1500, 5000)] == [
        1, 10, 50, 50, 100, 150, 200]
