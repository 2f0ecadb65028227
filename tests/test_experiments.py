"""A question's rows are run and recorded by query; its tables are computed anew from the record."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import Result, write_lines
from scipy import stats

import spladev3_anserini as splade
from spladev3_anserini.recipe.library import Library, declared_values, default_folder
from spladev3_anserini.recipe.training import Training
from spladev3_anserini.reproduction.full_size import full_size_library

Cli = Callable[..., Result]
PAGE = Path(__file__).parents[1] / "docs" / "experiments.md"
RECORDS = PAGE.parent / "experiments"
#: Rows of the test's question: BM25 with other constants. The middle one has two "seeds".
ROWS = {"plain": ["bm25"], "other": ["bm25-b0", "bm25-k3"], "long": ["bm25-b1"]}
CONSTANTS = {"bm25": (0.9, 0.4), "bm25-b0": (0.9, 0.0), "bm25-k3": (3.0, 0.4), "bm25-b1": (0.9, 1.0)}


def test_rows_and_collections_of_every_question_are_there() -> None:
    library = Library(default_folder())
    assert list(library.studies()) == ["ablations", "r1", "r2", "r3"]
    for name in library.studies():
        for part in library.study(name).parts.values():
            for recipe in part.recipes():
                library.recipe(recipe)
            for on, query_set in part.collections.items():
                assert query_set in library.collection(on).query_sets


def test_seeds_of_a_row_differ_in_nothing_else() -> None:
    library = Library(default_folder())
    for name in library.studies():
        for part in library.study(name).parts.values():
            for recipes in part.rows.values():
                # a cut model is named after the recipe that trains it
                first, *others = (library.recipe(name.removesuffix("-top-64")) for name in recipes)
                for other in others:
                    assert first.training is not None
                    assert other.training is not None
                    seeds = {first.training.seed, other.training.seed}
                    assert len(seeds) == 2
                    ignored = {"seed", "sources"}
                    assert (other.training.model_dump(exclude=ignored)
                            == first.training.model_dump(exclude=ignored))
                    assert other.variant == first.variant


def test_at_full_size_no_value_is_declared_for_what_is_trained(tmp_path: Path) -> None:
    own = Library(default_folder())
    full = full_size_library(own.folder, tmp_path / "recipes")
    rows = {recipe for name in own.studies() for part in own.study(name).parts.values()
            for recipe in part.recipes()}
    for name in ("insuranceqa", "cranfield"):
        there, here = own.collection(name), full.collection(name)
        assert here.query_sets == there.query_sets
        for row in rows:
            before = list(declared_values(row, own.recipe(row), name, there))
            after = list(declared_values(row, full.recipe(row), name, here))
            assert after == ([] if full.recipe(row).training else before), row
    for row in rows:
        training = full.recipe(row).training
        if training is not None:
            assert isinstance(training, Training)
            assert (training.sample, training.batch_size) == (None, 20), row


class Question:
    """Two small collections, four recipes of BM25, and a question about them."""

    def __init__(self, folder: Path, cli: Cli) -> None:
        self.folder, self.cli, draw = folder, cli, random.Random(5)
        words = "wing flow air heat pressure speed layer shock".split()
        for name in ("baselines", "collections", "experiments"):
            (folder / name).mkdir()
        for name, (k1, b) in CONSTANTS.items():
            self.write(f"baselines/{name}.yaml", {"title": name, "licence": "none", "baseline": {
                "kind": "bm25", "k1": k1, "b": b}})
        for on, queries in (("sky", 12), ("sea", 7)):
            data = folder / "collections" / on
            write_lines(data / "corpus.csv", ["_id,text", *(
                f"{on}{n},{' '.join(draw.choices(words, k=draw.randint(1, 12)))}" for n in range(60))])
            write_lines(data / "topics.tsv", [f"q{n}\t{' '.join(draw.choices(words, k=2))}"
                                              for n in range(queries)])
            write_lines(data / "qrels.txt", [f"q{n} 0 {on}{draw.randrange(60)} 1"
                                             for n in range(queries) for _ in range(6)])
            write_lines(data / "qrels.txt", sorted({*(data / "qrels.txt").read_text().splitlines()}))
            self.write(f"collections/{on}.yaml", {"title": on.title(), "corpus": f"{on}/corpus.csv",
                       "query_sets": {"test": {"topics": f"{on}/topics.tsv", "qrels": f"{on}/qrels.txt",
                                               "measures": ["RR@10"]}}})
        self.write("experiments/q1.yaml", {
            "title": "BM25", "question": "Which constants?", "measures": ["nDCG@10", "RR@10"],
            "parts": {"one": {"title": "Constants", "method": "Other k1 and b.", "baseline": "plain",
                              "rows": ROWS, "collections": {"sky": "test", "sea": "test"},
                              "forest": "other"}}})

    def write(self, name: str, content: Any) -> None:
        (self.folder / name).write_text(yaml.safe_dump(content, sort_keys=False))

    def run(self, *more: object) -> Result:
        return self.cli("experiments", "q1", "--recipes", self.folder, "--output", self.folder / "out",
                        *more)

    def by_query(self, recipe: str, on: str) -> dict[str, float]:
        found = splade.read_run(self.folder / "out" / recipe / on / "run.test.txt").evaluate(
            self.folder / "collections" / on / "qrels.txt", "nDCG@10").by_query
        return {query: round(values["nDCG@10"], 6) for query, values in found.items()}


@pytest.fixture
def question(tmp_path: Path, cli: Cli) -> Question:
    return Question(tmp_path, cli)


def holm(p_values: list[float]) -> list[float]:
    """Holm 1979: the k-th smallest of m times m + 1 - k, never below a smaller one's."""
    order, adjusted, largest = sorted(range(len(p_values)), key=p_values.__getitem__), {}, 0.0
    for rank, place in enumerate(order):
        largest = max(largest, p_values[place] * (len(p_values) - rank))
        adjusted[place] = min(1.0, largest)
    return [adjusted[place] for place in range(len(p_values))]


