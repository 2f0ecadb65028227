"""How a command ends: signals, readers that go, misspelt names, and counts in its last line."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from conftest import TEXTS, Result, write_corpus

from spladev3_anserini.cli import signals
from spladev3_anserini.cli.app import run
from spladev3_anserini.text import counted, table

Cli = Callable[..., Result]


@pytest.mark.parametrize("words", [["--help"], ["models", "list"], ["--version"], ["encode", "-h"]])
def test_a_reader_that_goes_is_no_failed_check(words: list[str]) -> None:
    """Of a whole process: what Python does at its end counts. 1 would be a failed check."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "spladev3_anserini", *words], stdout=writing,
                          stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_error_that_nobody_reads_has_its_code() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "spladev3_anserini", "nonsense"], stdout=writing,
                          stderr=writing, check=False)
    os.close(writing)
    assert done.returncode == 2


def test_another_pipe_that_breaks_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    """A closed socket of a download, for example; our own reader is still there."""
    @click.command()
    def command() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    before = sys.stdout, sys.stderr
    with pytest.raises(SystemExit) as stop:
        run(command, [])
    assert (stop.value.code, capfd.readouterr().err) == (
        2, "spladev3-anserini: input/output: Broken pipe\n")
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize(("number", "line"), [(signal.SIGINT, "interrupted"),
                                              (signal.SIGTERM, "terminated")])
