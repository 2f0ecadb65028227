"""A recipe on a collection, from nothing to a verdict, with a small model and small data."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TEXTS, Result, write_corpus
from forked import program

Cli = Callable[..., Result]

SETTINGS = {"max_length": 32, "query_max_length": 16, "quantizer": "x100-rint",
            "special_tokens": "drop", "dtype": "float32"}


class Bench:
    """A folder with one recipe and one collection in it, and the command that runs them."""

    def __init__(self, folder: Path, cli: Cli, model: Path) -> None:
        self.folder, self.cli, self.model = folder, cli, model
        self.output = folder / "out"
        (folder / "collections").mkdir()
        self.recipe: dict[str, Any] = {"title": "a small model", "licence": "none",
                                       "variant": "splade-v3", "settings": dict(SETTINGS)}
        self.collection: dict[str, Any] = {
            "title": "eight texts", "corpus": "corpus.jsonl", "documents": len(TEXTS),
            "query_sets": {
                "first": {"topics": "topics.tsv", "qrels": "qrels.txt", "queries": 2,
                          "judgments": 3, "measures": ["RR@10", "nDCG*@10"]},
                "second": {"topics": "topics.tsv", "qrels": "qrels.txt", "measures": ["R@5"]}}}
        data = folder / "collections"
        write_corpus(data / "corpus.jsonl", TEXTS)
        (data / "topics.tsv").write_text("q1\tthe cat on the mat\nd3\twing boundary layer\n")
        (data / "qrels.txt").write_text("q1 0 d1 1\nq1 0 d2 0\nd3 0 d4 1\n")
        self.write()

    def write(self) -> None:
        (self.folder / "small.yaml").write_text(yaml.safe_dump(self.recipe))
        (self.folder / "collections" / "texts.yaml").write_text(yaml.safe_dump(self.collection))

    def run(self, *options: object) -> Result:
        self.write()
        return self.cli("reproduce", "run", "small", "--on", "texts", "--recipes", self.folder,
                        "--output", self.output, "--model", self.model, "--threads", 1, *options)

    def result(self) -> dict[str, Any]:
        path = self.output / "small" / "texts" / "result.json"
        record: dict[str, Any] = json.loads(path.read_text())
        return record

    def declare(self, values: dict[str, Any], **changes: Any) -> None:
        """Declares values as measured on this corpus."""
        block = {"source": "measured", "where": "here", "date": "2026-11-23", "versions": {"a": "b"},
                 "settings": dict(SETTINGS), "corpus_sha256": self.result()["corpus_sha256"],
                 "tolerance": {"measures": 0.0005, "because": "rounding"},
                 "values": {"small": values}} | changes
        text = yaml.safe_dump(block).replace("'2026-11-23'", "2026-11-23")
        self.collection["expected"] = [yaml.safe_load(text)]


@pytest.fixture
def bench(tmp_path: Path, cli: Cli, tiny: Path) -> Bench:
    return Bench(tmp_path, cli, tiny)


def stages(result: Result) -> dict[str, bool]:
    """Which stages were skipped."""
    lines = result.out.partition("verdict:")[0].splitlines()
    return {line[:20].strip(): "skipped: unchanged" in line for line in lines}


def test_the_second_time_everything_is_skipped_and_the_verdict_the_same(bench: Bench) -> None:
    first = bench.run()
    assert first.code == 0, first
    assert list(stages(first)) == ["download", "download first", "download second", "encode",
                                   "index", "check", "search first", "search second",
                                   "evaluate first", "evaluate second"]
    assert not any(stages(first).values())
    second = bench.run()
    assert all(stages(second).values())
    assert second.out.partition("verdict:")[2] == first.out.partition("verdict:")[2]
    assert "[no reference]" in second.out


def test_the_journal_keeps_its_keys_so_that_earlier_runs_stay_done(bench: Bench) -> None:
    """The keys of version 0.1. A stage whose keys change is done again by everybody."""
    bench.run()
    written = json.loads((bench.output / "small/texts/stages.json").read_text())["stages"]
    impacts = {"quantizer", "special_tokens", "dtype", "weights", "tokenizer", "variant", "device",
               "package"}
    judged, found = {"topics", "qrels"}, {"run", "measures", "qrels"}
    search = impacts | {"query_max_length", "index", "topics", "hits", "remove_query"}
    assert {name: set(stage["inputs"]) for name, stage in written.items()} == {
        "download": {"corpus"}, "download first": judged, "download second": judged,
        "encode": impacts | {"max_length", "corpus", "batch_tokens"},
        "index": {"encoded", "anserini", "pyserini"}, "check": {"index"},
        "search first": search, "search second": search,
        "evaluate first": found, "evaluate second": found}
    assert list(written["check"]["outputs"]) == ["check.json"]
    assert json.loads((bench.output / "small/texts/data.first.json").read_text()).keys() == {
        "queries", "topics", "judgments", "qrels"}


def test_a_run_invokes_the_commands_that_show_prints(
        bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from spladev3_anserini.cli import commands

    invoked: list[list[str]] = []
    invoke = commands.invoke

    def noted(argv: list[str]) -> str:
        invoked.append(argv)
        return invoke(argv)

    shown = bench.run("--dry-run").out
    assert not bench.output.exists()
    with monkeypatch.context() as patch:
        patch.setattr(commands, "invoke", noted)
        bench.run()
    assert [" ".join(argv).removesuffix(" --format json") for argv in invoked] == [
        " ".join(shlex.split(line)) for line in shown.splitlines() if " fetch " not in line]
    assert {argv[1] for argv in invoked} == {"survey", "encode", "index", "verify", "search",
                                             "evaluate"}


def test_the_printed_commands_alone_give_the_same_run(bench: Bench) -> None:
    bench.run()
    folder = bench.output / "small/texts"
    ours = (folder / "run.first.txt").read_bytes()
    shown = bench.run("--dry-run").out
    shutil.rmtree(bench.output)
    measured = ""
    for line in shown.splitlines():
        done = bench.cli(*shlex.split(line)[1:])
        assert done.code == 0, (line, done)
        measured += done.out if " evaluate " in line else ""
    assert (folder / "run.first.txt").read_bytes() == ours
    bench.run()
    found = bench.result()["query_sets"]["first"]["measures"]
    assert all(f"{value:.4f}" in measured for value in found.values())


@pytest.mark.fault(17, "a measure off by 0.001, upward or downward",
                   then="exit 1, [FAIL]",
                   detected="tolerance of the declared value")
@pytest.mark.parametrize(("off", "status", "code"), [
    (0.0, "[OK]", 0), (0.0004, "[OK]", 0), (-0.0004, "[OK]", 0),
    (0.001, "[FAIL]", 1), (-0.001, "[FAIL]", 1)])
def test_a_thousandth_off_fails_in_either_direction(off: float, status: str, code: int,
                                                    bench: Bench) -> None:
    bench.run()
    found = bench.result()["query_sets"]["second"]["measures"]["R@5"]
    bench.declare({"second": {"R@5": found + off}})
    judged = bench.run()
    assert all(stages(judged).values())
    assert judged.code == code
    line = next(line for line in judged.out.splitlines() if "R@5" in line and "[" in line)
    assert line.startswith(status)


def test_what_is_declared_but_for_other_settings_or_data_decides_nothing(bench: Bench) -> None:
    bench.run()
    found = bench.result()["query_sets"]["second"]["measures"]["R@5"]
    for changes, says in (
            ({"settings": SETTINGS | {"max_length": 512}}, "max_length 512, here 32"),
            ({"corpus_sha256": "0" * 64}, "corpus 000000000000"),
            ({"model_sha256": "1" * 64}, "model 111111111111"),
            ({"qrels_sha256": {"second": "2" * 64}}, "qrels 222222222222")):
        bench.declare({"second": {"R@5": found / 2 + 0.1}}, **changes)
        judged = bench.run()
        assert judged.code == 0, judged
        assert says in judged.out
        assert "[FAIL]" not in judged.out
        assert "[OK]" not in judged.out


def test_a_collection_that_is_not_the_one_described_is_never_ok(bench: Bench) -> None:
    """As with a small copy of a large collection: the paper's value is not compared."""
    bench.run()
    found = bench.result()["query_sets"]["first"]["measures"]["RR@10"]
    bench.collection["documents"] = 8_841_823
    bench.declare({"first": {"RR@10": found}}, source="paper")
    del bench.collection["expected"][0]["corpus_sha256"]
    judged = bench.run()
    assert judged.code == 0
    assert "not those of the collection's file (8 documents, the file says 8,841,823" in judged.out
    assert "[OK]" not in judged.out
    report = bench.cli("reproduce", "report", "--recipes", bench.folder, "--output", bench.output)
    assert "✓ 0 OK," in report.out
    page = (bench.output / "report.md").read_text()
    assert "small on texts: not yet measured" in page
    assert f"{found:.4f}** ✓" not in page


