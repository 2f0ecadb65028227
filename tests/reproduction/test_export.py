"""What is exported runs in Anserini's own runner and in Pyserini, and gives the same values."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import TEXTS, Result, write_corpus
from forked import program

from spladev3_anserini.lucene.jvm import java_command
from spladev3_anserini.reproduction.export import trec_eval_flags

PYSERINI = """
import json, runpy, sys
from spladev3_anserini.lucene.jvm import start_jvm
start_jvm()
for words in json.loads(sys.argv[1]):
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def run_and_exported(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A folder with recipes, their run in out/, and its export."""
    from spladev3_anserini.cli.commands import commands

    here = tmp_path_factory.mktemp("export")
    folder = here / "recipes"
    (folder / "collections").mkdir(parents=True)
    (folder / "small.yaml").write_text(yaml.safe_dump({
        "title": "a small model", "licence": "none", "variant": "splade-v3-lexical",
        "settings": {"max_length": 32, "query_max_length": 32, "quantizer": "x100-rint",
                     "special_tokens": "drop", "dtype": "float32"}}))
    (folder / "collections/texts.yaml").write_text(yaml.safe_dump({
        "title": "texts", "corpus": "corpus.jsonl", "query_sets": {
            name: {"topics": "topics.tsv", "qrels": f"{name}.txt",
                   "measures": ["RR@10", "nDCG@10", "R@1000", "AP(rel=2)", "nDCG*@10", "Judged@5"],
                   "hits": 10, "remove_query": True}
            for name in ("first", "second")}}))
    data = folder / "collections"
    write_corpus(data / "corpus.jsonl", TEXTS)
    (data / "topics.tsv").write_text("q1\tthe cat on the mat\nd3\twing boundary layer\n")
    (data / "first.txt").write_text("q1 0 d1 2\nq1 0 d2 0\nd3 0 d4 1\nd3 0 d3 2\n")
    (data / "second.txt").write_text("q1 0 d2 2\nd3 0 d10 0\nd3 0 d1 1\n")
    same = ["small", "--on", "texts", "--recipes", str(folder), "--output", str(here / "out"),
            "--model", str(tiny)]
    for words in (["run", *same], ["export", *same, "--to", str(here / "exported")]):
        commands.main(["reproduce", *words], standalone_mode=False)
    return here


@pytest.fixture
def exported(run_and_exported: Path, tmp_path: Path) -> Path:
    """The export, with a run and recipes beside it, to be changed."""
    shutil.copytree(run_and_exported, tmp_path, dirs_exist_ok=True)
    return tmp_path / "exported"


def test_what_trec_eval_lacks_is_said(exported: Path, cli: Callable[..., Result], tiny: Path) -> None:
    folder = exported.parent
    done = cli("reproduce", "export", "small", "--on", "texts", "--recipes", folder / "recipes",
               "--output", folder / "out", "--model", tiny, "--to", folder / "other")
    assert "trec_eval has no such measure: Judged@5" in done.out


def anserini(folder: Path, name: str) -> str:
    command = java_command("io.anserini.reproduce.ReproduceFromDocumentCollection", "--index",
                           "--verify", "--search", "--config", name)
    place = command.index("-cp") + 1
    command[place] += f"{os.pathsep}src/main/resources"
    done = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False,
                          env=os.environ | {"HOME": str(folder)})
    return done.stdout


def test_anserinis_own_runner_executes_it(exported: Path) -> None:
    log = anserini(exported, "texts.small")
    assert "Index statistics successfully verified" in log, log[-3000:]
    config = exported / ("src/main/resources/reproduce/from-document-collection/configs/"
                         "texts.small.yaml")
    metrics = yaml.safe_load(config.read_text())["metrics"]
    assert [m["metric"] for m in metrics] == ["RR@10", "nDCG@10", "R@1000", "AP(rel=2)", "nDCG*@10"]
    assert len(re.findall(r"\[OK\].*expected", log)) == 2 * len(metrics), log[-3000:]
    assert "FAIL" not in log


def test_anserinis_own_runner_would_see_a_difference(exported: Path) -> None:
    config = exported / ("src/main/resources/reproduce/from-document-collection/configs/"
                         "texts.small.yaml")
    record = yaml.safe_load(config.read_text())
    record["models"][0]["results"]["nDCG@10"][0] += 0.01
    config.write_text(yaml.safe_dump(record))
    assert "FAIL" in anserini(exported, "texts.small")


def test_pyserinis_condition_gives_its_scores(exported: Path) -> None:
    anserini(exported, "texts.small")  # builds the index
    condition = yaml.safe_load((exported / "pyserini/2cr/texts.small.yaml").read_text())
    (own,) = condition["conditions"]
    commands = []
    for topics in own["topics"]:
        line = own["command"].replace("$topics", topics["topic_key"])
        line = line.replace("$output", f"{topics['eval_key']}.run")
        line = line.replace("${sparse_threads}", "1").replace("${sparse_batch_size}", "8")
        words = shlex.split(line)
        assert words[:2] == ["python", "-m"]
        commands.append(words[2:])
    subprocess.run([*program(), "-c", PYSERINI, json.dumps(commands)], cwd=exported, check=True,
                   capture_output=True, env=os.environ | {"OPENAI_API_KEY": "unused"})
    for topics in own["topics"]:
        (scores,) = topics["scores"]
        for name, flags in (("MRR@10", "-c -M 10 -m recip_rank"), ("nDCG@10", "-c -m ndcg_cut.10"),
                            ("R@1K", "-c -m recall.1000"), ("AP(rel=2)", "-c -l 2 -m map"),
                            ("nDCG*@10", "-c -J -m ndcg_cut.10")):
            command = java_command("trec_eval", *flags.split(), topics["eval_key"],
                                   f"{topics['eval_key']}.run")
            done = subprocess.run(command, cwd=exported, capture_output=True, text=True, check=True)
            assert float(done.stdout.split()[-1]) == pytest.approx(scores[name], abs=5.1e-5), name


def test_what_has_changed_since_the_run_is_not_exported(exported: Path, cli: Callable[..., Result],
                                                        tiny: Path) -> None:
    folder = exported.parent
    same = ("small", "--on", "texts", "--recipes", folder / "recipes", "--output", folder / "out",
            "--model", tiny, "--to", folder / "again")
    for name, old, new in (("topics.tsv", "cat", "dog"), ("second.txt", "d10 0", "d10 1")):
        path = folder / "recipes/collections" / name
        whole = path.read_text()
        path.write_text(whole.replace(old, new, 1))
        refused = cli("reproduce", "export", *same)
        assert (refused.code, "have changed since it ran" in refused.err) == (2, True), refused
        path.write_text(whole)
    assert not (folder / "again").exists()
    assert cli("reproduce", "export", *same).code == 0


def test_queries_that_anserini_does_not_search_are_not_exported(
        exported: Path, cli: Callable[..., Result], tiny: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    folder = exported.parent
    monkeypatch.setattr("spladev3_anserini.reproduction.export._MOST_TERMS", 1)
    done = cli("reproduce", "export", "small", "--on", "texts", "--recipes", folder / "recipes",
               "--output", folder / "out", "--model", tiny, "--to", folder / "again")
    assert done.code == 2
    assert re.search(r"first: \d quer(y|ies) of more than 1 terms \(first q1: \d+\), which Anserini "
                     "and Pyserini do not search; nothing is exported", done.err), done.err
    assert not (folder / "again").exists()


def test_flags_depend_on_the_judgments() -> None:
    positive, mixed = {"q": {"d": 1}}, {"q": {"d": 1, "e": 0}}
    assert trec_eval_flags("nDCG*@10", positive) == "-c -m ndcg_cut.10"
    assert trec_eval_flags("nDCG*@10", mixed) == "-c -J -m ndcg_cut.10"
    assert trec_eval_flags("R(rel=2)@100", mixed) == "-c -l 2 -m recall.100"
    assert trec_eval_flags("Success@5", mixed) == "-c -m success.5"
    assert trec_eval_flags("alpha_nDCG@10", mixed) is None


def test_nothing_is_exported_before_a_run(tmp_path: Path, refused: Callable[..., str]) -> None:
    message = refused("reproduce", "export", "demo", "--on", "cranfield", "--output",
                      tmp_path / "out", "--to", tmp_path / "exported")
    assert "first: spladev3-anserini reproduce run demo --on cranfield" in message
    assert not (tmp_path / "exported").exists()
