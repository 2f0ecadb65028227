"""A cut of the mini recipe with its real models: mine, score, combine, train, encode, evaluate, in
all three query modes, held to what other tools and plain arithmetic say of the files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytrec_eval
import yaml
from conftest import Result, write_corpus
from numpy.typing import NDArray

from spladev3_anserini.collection.corpus import read_corpus
from spladev3_anserini.collection.qrels import read_qrels
from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.collection.topics import read_topics
from spladev3_anserini.demo.assets import fetch_assets
from spladev3_anserini.errors import InputError
from spladev3_anserini.recipe.library import default_folder

Cli = Callable[..., Result]
Judged = Mapping[str, Mapping[str, int]]
Run = Mapping[str, Mapping[str, float]]

DOCUMENTS, QUERIES, TOP, RANDOM, BATCH, EPOCHS, LENGTH = 40, 4, 3, 2, 2, 2, 32
TEACHERS = ("demo-cross-encoder", "demo-bi-encoder")
RECIPES = {"cut": "splade-v3", "cut-lexical": "splade-v3-lexical", "cut-doc": "splade-v3-doc"}
#: Our measures by pytrec_eval's names; of its reciprocal rank the first 10 are given to it.
PEER = {"nDCG@10": "ndcg_cut_10", "RR@10": "recip_rank", "R@100": "recall_100"}


@pytest.fixture
def recipes(tmp_path: Path, cranfield: Path, demo_model: Path) -> Path:
    """The mini recipe itself, cut by ablations, and Cranfield cut to a few queries' documents."""
    pytest.importorskip("onnxruntime")
    for name in TEACHERS:
        try:
            fetch_assets(name)
        except InputError as error:
            pytest.skip(str(error))
    folder = tmp_path / "recipes"
    data = folder / "collections"
    data.mkdir(parents=True)
    (folder / "ablations").mkdir()
    shutil.copy(default_folder() / "insuranceqa-mini.yaml", folder)
    judged = dict(list(read_qrels(str(cranfield)).items())[:QUERIES])
    texts = {own.id: own.text for own in read_corpus(str(cranfield)) if own.text.strip()}
    relevant = [d for own in judged.values() for d in own if d in texts]
    kept = list(dict.fromkeys([*relevant, *texts]))[:DOCUMENTS]
    write_corpus(data / "corpus.jsonl", {name: texts[name] for name in kept})
    (data / "topics.tsv").write_text("".join(
        f"{own.id}\t{own.text}\n" for own in read_topics(str(cranfield)) if own.id in judged))
    (data / "qrels.txt").write_text("".join(
        f"{query} 0 {d} {grade}\n" for query, own in judged.items()
        for d, grade in own.items() if d in kept))
    (data / "few.yaml").write_text(yaml.safe_dump({
        "title": "a cut", "corpus": "corpus.jsonl", "query_sets": {"test": {
            "topics": "topics.tsv", "qrels": "qrels.txt", "measures": list(PEER)}}}))
    cut = {"corpus": "collections/corpus.jsonl", "topics": "collections/topics.tsv",
           "qrels": "collections/qrels.txt", "sample": None, "validation": None,
           "negatives": TOP,
           "candidates": {"top": TOP, "random": RANDOM, "depth": 40},
           "teacher_max_length": LENGTH, "batch_size": BATCH, "epochs": float(EPOCHS),
           "max_length": LENGTH, "learning_rate": 1e-3}
    for name, variant in RECIPES.items():
        (folder / "ablations" / f"{name}.yaml").write_text(yaml.safe_dump({
            "base": "insuranceqa-mini", "title": name, "variant": variant, "training": cut}))
    return folder


