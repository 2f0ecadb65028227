"""A group of collections is run as one: each of them, and the mean over their query sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Result, write_lines

import spladev3_anserini as splade
from spladev3_anserini.recipe.library import Library
from spladev3_anserini.reproduction.group import declared_means
from spladev3_anserini.reproduction.matrix import entries, means

Cli = Callable[..., Result]
#: Forums of one, two and three queries: the mean over forums is not that over queries.
FORUMS = ("android", "tex", "unix")


class Forums:
    """Three small forums, and BM25's recipe for them."""

    def __init__(self, folder: Path, cli: Cli) -> None:
        self.folder, self.cli = folder, cli
        (folder / "baselines").mkdir()
        (folder / "collections").mkdir()
        self.recipe()
        for number, name in enumerate(FORUMS, 1):
            data = folder / "collections" / name
            write_lines(data / "corpus.csv", ["_id,title,text", *(
                f'{name}{n},"{name}, {n}","how to compile {"a kernel " * n}"' for n in range(1, 6))])
            write_lines(data / "topics.tsv", [f"{name}{n}\tcompile kernel" for n in range(1, number + 1)])
            write_lines(data / "qrels.txt", [f"{name}{n} 0 {name}{(3 + n) % 5 + 1} 1"
                                             for n in range(1, number + 1)])
            self.collection(name)

    def recipe(self, **more: Any) -> None:
        self.write("baselines/bm25.yaml", {"title": "BM25", "licence": "none", "baseline": {
            "kind": "bm25", "k1": 0.9, "b": 0.4}, **more})

    def collection(self, name: str, **more: Any) -> None:
        self.write(f"collections/{name}.yaml", {
            "title": name, "corpus": f"{name}/corpus.csv", "documents": 5, "query_sets": {"test": {
                "topics": f"{name}/topics.tsv", "qrels": f"{name}/qrels.txt", "measures": ["RR@10", "R@2"],
                "remove_query": True, "group": "forums", **more}}})

    def write(self, name: str, content: Any) -> None:
        (self.folder / name).write_text(yaml.safe_dump(content))

    def run(self, *more: object, on: str = "forums") -> Result:
        return self.cli("reproduce", "run", "bm25", "--on", on, "--recipes", self.folder, "--output",
                        self.folder / "out", "--threads", 1, *more)

    def measured(self, measure: str) -> list[float]:
        """Each forum's value, from its run by another road than the verdict's."""
        return [splade.read_run(self.run_file(name)).evaluate(
            self.folder / "collections" / name / "qrels.txt", measure).means[measure] for name in FORUMS]

    def run_file(self, name: str) -> Path:
        return self.folder / "out" / "bm25" / name / "run.test.txt"


@pytest.fixture
def forums(tmp_path: Path, cli: Cli) -> Forums:
    return Forums(tmp_path, cli)


def test_the_mean_counts_each_forum_once(forums: Forums) -> None:
    done = forums.run()
    assert done.code == 0, done
    assert [line for line in done.out.splitlines() if line.startswith("verdict")] == [
        *(f"verdict: bm25 on {name}" for name in FORUMS),
        "verdict: bm25 on forums, the mean over 3 query sets"]
    rows = [line.split() for line in done.out.partition("the mean over")[2].splitlines()
            if line.startswith("[")]
    assert rows == [["[no", "reference]", "mean", measure, f"{sum(forums.measured(measure)) / 3:.4f}", "-"]
                    for measure in ("RR@10", "R@2")]
    values = forums.measured("RR@10")
    by_query = [value for name in FORUMS for value in [q["RR@10"] for q in splade.read_run(
        forums.run_file(name)).evaluate(forums.folder / "collections" / name / "qrels.txt",
                                        "RR@10").by_query.values()]]
    assert sum(values) / 3 != pytest.approx(sum(by_query) / 6)
    # the documents of the queries' own ids are out, and 4 of 5 are left
    assert {len(hits) for name in FORUMS for hits in splade.read_run(forums.run_file(name)).values()} == {4}


