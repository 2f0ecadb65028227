"""What a command reports on the way: bars on a terminal, log lines elsewhere, nothing for a library."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Result, write_corpus

from spladev3_anserini import progress
from spladev3_anserini.cli.pace import Pace
from spladev3_anserini.progress import counter, reporting, skip
from spladev3_anserini.progress import progress as reported

Cli = Callable[..., Result]


class Clock:
    """The time that the reports see, in seconds."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    monotonic = time


@pytest.fixture(autouse=True)
def _warnings_on_stderr() -> None:
    """Not here: who writes to stderr is the subject."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr("tqdm.std.time", clock.time)
    monkeypatch.setattr("spladev3_anserini.cli.pace.time", clock)
    return clock


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "spladev3_anserini")
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_line_at_the_start_each_tenth_and_the_end(clock: Clock,
                                                    lines: Callable[[], list[str]]) -> None:
    with reporting("auto"), counter("encoding", 1000) as bar:
        for _ in range(10):
            clock.now += 20
            bar.update(100)
    said = lines()
    assert said[0] == "encoding: 1,000 documents"
    assert said[1] == "encoding: 100 documents of 1,000 (10%), 5.0 a second, 03:00 left"
    assert said[-1] == "encoding: 1,000 documents of 1,000 (100%), 5.0 a second, done in 03:20"
    assert len(said) == 12


def test_quick_tenths_are_rarer_and_slow_ones_come_each_minute(
        clock: Clock, lines: Callable[[], list[str]]) -> None:
    with reporting("auto"), counter("quick", 100, "query") as bar:
        for _ in range(100):
            clock.now += 0.35
            bar.update(1)
    quick = lines()
    # at most one in ten seconds of the 35, the first and the last
    assert len(quick) == 1 + 3 + 1
    with reporting("auto"), counter("slow", 10_000_000, "query") as bar:
        for _ in range(300):
            clock.now += 1
            bar.update(1)
    assert len(lines()) - len(quick) == 1 + 300 // 60 + 1


def test_what_is_read_without_a_known_number_is_counted(clock: Clock,
                                                        lines: Callable[[], list[str]]) -> None:
    def texts() -> Iterator[int]:
        for number in range(3):
            clock.now += 61
            yield number

    with reporting("auto"):
        assert list(reported(texts(), "checking")) == [0, 1, 2]
    assert lines()[0] == "checking ..."
    assert lines()[1] == "checking: 1 document, 0.0 a second"
    assert lines()[-1] == "checking: 3 documents, 0.0 a second, done in 03:03"


def test_work_of_an_earlier_run_is_in_the_count_but_not_in_the_rate(
        clock: Clock, lines: Callable[[], list[str]], capfd: pytest.CaptureFixture[str]) -> None:
    with reporting("auto"), counter("scoring", 1000, "pair") as bar:
        skip(bar, 700)
        clock.now += 61
        bar.update(61)
    assert lines()[1] == "scoring: 761 pairs of 1,000 (76%), 1.0 a second, 03:59 left"
    with reporting("bars"), counter("scoring", 1000, "pair") as bar:
        skip(bar, 700)
        clock.now += 10
        bar.update(100)
        bar.refresh()
    drawn = capfd.readouterr().err
    assert "800/1000 [00:10<00:20, 10.00 pair/s]" in drawn
    with counter("scoring", 1000, "pair") as bar:  # a library is silent
        skip(bar, 700)


def test_short_work_has_one_line_and_a_library_none(clock: Clock, lines: Callable[[], list[str]],
                                                    capfd: pytest.CaptureFixture[str]) -> None:
    with counter("encoding", 10) as bar:
        clock.now += 500
        bar.update(10)
    assert lines() == []
    with reporting("auto"), counter("encoding", 10) as bar:
        bar.update(10)
    assert lines() == ["encoding: 10 documents"]
    assert capfd.readouterr() == ("", "")


def test_bars_only_for_a_terminal_or_when_asked_for(
        monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
        lines: Callable[[], list[str]]) -> None:
    with reporting("bars"), counter("encoding", 10) as bar:
        bar.update(10)
    assert "encoding" in capfd.readouterr().err
    assert lines() == []


@pytest.mark.parametrize(("words", "level", "reports", "warns"), [
    ([], "info", True, True), (["-q"], "info", False, True), (["-qq"], "info", False, False),
    (["-v"], "warning", True, True), ([], "warning", False, True), ([], "error", False, False),
    ([], "DEBUG", True, True)])
@pytest.mark.parametrize("before", [True, False], ids=["of the program", "of the command"])
def test_how_much_is_reported(words: list[str], level: str, reports: bool, warns: bool, before: bool,
                              tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "qrels").write_text("1 0 a 1\n2 0 a 1\n")
    (tmp_path / "run").write_text("1 Q0 a 1 1 x\n")
    monkeypatch.setenv("SPLADEV3_LOG", level)
    evaluate = ["evaluate", "--qrels", tmp_path / "qrels", "--run", tmp_path / "run",
                "--measures", "ndcg_cut_10"]
    result = cli(*words, *evaluate) if before else cli(*evaluate, *words)
    assert result.code == 0
    assert ("ndcg_cut_10 is read as nDCG@10\n" in result.err) == reports
    assert ("warning: " in result.err) == warns
    assert ("Python 3." in result.err) == ("-v" in words)
    assert logging.getLogger("spladev3_anserini").handlers == []


def test_each_translation_is_said_once(tmp_path: Path, cli: Cli,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "qrels").write_text("1 0 a 1\n2 0 b 1\n")
    (tmp_path / "run").write_text("1 Q0 a 1 1 x\n2 Q0 b 1 1 x\n")
    monkeypatch.setenv("SPLADEV3_LOG", "info")
    result = cli("compare", "--qrels", tmp_path / "qrels", "--run", f"a={tmp_path / 'run'}", "--run",
                 f"b={tmp_path / 'run'}", "--measures", "ndcg_cut_10 P_10")
    assert result.code == 0
    assert re.findall(r"(\S+) is read as (\S+)", result.err) == [
        ("ndcg_cut_10", "nDCG@10"), ("P_10", "P@10")]


def test_an_unknown_level_is_refused(refused: Callable[..., str],
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLADEV3_LOG", "loud")
    assert "SPLADEV3_LOG=loud: expected one of debug, info, warning, error" in refused("models")


def test_the_seconds_and_the_rate(clock: Clock) -> None:
    pace = Pace()
    clock.now += 12.34
    assert pace.text(1000) == "; 12.3 s, 81 documents/s"
    assert pace.text(1_000_000, "query") == "; 12.3 s, 81,037 queries/s"
    assert pace.text() == "; 12.3 s"


def test_the_summary_ends_with_them(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", {"a": "the cat", "b": "a dog"})
    encode = ("encode", "--model", tiny, "--corpus", corpus, "--output", tmp_path / "out",
              "--max-length", 32)
    first, again = cli(*encode), cli(*encode)
    assert re.search(r"1 shard written, 0 kept; [\d.]+ s, [\d.]+ documents/s$", first.out, re.M), first
    assert re.search(r"0 shards written, 1 kept; [\d.]+ s$", again.out, re.M)  # none encoded now
