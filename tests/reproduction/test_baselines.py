"""Baselines and fused systems as recipes: the runs of the ordinary commands, what is done again and refused."""

from __future__ import annotations

import datetime
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import SPECIALS, WORDS, Result, save_tokenizer, write_corpus
from training.tiny_templated import make_monot5

from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.rankers.pair_scorer import PairSettings
from spladev3_anserini.rankers.registry import open_pair_scorer
from spladev3_anserini.recipe.library import Library
from spladev3_anserini.recipe.schema import BaselineRecipe

RECIPES = Path(__file__).parents[2] / "recipes"
WORDED = {f"d{number}": " ".join(WORDS[(7 * number + i * i) % 36] for i in range(3 + number % 6))
          for number in range(40)} | {"empty": ""}


def saved(model: Any, folder: Path) -> Path:
    import torch

    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.6, generator=generator)
    model.save_pretrained(folder)
    save_tokenizer(folder, [*SPECIALS, *WORDS])
    return folder


class Bench:
    """A library of baselines and fused systems over a collection of two query sets, in one folder."""

    def __init__(self, folder: Path, cli: Callable[..., Result]) -> None:
        from transformers import BertConfig, BertForSequenceClassification, BertModel

        self.folder, self.cli = folder, cli
        config = BertConfig(vocab_size=len(SPECIALS) + len(WORDS), hidden_size=16,
                            num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
                            max_position_embeddings=64, num_labels=1)
        dense = saved(BertModel(config, add_pooling_layer=False), folder / "dense-model")
        ranker = saved(BertForSequenceClassification(config), folder / "ranker-model")
        for inner in ("baselines", "collections"):
            (folder / inner).mkdir()
        self.recipe("bm25", kind="bm25", b=0.5)
        self.recipe("dense", kind="dense", model=str(dense), pooling="mean", similarity="cosine",
                    max_length=32, query_max_length=16)
        self.recipe("rerank", kind="rerank", of="bm25", teacher=str(ranker), top=3, max_length=32)
        self.recipe("fused", kind="fuse", of=["dense", "bm25"], k=10)
        self.recipe("summed", kind="fuse", of=["rerank", "bm25"], method="sum", weights=[0.75, 0.25])
        data = folder / "collections"
        write_corpus(data / "corpus.jsonl", WORDED)
        (data / "topics.tsv").write_text("q1\twing flow air\nd3\tboundary layer heat\n")
        (data / "qrels.txt").write_text("q1 0 d1 1\nq1 0 d2 0\nd3 0 d4 1\n")
        sets: dict[str, Any] = {"topics": "topics.tsv", "qrels": "qrels.txt",
                                "measures": ["nDCG@10"]}
        (data / "texts.yaml").write_text(yaml.safe_dump({
            "title": "texts", "corpus": "corpus.jsonl", "query_sets": {
                "all": sets, "few": sets | {"measures": ["R@5"], "hits": 5,
                                            "remove_query": True}}}))

    def recipe(self, name: str, **baseline: Any) -> None:
        (self.folder / "baselines" / f"{name}.yaml").write_text(yaml.safe_dump(
            {"title": name, "licence": "none", "baseline": baseline}))

    def run(self, name: str, *options: object, output: str = "out") -> Result:
        return self.cli("reproduce", "run", name, "--on", "texts", "--recipes", self.folder,
                        "--output", self.folder / output, "--threads", 1, *options)

    def file(self, name: str, query_set: str, output: str = "out") -> Path:
        return self.folder / output / name / "texts" / f"run.{query_set}.txt"


@pytest.fixture
def bench(tmp_path: Path, cli: Callable[..., Result]) -> Bench:
    return Bench(tmp_path, cli)


@pytest.mark.parametrize("name", ["bm25", "dense", "rerank", "fused", "summed"])
def test_a_run_is_that_of_the_commands_and_the_second_is_skipped(name: str, bench: Bench) -> None:
    first = bench.run(name)
    assert first.code == 0, first.err
    assert re.search(r"^search +2 query sets: .*\d queries", first.out, re.M), first.out
    second = bench.run(name)
    done = second.out.partition("verdict:")[0].splitlines()
    assert all("skipped: unchanged" in line or line.startswith("first ") for line in done), done
    assert second.out.partition("verdict:")[2] == first.out.partition("verdict:")[2]

    shown = bench.run(name, "--dry-run", output="by-hand").out
    for line in shown.splitlines():
        # as many threads as the run: another number moves a dense score's last digit
        threads = ["--threads", "1"] if " dense " in line.partition("--")[0] + " " else []
        assert bench.cli(*shlex.split(line)[1:], *threads).code == 0
    for query_set in ("all", "few"):
        ours = bench.file(name, query_set).read_bytes()
        assert bench.file(name, query_set, "by-hand").read_bytes() == ours
        assert ours
    few = read_run_file(bench.file(name, "few"))
    assert "d3" not in few["d3"]  # the query's own document
    assert max(map(len, few.values())) <= 5
    assert max(map(len, read_run_file(bench.file(name, "all")).values())) > 5