def summary(effects: list[np.ndarray[Any, Any]]) -> tuple[float, float, float]:
    """DerSimonian and Laird 1986, with std^2 / n as variances: the mean and its interval."""
    means = np.array([e.mean() for e in effects])
    variances = np.array([e.var() / len(e) for e in effects])
    w = 1 / variances
    q = (w * means**2).sum() - (w * means).sum() ** 2 / w.sum()
    tau2 = max(0.0, (q - (len(means) - 1)) / (w.sum() - (w**2).sum() / w.sum()))
    w = 1 / (variances + tau2)
    mean, reach = (w * means).sum() / w.sum(), stats.norm.ppf(0.975) / math.sqrt(w.sum())
    return mean, mean - reach, mean + reach


def number(value: float, sign: str = "+") -> str:
    return f"{value:{sign}.4f}".replace("0.", ".", 1).replace("-", "−")


def expected_rows(values: dict[str, dict[str, list[dict[str, float]]]], baseline: str) -> list[list[str]]:
    """The cells of a table, from {row: {collection: [values by query of each seed]}}."""
    collections = list(values[baseline])
    mean = {(row, on): {q: sum(seed[q] for seed in seeds) / len(seeds) for q in seeds[0]}
            for row, ons in values.items() for on, seeds in ons.items()}
    gains = {(row, on): np.array([mean[row, on][q] - mean[baseline, on][q] for q in mean[row, on]])
             for on in collections for row in values if row != baseline}
    raw = [stats.ttest_rel([*mean[row, on].values()], [*mean[baseline, on].values()]).pvalue
           for row, on in gains]
    p = dict(zip(gains, holm([float(x) for x in raw]), strict=True))
    noise = {on: max((max(m) - min(m) for row in values for m in [[
        sum(seed.values()) / len(seed) for seed in values[row][on]]] if len(m) > 1), default=0.0)
        for on in collections}
    table = []
    for row in values:
        cells = []
        for on in collections:
            cell = number(sum(mean[row, on].values()) / len(mean[row, on]), "")
            if row != baseline:
                gain = gains[row, on]
                low, high = stats.t.interval(0.95, len(gain) - 1, gain.mean(), stats.sem(gain))
                differs = p[row, on] < 0.05 and abs(gain.mean()) > noise[on]
                shown = f"**{number(gain.mean())}**" if differs else number(gain.mean())
                cell += f" {shown} [{number(low)}, {number(high)}], " + p_text(p[row, on])
            cells.append(cell)
        if len(collections) > 1:
            whole = [gains[row, on] for on in collections] if row != baseline else []
            center, low, high = summary(whole) if whole else (0, 0, 0)
            cells.append(f"{number(center)} [{number(low)}, {number(high)}]" if whole else "–")
        table.append(cells)
    return table


def p_text(p: float) -> str:
    return "p < .001" if p < 0.001 else "p = 1" if p >= 1 else f"p = {p:.3f}".replace("0.", ".")


def printed_rows(markdown: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("| ").split(" | ")]
            for line in markdown.splitlines() if line.startswith("| ")][2:]


def without_summary_p(cells: list[str]) -> list[str]:
    return [re.sub(r"^([+−.\d]+ \[[^]]*\]), p.*", r"\1", cell) for cell in cells]