def test_index_statistics_are_declared_values_too(bench: Bench) -> None:
    bench.run()
    index = bench.result()["index"]
    bench.declare({}, index={"small": index})
    assert bench.run().out.count("[OK]") == 3
    bench.declare({}, index={"small": index | {"total_terms": index["total_terms"] + 1}})
    judged = bench.run()
    assert judged.code == 1
    assert "-1, beyond 0" in judged.out


@pytest.mark.fault(17, "a declared measure that was not measured",
                   then="[FAIL], never 0.0",
                   detected="the verdict")
def test_what_is_declared_and_not_measured_fails(bench: Bench) -> None:
    from spladev3_anserini.recipe.library import Library
    from spladev3_anserini.reproduction.experiment import open_experiment
    from spladev3_anserini.reproduction.result import read_result
    from spladev3_anserini.reproduction.verdict import verdicts

    bench.run()
    bench.declare({"second": {"R@5": 0.5, "P@1": 0.5}})
    bench.write()
    experiment = open_experiment(Library(bench.folder), "small", "texts", bench.output)
    result = read_result(experiment.folder)
    assert result is not None
    missing = next(v for v in verdicts(experiment, result, ["second"]) if v.what == "P@1")
    assert (missing.status, missing.measured) == ("FAIL", None)
    assert bench.run().out.count("P@1") >= 2  # a run measures whatever is declared