@pytest.mark.parametrize(("change", "code"), [(0.0, 0), (0.01, 1)])
@pytest.mark.parametrize("stated", [True, False])
def test_a_mean_is_compared_with_the_declared_one(stated: bool, change: float, code: int,
                                                  forums: Forums) -> None:
    """It is stated as such, or is the mean of what is stated for every query set."""
    assert forums.run().code == 0
    values = forums.measured("RR@10")
    declared: dict[str, Any] = {"summary": {"forums RR@10": sum(values) / 3 + change}} if stated else {
        "values": {name: {"test": {"RR@10": value + (change if name == "tex" else 0)}}
                   for name, value in zip(FORUMS, values, strict=True)}}
    block = {"source": "paper", "where": "nowhere", "settings": {},
             "tolerance": {"measures": 0.001, "because": "a test"}, **declared}
    forums.recipe(expected=[block])
    done = forums.run()
    mean = next(line for line in done.out.partition("the mean over")[2].splitlines() if "RR@10" in line)
    assert done.code == code
    assert mean.startswith("[FAIL]" if code else "[OK]")
    assert f" {sum(values) / 3:.4f} " in mean
    library = Library(forums.folder)
    (one, measure, value), = declared_means(library.recipe("bm25"), "forums", library.groups()["forums"])
    assert (one.source, measure) == ("paper", "RR@10")
    assert value == pytest.approx(sum(values) / 3 + change / (1 if stated else 3))


def test_a_mean_of_other_data_has_no_reference(forums: Forums) -> None:
    forums.recipe(expected=[{"source": "paper", "where": "nowhere", "settings": {}, "summary": {
        "forums RR@10": 0.9}, "tolerance": {"measures": 0.001, "because": "a test"}}])
    corpus = forums.folder / "collections" / "tex" / "corpus.csv"
    corpus.write_text(corpus.read_text() + "tex6,,one more\n")
    done = forums.run()
    assert done.code == 0
    assert "[no reference]  mean  RR@10" in done.out
    assert "paper 0.9000 (6 documents, the file says 5)" in done.out


def test_commands_and_refusals(forums: Forums, refused: Callable[..., str]) -> None:
    lines = forums.run("--dry-run").out.splitlines()
    assert [line.split()[1] for line in lines] == ["survey", "survey", "bm25", "evaluate"] * 3
    assert not (forums.folder / "out").exists()
    shown = forums.cli("reproduce", "show", "bm25", "--on", "forums", "--recipes", forums.folder).out
    assert all(f"collection  {name}" in shown for name in FORUMS)
    assert "forums" in forums.cli("reproduce", "list", "--recipes", forums.folder).out
    common = ("reproduce", "run", "bm25", "--recipes", forums.folder, "--on")
    assert "--sets test: forums is a group" in refused(*common, "forums", "--sets", "test")
    assert "no collection 'forum'" in refused(*common, "forum")


def test_the_report_has_the_mean_when_every_forum_is_measured(forums: Forums) -> None:
    block = {"source": "paper", "where": "nowhere", "settings": {}, "summary": {"forums R@2": 0.5},
             "tolerance": {"measures": 0.001, "because": "a test"}}
    model = {"title": "m", "licence": "none", "model": "demo", "variant": "splade-v3", "settings": {
        "max_length": 9, "query_max_length": 9, "quantizer": "x100-rint", "special_tokens": "drop",
        "dtype": "float32"}, "expected": [block]}
    forums.write("m.yaml", model)
    library = Library(forums.folder)
    mean, = means(library, entries(library, forums.folder / "out"))
    assert mean == ("m", "forums", "R@2", 0.5, "paper", None, 0, 3)


def test_excluded_documents_belong_to_a_query_set(forums: Forums, refused: Callable[..., str]) -> None:
    name = "tex"
    write_lines(forums.folder / "collections" / name / "exclude.jsonl", [
        json.dumps({"qid": "tex1", "excluded_ids": ["tex2", "tex3"]})])
    forums.collection(name, exclude="tex/exclude.jsonl")
    assert forums.run(on=name).code == 0
    hits = {query: set(own) for query, own in splade.read_run(forums.run_file(name)).items()}
    assert hits == {"tex1": {"tex4", "tex5"}, "tex2": {"tex1", "tex3", "tex4", "tex5"}}
    assert "exclude.jsonl" in forums.run("--dry-run", on=name).out
    write_lines(forums.folder / "collections" / name / "exclude.jsonl", [
        json.dumps({"qid": "tex1", "excluded_ids": ["tex5"]})])
    assert forums.run(on=name).code == 0  # the search is made again, because the file is another
    assert set(splade.read_run(forums.run_file(name))["tex1"]) == {"tex2", "tex3", "tex4"}
    forums.collection(name, exclude="../x.tsv")
    assert "leads out of the collection's folder" in refused(
        "reproduce", "run", "bm25", "--on", name, "--recipes", forums.folder)