def test_a_question_is_run_recorded_and_printed(question: Question) -> None:
    done = question.run()
    assert done.code == 0, done
    record = json.loads((question.folder / "out" / "q1.json").read_text())
    values = {row: {on: [question.by_query(recipe, on) for recipe in recipes] for on in ("sky", "sea")}
              for row, recipes in ROWS.items()}
    for row, recipes in ROWS.items():
        for place, recipe in enumerate(recipes):
            for on in ("sky", "sea"):
                assert dict(zip(record["queries"][on], record["outcomes"][recipe][on]["by_query"],
                                strict=True)) == values[row][on][place]
    printed = printed_rows(done.out)
    assert [cells[0] for cells in printed] == ["plain", "other (2 seeds)", "long"]
    assert [without_summary_p(cells[1:4]) for cells in printed] == expected_rows(values, "plain")
    assert [cells[4:] for cells in printed] == [["–"] * 3] * 3  # BM25 has no impacts to count
    assert (question.folder / "out" / "q1-one-effects.svg").exists()


def test_a_question_goes_on_where_it_was_and_says_what_is_missing(question: Question) -> None:
    done = question.run("--recipe", "bm25", "--recipe", "bm25-b1")
    assert done.code == 0, done
    assert "Not run: bm25-b0, bm25-k3." in done.out
    assert [cells[0] for cells in printed_rows(done.out)] == ["plain", "long"]
    path = question.folder / "out" / "q1.json"
    before = json.loads(path.read_text())["outcomes"]
    assert question.run().code == 0
    after = json.loads(path.read_text())["outcomes"]
    assert {recipe: after[recipe] for recipe in before} == before
    assert after.keys() == CONSTANTS.keys()
    # a recipe that fails is named, and the others are there
    (question.folder / "baselines" / "bm25-k3.yaml").write_text(
        "title: t\nlicence: none\nbaseline: {kind: rerank, of: bm25, teacher: none/none, top: 5, "
        "max_length: 256}\n")
    path.unlink()
    done = question.run()
    assert done.code == 0, done
    assert "bm25-k3 on sky: " in done.err
    assert "Not run: bm25-k3." in done.out


@pytest.mark.parametrize(("arguments", "message"), [
    (("r9",), "r9"), (("r1", "--recipe", "mini-k"), "--recipe mini-k: there is demo-doc, "),
    (("r1", "--part", "two"), "--part two: there is untrained, trained"),
    (("--record", "x.json"), "--record: name the QUESTION")])
def test_what_is_not_there_is_refused_before_anything_runs(
        arguments: tuple[str, ...], message: str, cli: Cli, tmp_path: Path) -> None:
    record = write_lines(tmp_path / "x.json", ["{}"])
    done = cli("experiments", *[record if word == "x.json" else word for word in arguments],
               "--output", tmp_path / "out")
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_record_of_another_size_or_question_is_refused(question: Question) -> None:
    assert question.run("--recipe", "bm25", "--recipe", "bm25-b1").code == 0
    path = question.folder / "out" / "q1.json"
    own = json.loads(path.read_text())
    path.write_text(json.dumps(own | {"study": "q2"}))
    done = question.run("--record", path)
    assert done.code == 2
    assert "q1.json: not a valid study record" in done.err


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDS.glob("*.json")))
def test_the_page_has_what_its_records_give(name: str, cli: Cli) -> None:
    """Every table of the page, computed anew by the formulas above."""
    done = cli("experiments", name, "--record", RECORDS / f"{name}.json")
    assert done.code == 0, done
    begin, end = f"<!-- experiments {name}: begin -->\n", "<!-- end -->"
    page = PAGE.read_text("utf-8")
    assert page.partition(begin)[2].partition(end)[0].strip() == done.out.strip()
    record = json.loads((RECORDS / f"{name}.json").read_text())
    study = Library(default_folder()).study(name)
    blocks = done.out.split("### ")[1:]
    for part, block in zip(study.parts.values(), blocks, strict=True):
        rows = {row: {on: [dict(zip(record["queries"][on], record["outcomes"][recipe][on]["by_query"],
                                    strict=True)) for recipe in recipes] for on in part.collections}
                for row, recipes in part.rows.items() if all(
                    part.collections.keys() <= record["outcomes"].get(recipe, {}).keys()
                    for recipe in recipes)}
        if "Not run: " in block and "| ---" not in block:
            assert part.baseline not in rows or len(rows) < 2
            continue
        columns = len(part.collections) + (len(part.collections) > 1)
        assert [without_summary_p(cells[1:1 + columns]) for cells in printed_rows(block)] \
            == expected_rows(rows, part.baseline)