def test_only_what_changed_is_done_again(bench: Bench) -> None:
    first = bench.run()
    assert first.code == 0, first.err
    folder = bench.output / "small" / "texts"

    def redone() -> list[str]:
        result = bench.run()
        assert result.code == 0, result.err
        return [name for name, skipped in stages(result).items() if not skipped]

    (bench.folder / "collections/qrels.txt").write_text("q1 0 d1 1\nd3 0 d3 1\n")
    assert redone() == ["download first", "download second", "evaluate first", "evaluate second"]
    bench.recipe["settings"]["query_max_length"] = 12
    assert redone() == ["search first", "search second"]
    run_file = folder / "run.second.txt"
    run_file.write_text(run_file.read_text().replace("Q0", "Q1"))
    assert redone() == ["search second"]
    shard = folder / "encoded/impacts/part-00000.jsonl"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-20])
    assert redone() == ["encode"]
    assert shard.read_bytes() == whole
    shutil.rmtree(folder / "index")
    assert redone()[0] == "index"
    bench.recipe["settings"]["max_length"] = 8
    assert redone()[:2] == ["encode", "index"]
    corpus = bench.folder / "collections/corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("cat", "dog"))
    assert redone()[:3] == ["download", "encode", "index"]
    bench.collection["query_sets"]["second"]["remove_query"] = True
    assert redone() == ["search second", "evaluate second"]
    assert not re.search(r"^d3 Q0 d3 ", run_file.read_text(), re.M)
    assert re.search(r"^d3 Q0 d3 ", (folder / "run.first.txt").read_text(), re.M)


def test_a_killed_encode_is_continued(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from spladev3_anserini.encoding.directory import EncodedDirectory

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EncodedDirectory, "publish", killed)
        assert bench.run().code == 130
    shard = bench.output / "small/texts/encoded/impacts/part-00000.jsonl"
    written = shard.stat().st_mtime_ns
    assert bench.run().code == 0
    assert shard.stat().st_mtime_ns == written


def test_stages_one_by_one_and_query_sets_one_by_one(bench: Bench, refused: Cli) -> None:
    early = refused("reproduce", "run", "small", "--on", "texts", "--recipes", bench.folder,
                    "--output", bench.output, "--model", bench.model, "--stages", "search")
    assert "the stage download must be done first" in early
    for stage in ("download", "encode", "index", "check", "search"):
        done = bench.run("--stages", stage)
        assert done.code == 0, done
        assert "verdict" not in done.out
    assert "verdict" in bench.run("--stages", "evaluate").out
    shutil.rmtree(bench.output)
    assert "first" not in bench.run("--sets", "second").out
    assert list(bench.result()["query_sets"]) == ["second"]
    bench.run("--sets", "first")
    assert set(bench.result()["query_sets"]) == {"first", "second"}


def test_another_run_in_the_same_place_is_refused(bench: Bench) -> None:
    from filelock import FileLock

    bench.run()
    with FileLock(bench.output / "small/texts/.lock"):
        busy = bench.run()
    assert (busy.code, busy.err.count("\n")) == (2, 1)
    assert "another run is at work" in busy.err