@pytest.mark.parametrize("module", ["spladev3_anserini", "spladev3_anserini.encode"])
def test_a_signal_while_python_imports(number: int, line: str, module: str,
                                       tmp_path: Path) -> None:
    """A click.py that ends the process that imports it stands for a signal in those 0.2 s."""
    (tmp_path / "click.py").write_text(f"import os, time\nos.kill(os.getpid(), {int(number)})\n"
                                       "time.sleep(9)\n")
    done = subprocess.run([sys.executable, "-m", module, "--help"], text=True, check=False,
                          capture_output=True, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (128 + number, f"spladev3-anserini: {line}\n")


@pytest.mark.parametrize(("argv", "orig", "ours"), [
    (["-m"], ["python", "-m", "spladev3_anserini.encode", "--help"], True),
    (["-m"], ["python", "-I", "-mspladev3_anserini"], True),
    (["/bin/spladev3-anserini", "x"], ["python", "/bin/spladev3-anserini", "x"], True),
    (["-m"], ["python", "-m", "theirs"], False), (["theirs.py"], ["python", "theirs.py"], False),
    (["/bin/spladev3-anserini"], ["python", "-c", "a child of multiprocessing"], False), ([], [], False)])
def test_only_our_own_start_is_one(argv: list[str], orig: list[str], ours: bool,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", argv)
    monkeypatch.setattr("sys.orig_argv", orig)
    assert signals.started_as_program() == ours


def test_a_program_that_imports_the_package_keeps_its_signals() -> None:
    script = ("import signal; before = signal.getsignal(signal.SIGINT); import spladev3_anserini; "
              "assert signal.getsignal(signal.SIGINT) is before is signal.default_int_handler")
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(("number", "line"), [(signal.SIGINT, "interrupted"),
                                              (signal.SIGTERM, "terminated")])
def test_a_signal_at_work_unwinds_and_says_so(number: int, line: str,
                                              capfd: pytest.CaptureFixture[str]) -> None:
    closed = []

    @click.command()
    def command() -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(9)
        finally:
            closed.append(True)

    with pytest.raises(SystemExit) as stop:
        run(command, [])
    assert stop.value.code == 128 + number
    assert capfd.readouterr().err.strip() == f"spladev3-anserini: {line}"
    assert closed


@pytest.mark.parametrize(("words", "meant"), [
    (["serach"], "search"), (["Encode"], "encode"), (["evalute", "--run", "x"], "evaluate"),
    (["reproduce", "rnu"], "run"), (["models", "fetsh"], "fetch"), (["encode", "--moddel", "x"],
                                                                    "--model")])
def test_a_misspelt_name_suggests_the_nearest(words: list[str], meant: str,
                                              refused: Callable[..., str]) -> None:
    assert f"Did you mean '{meant}'?" in refused(*words)


def test_what_is_like_nothing_suggests_nothing(refused: Callable[..., str]) -> None:
    assert "Did you mean" not in refused("xyzzy")


@pytest.mark.parametrize(("number", "noun", "shown"), [
    (0, "query", "0 queries"), (1, "query", "1 query"), (1000, "query set", "1,000 query sets"),
    (2, "index", "2 indexes"), (2, "match", "2 matches"), (2, "key", "2 keys"), (1, "loss", "1 loss"),
    (2, "loss", "2 losses"), (2, "judged query", "2 judged queries"), (-1, "line", "-1 lines")])
def test_counts_have_their_plural(number: int, noun: str, shown: str) -> None:
    assert counted(number, noun) == shown


def test_a_very_long_cell_does_not_widen_its_table() -> None:
    shown = table([["name", "n"], [f"a{'x' * 5000}b", "1"], ["\x1b[1m\nc", "2"]])
    assert [len(line) for line in shown.splitlines()] == [244, 244, 244]
    assert re.search(r"^ax+…x+b  1$", shown, re.M)
    assert r"\x1b[1m c " in shown


@pytest.fixture(scope="module")
def index(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One document, in a corpus and an index."""
    from spladev3_anserini.cli.commands import commands

    folder = tmp_path_factory.mktemp("one")
    write_corpus(folder / "corpus.jsonl", {"d1": TEXTS["d1"]})
    for words in (["encode", "--model", tiny, "--variant", "splade-v3-doc", "--max-length", 32,
                   "--corpus", folder / "corpus.jsonl", "--output", folder / "encoded"],
                  ["index", "--encoded", folder / "encoded", "--index", folder / "index"]):
        commands.main([str(word) for word in words], standalone_mode=False)
    return folder


def test_one_of_each_is_one(index: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "topics.tsv").write_text("q1\tcat\n")
    (tmp_path / "qrels.txt").write_text("q1 0 d1 1\nq2 0 d1 1\n")
    run_file = tmp_path / "run.txt"
    shown = [
        cli("encode", "--model", json.loads((index / "encoded/manifest.json").read_text())["model_name"],
            "--variant", "splade-v3-doc", "--max-length", 32, "--corpus", index / "corpus.jsonl",
            "--output", tmp_path / "again"),
        cli("search", "--index", index / "index", "--topics", tmp_path / "topics.tsv", "--max-length",
            32, "--output", run_file),
        cli("verify", index / "index"), cli("verify", index / "encoded"),
        cli("bm25", "--corpus", index / "corpus.jsonl", "--topics", tmp_path / "topics.tsv",
            "--output", tmp_path / "bm25.txt"),
        cli("evaluate", "--qrels", tmp_path / "qrels.txt", "--run", run_file)]
    assert [result.code for result in shown] == [0] * len(shown), shown
    text = "\n".join(result.out + result.err for result in shown)
    assert "1 query, 1 with hits, 1 line" in text
    assert "1 document, " in text
    assert not re.search(r"(?<![\d,.])1 (queries|documents|lines|shards|segments|postings)\b", text)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str | type[BaseException]) -> None:
    """A terminal at which someone types these lines, or presses Ctrl-C or Ctrl-D."""
    left = list(lines)

    def line(prompt: str = "") -> str:
        own = left.pop(0)
        if isinstance(own, str):
            return own
        raise own

    monkeypatch.setattr("sys.stdin", _Terminal())
    monkeypatch.setattr("builtins.input", line)


def test_ctrl_c_at_the_prompt_is_an_interruption_and_ctrl_d_the_end(
        index: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("ask", "--index", index / "index", "--max-length", 32)
    typed(monkeypatch, "cat", KeyboardInterrupt)
    stopped = cli(*words)
    assert (stopped.code, stopped.err.splitlines()[-1]) == (130, "spladev3-anserini: interrupted")
    typed(monkeypatch, "cat", EOFError)
    assert cli(*words).code == 0
    assert "readline" in sys.modules  # with it `input` edits its line


def test_an_arrow_key_is_no_question(index: Path, cli: Cli, refused: Callable[..., str],
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("ask", "--index", index / "index", "--max-length", 32)
    typed(monkeypatch, "\x1b[A", "cat", "\udcff", EOFError)
    result = cli(*words)
    assert result.code == 0
    assert result.out.count("d1") == 1
    warnings = re.findall("warning: .*", result.err)
    assert [r"'\x1b'" in warnings[0], "surrogate" in warnings[1], len(warnings)] == [True, True, 2]
    assert "control character" in refused(*words, "cat\x00")
    assert "control character" in refused(*words, "good", "a\x9b31m")