def test_a_reranker_follows_what_it_begins_with(bench: Bench) -> None:
    bench.run("rerank")
    begun, result = read_run_file(bench.file("bm25", "all")), bench.file("rerank", "all")
    after = read_run_file(result)
    for query, documents in begun.items():
        assert set(list(after[query])[:3]) == set(list(documents)[:3])
        assert list(after[query])[3:] == list(documents)[3:]
    before = json.loads((result.parent / "result.json").read_text())
    assert (before["variant"], before["index"], before["documents"]) == ("rerank", None, 41)
    bench.recipe("bm25", kind="bm25", b=0.9)
    again = bench.run("rerank")
    assert len(re.findall("^search +again", again.out, re.M)) == 2
    assert list(read_run_file(bench.file("bm25", "all"))["q1"]) != list(begun["q1"])


def test_a_fused_run_follows_those_of_its_recipes(bench: Bench) -> None:
    first = bench.run("fused")
    assert re.findall("^first +(.*)", first.out, re.M) == [
        "fused begins with dense", "fused begins with bm25"]
    runs = [read_run_file(bench.file(name, "all")) for name in ("dense", "bm25")]
    for query, documents in read_run_file(bench.file("fused", "all")).items():
        ranks = [{name: rank for rank, name in enumerate(run[query], 1)} for run in runs]
        assert documents == {name: pytest.approx(sum(1 / (10 + own[name]) for own in ranks if name in own))
                             for name in documents}
        assert set(documents) == {name for own in ranks for name in own}
    before = json.loads((bench.file("fused", "all").parent / "result.json").read_text())
    assert (before["variant"], before["model"], before["index"]) == ("fuse", "dense + bm25", None)
    assert before["settings"] == {"kind": "fuse", "of": ["dense", "bm25"], "method": "rrf", "k": 10}

    bench.recipe("bm25", kind="bm25", b=0.9)
    again = bench.run("fused", "--stages", "search")
    assert len(re.findall("^search +again", again.out, re.M)) == 2
    assert re.search(r"again \(run (all|few) of bm25 was", again.out)
    done = bench.run("fused", "--stages", "evaluate")  # the stages before it count as done
    assert done.code == 0, done.err
    after = json.loads((bench.file("fused", "all").parent / "result.json").read_text())
    assert after["model_sha256"] != before["model_sha256"]
    bench.recipe("summed", kind="fuse", of=["dense", "bm25"], method="sum", weights=[1.0, 2.0])
    bench.run("summed")
    bench.recipe("summed", kind="fuse", of=["dense", "bm25"], method="sum", weights=[2.0, 1.0])
    assert len(re.findall("^search +again", bench.run("summed").out, re.M)) == 1


def test_a_declared_value_of_a_fused_run_has_a_verdict(bench: Bench) -> None:
    bench.run("fused")
    result = json.loads((bench.file("fused", "all").parent / "result.json").read_text())
    value = result["query_sets"]["all"]["measures"]["nDCG@10"]
    file = bench.folder / "collections" / "texts.yaml"
    data = yaml.safe_load(file.read_text())
    data["expected"] = [{
        "source": "measured", "where": "here", "date": datetime.date(2026, 11, 27), "versions": {"python": "3"},
        "settings": {}, "corpus_sha256": result["corpus_sha256"],
        "tolerance": {"measures": 0.0005, "because": "rounding"},
        "values": {"fused": {"all": {"nDCG@10": round(value, 4)}}}}]
    file.write_text(yaml.safe_dump(data))
    assert re.search(r"^\[OK\] +all +nDCG@10", bench.run("fused").out, re.M)
    bench.cli("reproduce", "pages", "--recipes", bench.folder, "--to", bench.folder / "pages")
    assert f"| all | nDCG@10 | {value:.4f} |" in (bench.folder / "pages" / "texts.md").read_text()
    data["expected"][0]["values"]["fused"]["all"]["nDCG@10"] = abs(round(value, 4) - 0.1)
    file.write_text(yaml.safe_dump(data))
    failed = bench.run("fused")
    assert failed.code == 1
    assert re.search(r"^\[FAIL\] +all +nDCG@10", failed.out, re.M)


def test_the_report_has_a_column_for_each_that_ran(bench: Bench) -> None:
    bench.run("fused")
    done = bench.cli("reproduce", "report", "--recipes", bench.folder, "--output",
                     bench.folder / "out")
    assert "3 no reference" in done.out, done
    report = (bench.folder / "out" / "report.md").read_text()
    assert all(f"| {name} |" in report for name in ("bm25", "dense", "fused"))
    shown = bench.cli("reproduce", "show", "bm25", "--on", "texts", "--recipes", bench.folder).out
    assert "kind bm25, k1 0.9, b 0.5" in shown
    shown = bench.cli("reproduce", "show", "summed", "--on", "texts", "--recipes", bench.folder).out
    assert "of rerank + bm25, method sum, weights 0.75 + 0.25" in shown
    assert "disk        its runs, and the files of rerank, bm25" in shown
    assert len(re.findall(" bm25 --corpus .*/run.all.txt", shown)) == 1  # though two recipes need it


