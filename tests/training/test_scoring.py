"""Scoring candidates: batches, files, resuming, parts, refusals, and the command around it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from conftest import TEXTS, Result, write_corpus, write_lines
from forked import kill, program
from tiny_teachers import make_cross_encoder, make_t5
from tiny_templated import make_decoder, make_monot5

from spladev3_anserini.encoding.directory import Part
from spladev3_anserini.errors import InputError
from spladev3_anserini.model.batches import Float32s
from spladev3_anserini.progress import reporting
from spladev3_anserini.rankers.pair_scorer import Pair, PairError, PairScorer, PairSettings
from spladev3_anserini.rankers.registry import open_pair_scorer
from spladev3_anserini.training.score_files import QueryCandidates, read_scores, write_candidates
from spladev3_anserini.training.scoring import score_candidates
from spladev3_anserini.training.scoring_work import read_scoring_work

DOCUMENTS = list(TEXTS)
CPU = PairSettings(max_length=32, device="cpu")


class Counting(PairScorer):
    """Scores by lengths alone; may break at its nth call."""

    kind: ClassVar[str] = "counting"
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path, breaks_at: int | None = None, **settings: Any) -> None:
        super().__init__("counting", folder, replace(CPU, **settings))
        self.calls, self._breaks_at = 0, breaks_at

    def score(self, pairs: Sequence[Pair],
              done: Callable[[int], object] = lambda count: None) -> Float32s:
        self.calls += 1
        if self.calls == self._breaks_at:
            raise KeyboardInterrupt
        return np.array([len(q) + len(d) / 7 for q, d in pairs], dtype=np.float32)

    def tokens_left(self, queries: Sequence[str]) -> list[int]:
        return [32 - len(query) for query in queries]

    _query_lengths = _tokens = _outputs = None  # type: ignore[assignment]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """23 queries with one positive and three candidates each, a corpus and topics."""
    folder = tmp_path / "data"
    write_corpus(folder / "corpus.jsonl", TEXTS)
    write_lines(folder / "topics.tsv", [f"q{n}\tcat {n}" for n in range(30)])
    write_candidates(folder / "candidates.jsonl", [
        QueryCandidates(f"q{n}", [DOCUMENTS[n % 8]], [DOCUMENTS[(n + k) % 8] for k in (1, 3, 4)])
        for n in range(23)])
    return folder


def work_of(data: Path, part: str = "1/1", block: int = 5) -> Any:
    return read_scoring_work(data / "candidates.jsonl", str(data / "corpus.jsonl"),
                     str(data / "topics.tsv"), Part.parse(part), block)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())
            if path.is_file() and not path.name.startswith(".")}


def test_a_log_file_gets_a_line_a_minute(data: Path, tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch,
                                         caplog: pytest.LogCaptureFixture) -> None:
    """While a teacher scores, not when it has finished: 23 queries of 4 pairs, 20 s a query."""
    now = [100.0]
    monkeypatch.setattr("spladev3_anserini.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])

    class Slow(Counting):
        def score(self, pairs: Sequence[Pair],
                  done: Callable[[int], object] = lambda count: None) -> Float32s:
            for _ in range(0, len(pairs), 4):
                now[0] += 20
                done(4)
            return super().score(pairs)

    caplog.set_level("INFO", "spladev3_anserini")
    work = work_of(data, block=100)
    with reporting("auto"):
        score_candidates(work, Slow(tmp_path), tmp_path / "out")
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "scoring with counting: 92 pairs"
    assert said[1:-1] == [
        f"scoring with counting: {n} pairs of 92 ({n / 92:.0%}), 0.2 a second, "
        f"{(92 - n) * 5 // 60:02}:{(92 - n) * 5 % 60:02} left" for n in range(12, 92, 12)]
    assert said[-1] == "scoring with counting: 92 pairs of 92 (100%), 0.2 a second, done in 07:40"


@pytest.mark.parametrize("make", [make_cross_encoder, make_t5])
@pytest.mark.parametrize("block", [2, 100])
def test_every_positive_and_candidate_has_its_score(make: Any, block: int, data: Path,
                                                    tmp_path: Path) -> None:
    teacher = open_pair_scorer(str(make(tmp_path / "model")), replace(CPU, batch_tokens=64))
    outcome = score_candidates(work_of(data, block=block), teacher, tmp_path / "out")
    assert (outcome.manifest.queries, outcome.manifest.pairs) == (23, 92)
    for n, own in enumerate(read_scores(tmp_path / "out")):
        assert own.query == f"q{n}"
        assert list(own.scores) == [DOCUMENTS[(n + k) % 8] for k in (0, 1, 3, 4)]
        expected = teacher.score([(f"cat {n}", TEXTS[d]) for d in own.scores])
        np.testing.assert_allclose(list(own.scores.values()), expected, atol=1e-5)


def test_scores_are_written_as_the_shortest_number_that_is_the_float32(data: Path,
                                                                       tmp_path: Path) -> None:
    score_candidates(work_of(data), Counting(tmp_path), tmp_path / "out")
    line = json.loads((tmp_path / "out" / "part-00000.jsonl").read_text().splitlines()[0])
    for document, score in line["scores"].items():
        assert np.float32(score) == np.float32(5 + len(TEXTS[document]) / 7)
        assert len(str(score)) < 11


def test_an_interrupted_scoring_continues_to_the_same_bytes(data: Path, tmp_path: Path) -> None:
    whole = Counting(tmp_path)
    score_candidates(work_of(data), whole, tmp_path / "whole")
    assert whole.calls == 5
    with pytest.raises(KeyboardInterrupt):
        score_candidates(work_of(data), Counting(tmp_path, breaks_at=3), tmp_path / "out")
    assert set(bytes_of(tmp_path / "out")) == {"fingerprint.json", "part-00000.jsonl",
                                               "part-00001.jsonl"}
    (tmp_path / "out" / "part-00001.jsonl").write_text('{"query": "q5", "scores": {"d1": 1}}\n')
    rest = Counting(tmp_path)
    outcome = score_candidates(work_of(data), rest, tmp_path / "out")
    assert (rest.calls, outcome.written, outcome.kept) == (4, 4, 1)
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")
    again = Counting(tmp_path)
    assert score_candidates(work_of(data), again, tmp_path / "out").kept == 5
    assert again.calls == 0


def test_a_file_that_changed_after_the_manifest_is_told_and_restored(data: Path,
                                                                     tmp_path: Path) -> None:
    score_candidates(work_of(data), Counting(tmp_path), tmp_path / "out")
    before, part = bytes_of(tmp_path / "out"), tmp_path / "out" / "part-00003.jsonl"
    part.write_text(part.read_text().replace("6.", "7.", 1))
    with pytest.raises(InputError, match="part-00003.jsonl: missing, or changed"):
        list(read_scores(tmp_path / "out"))
    assert score_candidates(work_of(data), Counting(tmp_path), tmp_path / "out").written == 1
    assert bytes_of(tmp_path / "out") == before


@pytest.mark.fault(21, "a score file changed in a folder whose manifest is gone (a kill)",
                   then="same bytes", detected="journal, sha256 of the files")
@pytest.mark.parametrize("journal", [True, False])
def test_a_changed_file_without_a_manifest_is_scored_again(journal: bool, data: Path,
                                                           tmp_path: Path) -> None:
    out = tmp_path / "out"
    score_candidates(work_of(data), Counting(tmp_path), out)
    before, part = bytes_of(out), out / "part-00003.jsonl"
    (out / "manifest.json").unlink()
    part.write_text(part.read_text().replace("6.", "7.", 1))
    if not journal:  # nothing says that any file is whole
        (out / ".progress-1-of-1.jsonl").unlink()
    outcome = score_candidates(work_of(data), Counting(tmp_path), out)
    assert (outcome.written, outcome.kept) == ((1, 4) if journal else (5, 0))
    assert bytes_of(out) == before


@pytest.mark.fault(21, "a journal of scores cut or changed", then="same bytes",
                   detected="sha256 of each line's content")
@pytest.mark.parametrize("damage", [lambda text: text[:-9], lambda text: text.replace("5", "6", 1)])
def test_a_damaged_journal_of_scores(damage: Callable[[str], str], data: Path,
                                     tmp_path: Path) -> None:
    out = tmp_path / "out"
    score_candidates(work_of(data), Counting(tmp_path), out)
    before, journal = bytes_of(out), out / ".progress-1-of-1.jsonl"
    (out / "manifest.json").unlink()
    journal.write_text(damage(journal.read_text()))
    assert score_candidates(work_of(data), Counting(tmp_path), out).written == 1
    assert bytes_of(out) == before
    assert len(journal.read_text().splitlines()) == 5


def test_no_part_signs_for_a_file_of_another_that_changed(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    score_candidates(work_of(data, "1/2"), Counting(tmp_path), out)
    part = out / "part-00002.jsonl"
    part.write_text(part.read_text().replace("6.", "7.", 1))
    assert score_candidates(work_of(data, "2/2"), Counting(tmp_path), out).manifest is None
    assert score_candidates(work_of(data, "1/2"), Counting(tmp_path), out).manifest is not None
    score_candidates(work_of(data), Counting(tmp_path), tmp_path / "whole")
    assert bytes_of(out) == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("change", [lambda lines: [lines[0], lines[1].replace("q1", "q77")],
                                    lambda lines: [*lines, lines[0].replace("q0", "q88")]])
def test_candidates_that_change_under_a_scoring(change: Callable[[list[str]], list[str]],
                                                data: Path, tmp_path: Path) -> None:
    work, path = work_of(data, block=1), data / "candidates.jsonl"
    path.write_text("".join(f"{line}\n" for line in change(path.read_text().splitlines())))
    with pytest.raises(InputError, match=r"candidates.jsonl: changed while it was being scored"):
        score_candidates(work, Counting(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out/manifest.json").exists()


def test_parts_together_are_the_whole(data: Path, tmp_path: Path) -> None:
    score_candidates(work_of(data), Counting(tmp_path), tmp_path / "whole")
    for part in ("3/3", "1/3"):
        own = work_of(data, part)
        assert len(own.queries) < 23
        assert score_candidates(own, Counting(tmp_path), tmp_path / "out").manifest is None
    assert score_candidates(work_of(data, "2/3"), Counting(tmp_path),
                            tmp_path / "out").manifest is not None
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")


def test_another_fingerprint_or_foreign_files_are_refused(data: Path, tmp_path: Path) -> None:
    score_candidates(work_of(data, "1/2"), Counting(tmp_path), tmp_path / "out")
    with pytest.raises(InputError, match=r"holds other scores \(max_length: 32 there, 40 now\)"):
        score_candidates(work_of(data), Counting(tmp_path, max_length=40), tmp_path / "out")
    with pytest.raises(InputError, match=r"\(block: 5 there, 6 now\)"):
        score_candidates(work_of(data, block=6), Counting(tmp_path), tmp_path / "out")
    write_lines(data / "topics.tsv", [f"q{n}\tdog {n}" for n in range(30)])
    with pytest.raises(InputError, match=r"\(topics: [0-9a-f]{12} there, [0-9a-f]{12} now\)"):
        score_candidates(work_of(data), Counting(tmp_path), tmp_path / "out")
    with pytest.raises(InputError, match="has files in it that no score wrote"):
        score_candidates(work_of(data), Counting(tmp_path), data)
    with pytest.raises(InputError, match="is a file, expected a folder"):
        score_candidates(work_of(data), Counting(tmp_path), data / "topics.tsv")


def test_what_has_no_text_or_no_room_is_refused_by_name(data: Path, tmp_path: Path) -> None:
    write_candidates(data / "candidates.jsonl", [QueryCandidates("q1", ["d1"], ["d77"])])
    with pytest.raises(InputError, match=r"corpus.jsonl: no document 'd77', which .* 'q1'"):
        work_of(data)
    write_candidates(data / "candidates.jsonl", [QueryCandidates("q77", ["d1"], [])])
    with pytest.raises(InputError, match=r"topics.tsv: no query 'q77', which"):
        work_of(data)
    write_candidates(data / "candidates.jsonl", [QueryCandidates("q1", ["d1"], [])])
    write_corpus(data / "more.jsonl", TEXTS)
    with (data / "corpus.jsonl").open("a") as stream:
        stream.write((data / "more.jsonl").read_text())
    with pytest.raises(InputError, match=r"corpus.jsonl:9: the id 'd1' is there twice"):
        work_of(data)
    write_corpus(data / "corpus.jsonl", TEXTS)
    write_lines(data / "topics.tsv", ["q1\t" + "cat " * 40])
    with pytest.raises(InputError, match="query 'q1': the query leaves no room"):
        score_candidates(work_of(data), Counting(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_score_that_is_not_finite_names_query_and_document(data: Path, tmp_path: Path) -> None:
    class Broken(Counting):
        def score(self, pairs: Sequence[Pair],
                  done: Callable[[int], object] = lambda count: None) -> Float32s:
            raise PairError(6, "the score is not a finite number")

    with pytest.raises(InputError, match="query 'q1', document 'é-id': the score is not a finite"):
        score_candidates(work_of(data), Broken(tmp_path), tmp_path / "out")
    assert set(bytes_of(tmp_path / "out")) == {"fingerprint.json"}


def options_of(data: Path, *teachers: Path) -> list[object]:
    named = [word for teacher in teachers for word in ("--cross-encoder", teacher)]
    return ["score", "--candidates", data / "candidates.jsonl", "--corpus", data / "corpus.jsonl",
            "--topics", data / "topics.tsv", "--max-length", 32, "--device", "cpu", *named]


def test_a_killed_command_continues_to_the_same_bytes(data: Path, tmp_path: Path,
                                                      cli: Callable[..., Result]) -> None:
    teacher = make_cross_encoder(tmp_path / "teacher")
    write_candidates(data / "candidates.jsonl", [
        QueryCandidates(f"q{n}", [DOCUMENTS[n % 8]], DOCUMENTS[:n % 8]) for n in range(1, 30)])
    options = [str(option) for option in options_of(data, teacher)] + ["--block", "1", "--output"]
    fourth = tmp_path / "out" / "teacher" / "part-00003.jsonl"
    killed = subprocess.Popen([*program(), *options, str(tmp_path / "out")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not fourth.exists():
        time.sleep(0.002)
    kill(killed)
    assert fourth.exists()
    assert cli(*options, tmp_path / "out").code == 0
    assert cli(*options, tmp_path / "whole").code == 0
    assert bytes_of(tmp_path / "out/teacher") == bytes_of(tmp_path / "whole/teacher")
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")


def test_the_command_with_two_teachers(data: Path, tmp_path: Path,
                                       cli: Callable[..., Result]) -> None:
    one = make_cross_encoder(tmp_path / "Mini LM")
    other = make_t5(tmp_path / "rank-t5")
    result = cli(*options_of(data, one, other), "--output", tmp_path / "out", "--rescore", "-1.5,6")
    assert result.code == 0, result.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "Mini-LM", "rank-t5", "ensemble.jsonl", "ensemble.json"}
    assert "92 pairs of 23 queries; 1 file written, 0 kept" in result.out
    assert "rescored to -1.5000, 6.0000" in result.out
    assert "Spearman" in result.out
    values = [s for own in read_scores(tmp_path / "out/ensemble.jsonl")
              for s in own.scores.values()]
    assert np.mean(values) == pytest.approx(-1.5, abs=1e-9)
    assert np.std(values) == pytest.approx(6, abs=1e-9)
    record = json.loads((tmp_path / "out/ensemble.json").read_text())
    assert [own["kind"] for own in record["teachers"]] == ["sequence classification", "t5"]
    # the raw scores are kept, so another rescoring costs no teacher
    like = tmp_path / "out/Mini-LM"
    again = cli(*options_of(data, one, other), "--output", tmp_path / "out", "--rescore-like",
                like, "--rescore-each", "query")
    assert "0 files written, 1 kept" in again.out
    assert json.loads((tmp_path / "out/ensemble.json").read_text())["rescoring"] == "query"


def test_parts_of_the_command(data: Path, tmp_path: Path, cli: Callable[..., Result]) -> None:
    options = [*options_of(data, make_cross_encoder(tmp_path / "model")), "--block", 5]
    first = cli(*options, "--output", tmp_path / "out", "--part", "1/2")
    assert "other parts still have work to do" in first.out
    assert not (tmp_path / "out/ensemble.jsonl").exists()
    assert cli(*options, "--output", tmp_path / "out", "--part", "2/2").code == 0
    cli(*options, "--output", tmp_path / "whole")
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize(("more", "message"), [
    (["--cross-encoder", "/no/such/model"], "--cross-encoder /no/such/model: no such folder"),
    (["--rescore", "x"], "--rescore x: expected none or MEAN,STD"),
    (["--rescore", "1,0"], "--rescore 1,0: expected"),
    (["--rescore", "nan,1"], "--rescore nan,1: expected"),
    (["--rescore", "1,2,3"], "--rescore 1,2,3: expected"),
    (["--rescore", "1,2", "--rescore-like", "x"], "give one of them"),
    (["--rescore-like", "scores.pkl.gz"], "is a pickle; convert-scores it once"),
    (["--rescore-like", "/no/such.jsonl"], "/no/such.jsonl: no such file"),
    (["--block", "99999999999999999999"], "--block"),
    (["--part", "3/2"], "--part 3/2: expected I/N"),
    (["--max-length", "3"], "--max-length"),
    (["--max-length", "100"], "--max-length 100: "),
    (["--device", "cuda:7"], "--device cuda:7"),
    (["--candidates", "/no/such"], "/no/such: no such file"),
    (["--topics", "/no/such.tsv"], "/no/such.tsv: no such file"),
    (["--corpus", "/no/such.jsonl"], "/no/such.jsonl: no such file"),
])
def test_bad_options(more: list[str], message: str, data: Path, tmp_path: Path,
                     refused: Callable[..., str]) -> None:
    teacher = make_cross_encoder(tmp_path / "model")
    assert message in refused(*options_of(data, teacher), "--output", tmp_path / "out", *more)
    assert not (tmp_path / "out").exists()


def test_a_rescoring_past_the_largest_number(data: Path, tmp_path: Path,
                                             cli: Callable[..., Result]) -> None:
    options = [*options_of(data, make_cross_encoder(tmp_path / "model")), "--output",
               tmp_path / "out"]
    for more in (["--rescore", "1,1e308"], ["--rescore", "1,1e308", "--rescore-each", "query"]):
        done = cli(*options, *more)
        assert (done.code, len(done.err.splitlines())) == (2, 1), done
        assert "rescored to mean 1, deviation 1e+308" in done.err
        assert not (tmp_path / "out/ensemble.jsonl").exists()


def test_two_teachers_of_one_name(data: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    one, other = tmp_path / "a" / "model", tmp_path / "b" / "model"
    assert "another one has the folder" in refused(
        *options_of(data, make_cross_encoder(one), make_cross_encoder(other)), "--output",
        tmp_path / "out")


def test_combine_makes_of_raw_scores_what_score_makes(data: Path, tmp_path: Path, cli: Any,
                                                      refused: Any) -> None:
    teachers = [make_cross_encoder(tmp_path / name, seed=seed)
                for name, seed in (("one", 1), ("two", 2))]
    common = ["score", "--candidates", data / "candidates.jsonl", "--corpus",
              data / "corpus.jsonl", "--topics", data / "topics.tsv", "--max-length", 32,
              "--device", "cpu"]
    encoders = [word for teacher in teachers for word in ("--cross-encoder", teacher)]
    assert cli(*common, *encoders, "--output", tmp_path / "scores", "--rescore", "2,3").code == 0
    raw = cli(*common, *encoders, "--output", tmp_path / "raw", "--no-ensemble")
    assert raw.code == 0
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["one", "two"]
    combine = ["combine", "--candidates", data / "candidates.jsonl", "--scores",
               tmp_path / "raw/one", "--scores", tmp_path / "raw/two", "--output"]
    done = cli(*combine, tmp_path / "new/ensemble.jsonl", "--rescore", "2,3")
    assert f"{tmp_path / 'new/ensemble.jsonl'}: mean " in done.out
    for name in ("ensemble.jsonl", "ensemble.json"):
        there = (tmp_path / "scores" / name).read_text()
        made = (tmp_path / "new" / name).read_text()
        if name.endswith("l"):
            assert made == there
        else:  # which has the names that the teachers were given by
            assert json.loads(made) == json.loads(there)
    cli(*combine, tmp_path / "like.jsonl", "--rescore-like", tmp_path / "raw/one")
    record = json.loads((tmp_path / "like.json").read_text())
    assert record["target_source"] == str(teachers[0])  # the teacher, not the folder
    scores = [score for own in read_scores(tmp_path / "raw/one") for score in own.scores.values()]
    assert record["target_mean"] == pytest.approx(np.mean(scores))
    assert "ensemble.json: is where the record goes" in refused(
        *combine, tmp_path / "ensemble.json")


def test_overwrite_replaces_other_scores_alone(data: Path, tmp_path: Path, cli: Any,
                                               refused: Any) -> None:
    make_cross_encoder(tmp_path / "one", seed=1)
    arguments = ["score", "--candidates", data / "candidates.jsonl", "--corpus",
                 data / "corpus.jsonl", "--topics", data / "topics.tsv", "--max-length", 32,
                 "--device", "cpu", "--cross-encoder", tmp_path / "one", "--no-ensemble",
                 "--output", tmp_path / "scores"]
    assert cli(*arguments).code == 0
    before = bytes_of(tmp_path / "scores/one")
    assert "0 files written, 1 kept" in cli(*arguments, "--overwrite").out
    make_cross_encoder(tmp_path / "one", seed=2)
    assert "holds other scores" in refused(*arguments)
    assert "1 file written, 0 kept" in cli(*arguments, "--overwrite").out
    assert bytes_of(tmp_path / "scores/one") != before
    (tmp_path / "mine/one").mkdir(parents=True)
    (tmp_path / "mine/one/thesis.txt").write_text("work")
    assert "no score wrote" in refused(*arguments[:-1], tmp_path / "mine", "--overwrite")


class Noting(Counting):
    """Notes the pairs that it is asked for."""

    def __init__(self, folder: Path, breaks_at: int | None = None, **settings: Any) -> None:
        super().__init__(folder, breaks_at, **settings)
        self.asked: list[Pair] = []

    def score(self, pairs: Sequence[Pair],
              done: Callable[[int], object] = lambda count: None) -> Float32s:
        self.asked += pairs
        return super().score(pairs, done)


def mine_again(data: Path) -> set[tuple[int, int]]:
    """Other candidates, in another order, of fewer and of more queries; returns the new pairs."""
    before = {(n, (n + k) % 8) for n in range(23) for k in (0, 1, 3, 4)}
    numbers = [*range(26, 9, -1), 3, 2]
    write_candidates(data / "candidates.jsonl", [
        QueryCandidates(f"q{n}", [DOCUMENTS[n % 8]], [DOCUMENTS[(n + k) % 8] for k in (2, 3, 1 + n % 2 * 4)])
        for n in numbers])
    return {(n, (n + k) % 8) for n in numbers for k in (0, 2, 3, 1 + n % 2 * 4)} - before


def test_only_pairs_without_an_earlier_score_are_scored(data: Path, tmp_path: Path) -> None:
    score_candidates(work_of(data), Counting(tmp_path), tmp_path / "first")
    new = mine_again(data)
    teacher = Noting(tmp_path)
    outcome = score_candidates(work_of(data, block=4), teacher, tmp_path / "out",
                               scored=[tmp_path / "first"])
    assert {(q, d) for q, d in teacher.asked} == {(f"cat {n}", TEXTS[DOCUMENTS[d]]) for n, d in new}
    assert (outcome.scored, outcome.taken) == (len(new), 19 * 4 - len(new))
    assert len(teacher.asked) == len(new) > 0
    score_candidates(work_of(data, block=4), Counting(tmp_path), tmp_path / "whole")
    assert list(read_scores(tmp_path / "out")) == list(read_scores(tmp_path / "whole"))
    for part in ("2/2", "1/2"):
        score_candidates(work_of(data, part, block=4), Counting(tmp_path), tmp_path / "parts",
                         scored=[tmp_path / "first"])
    assert bytes_of(tmp_path / "parts") == bytes_of(tmp_path / "out")
    # what was taken can be taken again, and a third scoring may take from both
    again = Noting(tmp_path)
    score_candidates(work_of(data), again, tmp_path / "third",
                     scored=[tmp_path / "out", tmp_path / "first"])
    assert again.calls == 0
    assert list(read_scores(tmp_path / "third")) == list(read_scores(tmp_path / "whole"))


def test_an_interrupted_scoring_that_takes_scores_continues(data: Path, tmp_path: Path) -> None:
    first = [tmp_path / "first"]
    score_candidates(work_of(data), Counting(tmp_path), first[0])
    mine_again(data)
    score_candidates(work_of(data), Counting(tmp_path), tmp_path / "whole", scored=first)
    with pytest.raises(KeyboardInterrupt):
        score_candidates(work_of(data), Counting(tmp_path, breaks_at=3), tmp_path / "out",
                         scored=first)
    outcome = score_candidates(work_of(data), Counting(tmp_path), tmp_path / "out", scored=first)
    assert (outcome.written, outcome.kept) == (2, 2)
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")
    with pytest.raises(InputError, match="out: holds other scores .scored: [0-9a-f]{12} there"):
        score_candidates(work_of(data), Counting(tmp_path), tmp_path / "out")


@pytest.mark.fault(21, "an earlier score that a scoring takes changed, or its folder is unfinished",
                   detected="sha256 of the files")
def test_earlier_scores_that_do_not_fit_are_refused(data: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    score_candidates(work_of(data), Counting(tmp_path), first)
    before = (first / "part-00003.jsonl").read_text()
    mine_again(data)

    def refuses(message: str, teacher: Counting | None = None, output: str = "out") -> None:
        with pytest.raises(InputError, match=message):
            score_candidates(work_of(data), teacher or Counting(tmp_path), tmp_path / output,
                             scored=[first])
        assert not (tmp_path / "out").exists()

    refuses(r"`scored`: .*first holds .* \(max_length: 32 there, 40 now\)",
            Counting(tmp_path, max_length=40))
    other = Counting(tmp_path)
    other.sha256 = "other"
    refuses(r"\(teacher: [0-9a-f]{12} there, other now\)", other)
    refuses(r"`scored`: .*first is also written", output="first")
    (first / "part-00003.jsonl").write_text(before.replace("6.", "7.", 1))
    refuses("part-00003.jsonl: missing, or changed")
    (first / "part-00003.jsonl").write_text(before)
    write_lines(data / "topics.tsv", [f"q{n}\tdog {n}" for n in range(30)])
    refuses(r"\(topics: [0-9a-f]{12} there, [0-9a-f]{12} now\)")
    (first / "manifest.json").unlink()
    refuses("first: no manifest.json in it: not a folder of scores, or not finished")


def test_the_command_takes_the_scores_of_both_teachers(data: Path, tmp_path: Path,
                                                       cli: Callable[..., Result]) -> None:
    options = options_of(data, make_cross_encoder(tmp_path / "one"), make_t5(tmp_path / "two"))
    first, out = tmp_path / "first", tmp_path / "out"
    assert cli(*options, "--output", first, "--no-ensemble").code == 0
    new = len(mine_again(data))
    done = cli(*options, "--output", out, "--scored", first)
    assert done.code == 0, done
    assert done.out.count(f"1 file written, 0 kept; {76 - new} scores taken, {new} computed") == 2
    assert cli(*options, "--output", tmp_path / "whole").code == 0
    for name in ("one", "two"):  # padding may change the last bits of a score
        for own, its in zip(read_scores(out / name), read_scores(tmp_path / "whole" / name),
                            strict=True):
            assert own.query == its.query
            assert own.scores == pytest.approx(its.scores, abs=1e-5)
        assert list(read_scores(out / name)) != list(read_scores(first / name))
    other = cli(*options, "--output", tmp_path / "other", "--scored", first, "--t5-token", "a")
    assert other.code == 2
    assert "--scored: " in other.err
    assert "first/two holds scores of another teacher, setting or text (t5_token: " in other.err


def test_a_template_and_a_precision_are_recorded(data: Path, tmp_path: Path, cli: Any,
                                                 refused: Any) -> None:
    """Scores of another template or precision are refused or replaced, never mixed."""
    teacher, other = make_monot5(tmp_path / "t5"), make_cross_encoder(tmp_path / "other")
    out = ["--output", tmp_path / "out"]
    half = ["--template", "monot5", "--dtype", "bfloat16"]
    assert cli(*options_of(data, teacher), *out, *half).code == 0
    manifest = json.loads((tmp_path / "out/t5/manifest.json").read_text())
    assert (manifest["fingerprint"]["template"], manifest["fingerprint"]["dtype"],
            manifest["fingerprint"]["t5_token"]) == ("monot5", "bfloat16", "")
    ensemble = json.loads((tmp_path / "out/ensemble.json").read_text())
    assert [own["template"] for own in ensemble["teachers"]] == ["monot5"]
    assert "0 files written, 1 kept" in cli(*options_of(data, teacher), *out, *half).out
    cli("combine", "--candidates", data / "candidates.jsonl", "--scores", tmp_path / "out/t5",
        "--output", tmp_path / "again.jsonl")
    assert json.loads((tmp_path / "again.json").read_text())["teachers"] == ensemble["teachers"]

    assert "(dtype: bfloat16 there, float32 now)" in refused(*options_of(data, teacher), *out,
                                                             *half[:2])
    message = refused(*options_of(data, teacher), *out)
    assert "template: monot5 there" in message
    assert "t5_token: " in message
    assert "1 file written" in cli(*options_of(data, teacher), *out, "--overwrite").out
    before = bytes_of(tmp_path / "out/t5")
    assert "--template monot5: " in refused(*options_of(data, teacher, other), *out, *half)
    decoder = make_decoder(tmp_path / "decoder", "Qwen3")
    assert "name its --template: qwen3-reranker" in refused(*options_of(data, decoder), *out)
    assert "--template" in refused(*options_of(data, decoder), *out, "--template", "nothing")
    assert bytes_of(tmp_path / "out/t5") == before