@pytest.mark.fault(18, "a link out of the collection's folder", detected="resolved path")
def test_a_link_out_of_the_folder_and_missing_data_are_refused(bench: Bench) -> None:
    outside = bench.folder / "outside.jsonl"
    write_corpus(outside, TEXTS)
    corpus = bench.folder / "collections" / "corpus.jsonl"
    corpus.unlink()
    assert "no such file" in bench.run().err
    corpus.symlink_to(outside)
    assert "leads out of" in bench.run().err
    bench.collection["root"] = "$SPLADEV3_NOT_SET"
    assert "needs $SPLADEV3_NOT_SET" in bench.run().err
    bench.collection["root"] = None
    bench.collection["corpus"] = "demo:nothing"
    assert "expected corpus, topics or qrels" in bench.run().err
    assert not (bench.output / "small/texts/encoded").exists()


def test_a_recipe_without_a_model_needs_one_and_one_with_a_model_takes_no_other(
        bench: Bench, refused: Cli) -> None:
    arguments = ("--on", "texts", "--recipes", bench.folder, "--output", bench.output)
    assert "names no model" in refused("reproduce", "run", "small", *arguments)
    bench.recipe["model"] = "demo"
    bench.write()
    assert "names its own" in refused("reproduce", "run", "small", *arguments, "--model",
                                      bench.model)