def test_a_reranker_with_a_template(bench: Bench) -> None:
    teacher = make_monot5(bench.folder / "t5")
    bench.recipe("mono", kind="rerank", of="bm25", teacher=str(teacher), top=3, max_length=32,
                 template="monot5")
    done = bench.run("mono")
    assert done.code == 0, done
    shown = bench.cli("reproduce", "show", "mono", "--on", "texts", "--recipes", bench.folder).out
    assert "--template monot5" in shown
    run = read_run_file(bench.file("mono", "all"))
    settings = PairSettings(max_length=32, device="cpu", template="monot5")
    for query, text in (("q1", "wing flow air"), ("d3", "boundary layer heat")):
        first = list(run[query])[:3]
        scores = open_pair_scorer(str(teacher), settings).score([(text, WORDED[d]) for d in first])
        assert list(run[query].values())[:3] == pytest.approx(scores.tolist(), abs=1e-5)


def test_a_pickle_is_converted_once(bench: Bench) -> None:
    import torch
    from safetensors.torch import load_file

    bench.run("dense")
    folder = bench.folder / "dense-model"
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    assert "convert it once" in bench.run("dense").err
    recipe = bench.folder / "baselines" / "dense.yaml"
    recipe.write_text(recipe.read_text() + "pickled: true\n")
    ours = bench.file("dense", "all").read_bytes()
    done = bench.run("dense")
    assert "converted its pickle once" in done.out
    assert "converted" not in bench.run("dense").out
    assert bench.file("dense", "all").read_bytes() == ours
    convert, dense = (line for line in bench.run("dense", "--dry-run").out.splitlines()
                      if re.search(r" convert | dense .*/run\.all", line))
    converted = shlex.split(convert)[shlex.split(convert).index("--output") + 1]
    assert shlex.split(dense)[shlex.split(dense).index("--model") + 1] == converted


def test_refused(bench: Bench, refused: Callable[..., str]) -> None:
    def call(*options: object) -> str:
        return refused("reproduce", "run", "bad", "--on", "texts", "--recipes", bench.folder,
                       "--output", bench.folder / "out", *options)

    bench.recipe("bad", kind="bm25", k2=1.0)
    assert "there is no such key" in call()
    bench.recipe("bad", kind="nonsense")
    assert "bad.yaml:" in call()
    bench.recipe("bad", kind="rerank", of="nowhere", teacher="x")
    assert "no recipe 'nowhere'" in call()
    bench.recipe("bad", kind="rerank", of="bm25", teacher="x", template="other")
    assert "baseline.rerank.template: expected one of qwen3-reranker, mxbai" in call()
    bench.recipe("bad", kind="rerank", of="bad", teacher="x")
    assert "bad.yaml: bad needs bad itself" in call()
    bench.recipe("bad", kind="fuse", of=["bm25", "worse"])
    bench.recipe("worse", kind="rerank", of="bad", teacher="x")
    assert "worse.yaml: bad needs worse itself" in call()
    for wrong, message in (
            ({"of": ["bm25"]}, "bad.yaml:"), ({"of": ["bm25", "bm25"]}, "of: names a recipe twice"),
            ({"weights": [1.0, 1.0]}, "weights, raw_scores: only the method sum uses them"),
            ({"method": "sum", "k": 60}, "k: only the method rrf uses it"),
            ({"method": "sum", "weights": [1.0]}, "weights: expected one for each recipe"),
            ({"method": "sum", "weights": [0.0, 0.0]}, "not all of them 0"), ({"k": -1}, "bad.yaml:")):
        bench.recipe("bad", **{"kind": "fuse", "of": ["bm25", "dense"]} | wrong)
        assert message in call()
    bench.recipe("bad", kind="fuse", of=["bm25", "dense"])
    assert "is a baseline, whose recipe names its model" in call("--model", "demo")
    bench.recipe("bad", kind="dense", model="nowhere")
    assert "--model nowhere: no such folder" in call()
    bench.recipe("bad", kind="bm25")
    assert "is a baseline, whose recipe names its model" in call("--model", "demo")
    bad = bench.folder / "baselines" / "bad.yaml"
    bad.write_text(bad.read_text() + "variant: splade-v3\n")
    assert "a recipe with a baseline has no variant" in call()
    assert "only runs of impacts are exported" in refused(
        "reproduce", "export", "bm25", "--on", "texts", "--recipes", bench.folder, "--output",
        bench.folder / "out", "--to", bench.folder / "exported")


@pytest.mark.parametrize("name", Library(RECIPES).baselines())
def test_those_that_come_with_the_package_are_read(name: str) -> None:
    own = Library(RECIPES).recipe(name)
    if isinstance(own, BaselineRecipe):
        assert own.kind == own.baseline.kind
        assert own.training is None
    else:  # a SPLADE to compare with
        assert own.kind == own.variant