def test_the_mini_recipe_cut_from_mine_to_evaluate(recipes: Path, cli: Cli) -> None:
    output, data = recipes.parent / "out", recipes / "collections"
    for recipe in RECIPES:
        done = cli("reproduce", "run", recipe, "--on", "few", "--recipes", recipes, "--output",
                   output, "--threads", 1, "--device", "cpu")
        assert done.code == 0, done
        assert "the recipe says" not in done.err  # the scores are as it says
        assert ("skipped: unchanged" in done.out) == (recipe != "cut")  # mined and scored once
    judged = read_qrels(str(data / "qrels.txt"))

    # mined: every query with a positive, as many others as asked for, none of them a positive
    shared, = output.glob("training-data/scores-*")
    mined = lines(shared / "candidates.jsonl")
    positives = {query: {d for d, grade in own.items() if grade > 0}
                 for query, own in judged.items()}
    assert {own["query"] for own in mined} == {query for query, own in positives.items() if own}
    for own in mined:
        assert set(own["positives"]) == positives[own["query"]]
        assert len(set(own["candidates"]) - positives[own["query"]]) == TOP + RANDOM
    pairs = sum(len(own["positives"]) + TOP + RANDOM for own in mined)

    # scored and combined: min-max by query, mean, then the first teacher's mean and deviation
    raw = {name: {own["query"]: own["scores"] for file in
                  (shared / f"scores-{LENGTH}" / name).glob("part-*.jsonl") for own in lines(file)}
           for name in TEACHERS}
    assert [sum(map(len, own.values())) for own in raw.values()] == [pairs, pairs]
    combined = {own["query"]: own["scores"] for own in lines(output / "cut/training/ensemble.jsonl")}
    wanted = np.concatenate([np.mean([scaled(list(raw[name][query].values())) for name in TEACHERS],
                                     axis=0) for query in combined])
    target = np.array([score for own in raw[TEACHERS[0]].values() for score in own.values()])
    wanted = (wanted - wanted.mean()) / wanted.std() * target.std() + target.mean()
    found = [own[d] for query, own in combined.items() for d in raw[TEACHERS[0]][query]]
    assert found == pytest.approx(wanted, abs=1e-4)

    # trained: as many steps as full batches, other weights and another run than the start's
    assert cli("search", "--index", next(output.glob("training-data/first-*/index")), "--topics",
               data / "topics.tsv", "--output", output / "start.txt").code == 0
    runs = {"start": read_run_file(output / "start.txt")}
    for recipe in RECIPES:
        record = json.loads((output / recipe / "training/model/training.json").read_text())
        assert record["steps"] == len(mined) // BATCH * EPOCHS
        result = json.loads((output / recipe / "few/result.json").read_text())
        assert (result["documents"], result["index"]["documents"]) == (DOCUMENTS, DOCUMENTS)
        shards = (output / recipe / "few/encoded/impacts").glob("*.jsonl")
        impacts = [own["vector"] for shard in shards for own in lines(shard)]
        assert result["index"]["postings"] == sum(map(len, impacts))
        assert result["index"]["total_terms"] == sum(sum(own.values()) for own in impacts)
        runs[recipe] = read_run_file(output / recipe / "few/run.test.txt")
        assert result["query_sets"]["test"]["measures"] == pytest.approx(
            peer_measures(judged, runs[recipe]), abs=1e-9)
    assert all(len(own) == QUERIES for own in runs.values())
    assert len({json.dumps(own) for own in runs.values()}) == len(runs)


def scaled(scores: list[float]) -> NDArray[np.float64]:
    values = np.array(scores)
    return (values - values.min()) / (values.max() - values.min())


def peer_measures(judged: Judged, run: Run) -> dict[str, float]:
    """Means over the judged queries, by pytrec_eval."""
    evaluator = pytrec_eval.RelevanceEvaluator({q: dict(own) for q, own in judged.items()},
                                               set(PEER.values()))
    # trec_eval's own order: ties by id, descending
    first = {query: dict(sorted(own.items(), key=lambda hit: (hit[1], hit[0]))[-10:])
             for query, own in run.items()}
    whole, shallow = evaluator.evaluate(run), evaluator.evaluate(first)
    return {ours: sum((shallow if ours == "RR@10" else whole)[query][its] for query in judged)
            / len(judged) for ours, its in PEER.items()}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