def test_the_report_shows_found_beside_declared(bench: Bench) -> None:
    bench.run()
    found = bench.result()["query_sets"]["first"]["measures"]["RR@10"]
    bench.declare({"first": {"RR@10": found}, "second": {"R@5": 0.9999}})
    assert bench.run().code == 1
    report = bench.cli("reproduce", "report", "--recipes", bench.folder, "--output", bench.output)
    assert report.code == 1
    page = (bench.output / "report.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "").replace("arXiv", "")
    for text in (f"reproduce run {bench.folder}/small.yaml", f"{found:.4f} ✓", "0.9999", "✗",
                 bench.result()["model_sha256"], bench.result()["environment"]["lucene"],
                 "spladev3-anserini encode --model"):
        assert text in page, text
    assert (bench.output / "report.md").read_text().count("\n## ") == 1


def test_means_over_a_group_wait_for_every_set_of_it(bench: Bench) -> None:
    for own in bench.collection["query_sets"].values():
        own |= {"group": "both", "measures": ["RR@10"]}
    bench.collection["query_sets"]["second"]["qrels"] = "second.txt"
    (bench.folder / "collections/second.txt").write_text("q1 0 d2 1\n")
    bench.recipe["expected"] = [yaml.safe_load(
        "{source: paper, where: table 1, settings: {}, summary: {both RR@10: 0.5, FLOPS: 1.2},"
        " tolerance: {measures: 0.01, because: digits}}")]
    arguments = ("reproduce", "report", "--recipes", bench.folder, "--output", bench.output)
    bench.run("--sets", "first")
    bench.cli(*arguments)
    page = (bench.output / "report.md").read_text()
    assert "| small | both | RR@10 | 0.5000 | paper | not yet: 1 of 2 sets measured |" in page
    bench.run()
    bench.cli(*arguments)
    found = [own["measures"]["RR@10"] for own in bench.result()["query_sets"].values()]
    assert found[0] != found[1]
    assert f"| 0.5000 | paper | {sum(found) / 2:.4f} |" in (bench.output / "report.md").read_text()


def test_a_collection_given_by_its_path_is_in_the_report_and_its_commands(
        bench: Bench, tmp_path: Path) -> None:
    elsewhere = tmp_path / "a folder" / "mine.yaml"
    shutil.copytree(bench.folder / "collections", elsewhere.parent)
    bench.write()
    (bench.folder / "collections/texts.yaml").rename(elsewhere)
    (elsewhere.parent / "qrels.txt").write_text("q1 0 d1 1\nnone 0 d1 1\n")
    done = bench.cli("reproduce", "run", "small", "--on", elsewhere, "--recipes", bench.folder,
                     "--output", bench.output, "--model", bench.model)
    assert done.code == 0, done
    assert "1 of 2 judged queries without a result, counted as 0" in done.out
    bench.cli("reproduce", "report", "--recipes", bench.folder, "--output", bench.output)
    assert f"--on '{elsewhere}'" in (bench.output / "report.md").read_text()


def report_of(bench: Bench) -> str:
    bench.write()
    return bench.cli("reproduce", "report", "--recipes", bench.folder, "--output",
                     bench.output).out


def test_a_report_counts_only_what_the_recipe_still_says(bench: Bench) -> None:
    bench.run()
    bench.declare({name: own["measures"]
                   for name, own in bench.result()["query_sets"].items()})
    assert "✓ 1 OK," in report_of(bench)
    bench.recipe["variant"] = "splade-v3-doc"
    assert "✓ 0 OK," in report_of(bench)
    bench.recipe["variant"] = "splade-v3"
    bench.collection["query_sets"]["first"]["hits"] = 1
    assert "✓ 0 OK," in report_of(bench)
    del bench.collection["query_sets"]["first"]["hits"]
    assert "✓ 1 OK," in report_of(bench)
    run_file = bench.output / "small/texts/run.first.txt"
    run_file.write_text(run_file.read_text() + "x Q0 d1 1 1 y\n")
    assert "✓ 0 OK," in report_of(bench)


def test_query_sets_of_another_variant_are_not_mixed_and_a_part_is_not_all(bench: Bench) -> None:
    bench.run()
    bench.declare({name: own["measures"]
                   for name, own in bench.result()["query_sets"].items()})
    bench.recipe["variant"] = "splade-v3-doc"
    bench.run("--sets", "first")
    assert list(bench.result()["query_sets"]) == ["first"]
    assert "✓ 0 OK," in report_of(bench)


def test_settings_changed_while_an_encode_was_interrupted(bench: Bench,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    from spladev3_anserini.encoding import encoder as module

    bench.run()
    bench.recipe["settings"]["max_length"] = 8

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "Encoder", killed)
        assert bench.run().code == 130
    assert bench.run().code == 0


def test_topics_in_gzip_are_looked_at_too(bench: Bench) -> None:
    import gzip

    folder = bench.folder / "collections" / "beir"
    folder.mkdir()
    shutil.copy(bench.folder / "collections/corpus.jsonl", folder / "corpus.jsonl")
    (folder / "queries.jsonl.gz").write_bytes(gzip.compress(b'{"_id": "q1", "text": "the cat"}\n'))
    for own in bench.collection["query_sets"].values():
        own |= {"topics": "beir", "queries": 1}
    assert bench.run().code == 0
    (folder / "queries.jsonl.gz").write_bytes(gzip.compress(b'{"_id": "q1", "text": "a dog"}\n'))
    assert not stages(bench.run())["search first"]


def test_ctrl_c_ends_a_run_in_java_with_one_line(bench: Bench) -> None:
    bench.write()
    process = subprocess.Popen(
        [*program(), "reproduce", "run", "small", "--on", "texts", "--recipes", str(bench.folder),
         "--output", str(bench.output), "--model", str(bench.model)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("check"):
            process.send_signal(signal.SIGINT)
            break
    _, err = process.communicate(timeout=60)
    assert process.returncode in (130, 0), err
    assert "Traceback" not in err


def test_values_for_a_set_that_is_not_there_are_refused(bench: Bench) -> None:
    bench.run()
    bench.declare({"secund": {"R@5": 0.5}})
    refused = bench.run()
    assert refused.code == 2
    assert "'secund', which is no query set" in refused.err


@pytest.mark.fault(18, "a path of shell words",
                   then="one word of one argument",
                   detected="no shell is ever used")
def test_a_path_with_a_shells_words_is_quoted(bench: Bench) -> None:
    from spladev3_anserini.reproduction.commands import command_text

    assert command_text(["a", "$DATA/x $(touch y)", "$(z)", "$Ab"]) == (
        "a \"$DATA\"/'x $(touch y)' '$(z)' '$Ab'")


@pytest.mark.parametrize("name", ["...yaml", "models.yaml", ".hidden.yaml"])
def test_names_that_would_lead_elsewhere_are_refused(name: str, bench: Bench) -> None:
    shutil.copy(bench.folder / "collections/texts.yaml", bench.folder / name)
    refused = bench.cli("reproduce", "run", "small", "--on", bench.folder / name, "--recipes",
                        bench.folder, "--output", bench.output)
    assert refused.code == 2
    assert "cannot be the name" in refused.err
    assert not bench.output.exists()


@pytest.mark.fault(17, "a measured value edited in a result", then="left out, with a warning",
                   detected="sha256 of the result's content")
def test_an_edited_result_is_not_reported(bench: Bench) -> None:
    bench.run()
    path = bench.output / "small/texts/result.json"
    found = bench.result()["query_sets"]["first"]["measures"]["RR@10"]
    path.write_text(path.read_text().replace(repr(found), "0.9876", 1))
    report = bench.cli("reproduce", "report", "--recipes", bench.folder, "--output", bench.output)
    assert "result.json: not a valid result: changed since it was written" in report.err
    assert "0.9876" not in (bench.output / "report.md").read_text()
