"""A file to write: a folder is refused, .gz is compressed, - is standard output, no input is lost."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TEXTS, Result, write_corpus, write_lines
from deadlines import deadline

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing
from spladev3_anserini.lucene.ranking import write_run
from spladev3_anserini.lucene.unchanged import SOUND_NOTE

#: Every command that writes a file, without the file. Pictures must have a picture's name.
PAGES = {
    "mine": "mine --index {here}/index --topics topics.tsv --qrels qrels.txt --max-length 64 --output",
    "convert-scores": "convert-scores scores.pkl --output",
    "explain a text": "explain --model model --text cat --max-length 64 --html",
    "explain a match": "explain --index {here}/index --docid d1 --query cat --max-length 64 --html",
    "breakdown": "breakdown --qrels qrels.txt --topics topics.tsv --run a=run.txt --run b=run.txt "
                 "--index {here}/index --max-length 64 --html",
    "diagnose": "diagnose --trained trained --html",
    "search": "search --index {here}/index --topics topics.tsv --max-length 64 --output"}
PICTURES = {
    "compare": "compare --table sets.tsv --measures RR@10 --clamped --forest",
    "meta": "meta --effects effects.tsv --forest",
    "flops": "flops --index {here}/index --topics topics.tsv --qrels qrels.txt --run run.txt --measures "
             "RR@10 --max-length 64 --plot"}
BM25 = "bm25 --corpus corpus.jsonl --topics topics.tsv --output"
#: Those whose output may be standard output: what they write is all text of one kind.
LINES = {name: PAGES[name] for name in ("search", "mine", "convert-scores")}


@pytest.fixture(scope="module")
def prepared(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from spladev3_anserini.cli.commands import commands

    folder = tmp_path_factory.mktemp("outputs") / "here"
    write_corpus(folder / "corpus.jsonl", TEXTS)
    (folder / "model").symlink_to(tiny)
    encoded = folder / "encoded"
    for words in (["encode", "--model", tiny, "--variant", "splade-v3", "--max-length", 64,
                   "--corpus", folder / "corpus.jsonl", "--output", encoded],
                  ["index", "--encoded", encoded, "--index", folder / "index"]):
        commands.main([str(word) for word in words], standalone_mode=False)
    (folder / "topics.tsv").write_text("q1\tcat on a mat\nq2\tshock wave\n")
    (folder / "qrels.txt").write_text("q1 0 d1 1\nq2 0 d4 1\n")
    (folder / "run.txt").write_text("q1 Q0 d1 1 2 t\nq1 Q0 d2 2 1 t\nq2 Q0 d4 1 2 t\n")
    (folder / "other.txt").write_text("q1 Q0 d1 1 2 t\nq2 Q0 d1 1 2 t\nq2 Q0 d4 2 1 t\n")
    (folder / "scores.pkl").write_bytes(pickle.dumps({1: {2: 1.5}}))
    write_lines(folder / "sets.tsv", ["set\tgroup\tqrels\ta\tb", *(
        f"{name}\t\tqrels.txt\trun.txt\tother.txt" for name in ("one", "two"))])
    write_lines(folder / "effects.tsv", ["set\tgroup\tmean\tcount\terror", *(
        f"{name}\t\t0.{n}\t9\t0.1" for n, name in enumerate(("x", "y"), 1))])
    loss = {"kl": 1.0, "margin_mse": 0.05}
    write_lines(folder / "trained" / "training.json", [{"training": {"loss": loss}}])
    write_lines(folder / "trained" / "curves.jsonl", [json.dumps(
        {"step": step, "kl": 0.8, "margin_mse": 20.0, "penalty_documents": 10.0,
         "lambda_documents": 0.02, "penalty_queries": 15.0, "lambda_queries": 0.01,
         "nonzero_documents": 120.0, "nonzero_queries": 16.0, "loss": 2.15}) for step in (1, 2)])
    for name in ("there", "there.svg"):
        (folder / name).mkdir()
    return folder


def words(command: str, here: Path) -> list[str]:
    return command.replace("{here}", str(here)).split()  # Java stays in the folder it began in


def files_in(folder: Path) -> list[Path]:
    """All files, without the note that whoever reads an index leaves in it."""
    return sorted(path for path in folder.rglob("*") if path.name != SOUND_NOTE)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("given", [".", "..", "there"])
def test_a_folder_is_no_file(name: str, given: str, prepared: Path, refused: Callable[..., str],
                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    before = files_in(prepared.parent)
    assert f"{given}: is a folder, expected a file" in refused(*words(PAGES[name], prepared), given)
    assert files_in(prepared.parent) == before


@pytest.mark.parametrize("name", PICTURES)
def test_a_folder_is_no_picture(name: str, prepared: Path, refused: Callable[..., str],
                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    assert "there.svg: is a folder, expected a file" in refused(
        *words(PICTURES[name], prepared), "there.svg")


@pytest.mark.parametrize("given", [".", "..", "/", "there", "there/..", "link"])
def test_nothing_is_opened_where_a_folder_is(given: str, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    with pytest.raises(InputError, match="is a folder, expected a file"), appearing(Path(given)):
        raise AssertionError("the block was entered")
    assert sorted(own.name for own in tmp_path.rglob("*")) == ["link", "there"]


@pytest.mark.parametrize("name", [*LINES, "explain a text"])
def test_a_name_that_ends_in_gz_is_compressed(name: str, prepared: Path, tmp_path: Path,
                                              cli: Callable[..., Result],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """The same text to the same bytes, with neither a time nor a name in them."""
    monkeypatch.chdir(prepared)
    command = words((LINES | PAGES)[name], prepared)
    for given in ("plain", "1.gz", "2.GZ"):
        assert cli(*command, tmp_path / given).code == 0
    packed = (tmp_path / "1.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "plain").read_bytes() != b""
    assert packed == (tmp_path / "2.GZ").read_bytes()
    assert packed[3:8] == b"\0" * 5  # no name (flags), no time


def test_a_gzipped_run_is_judged_as_the_plain_one(prepared: Path, tmp_path: Path,
                                                  cli: Callable[..., Result],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    values = []
    for name in ("run.txt", "run.txt.gz"):
        assert cli(*words(LINES["search"], prepared), tmp_path / name).code == 0
        done = cli("evaluate", "--qrels", "qrels.txt", "--run", tmp_path / name)
        values.append(done.out.splitlines()[1].split()[1:])
    assert values[0] == values[1] != []


def test_every_other_run_is_compressed_too(prepared: Path, tmp_path: Path, cli: Callable[..., Result],
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """That of BM25, of the API, and runs of parts that were compressed."""
    import spladev3_anserini as splade

    monkeypatch.chdir(prepared)
    for name in ("plain", "1.gz"):
        assert cli(*words(BM25, prepared), tmp_path / name).code == 0
    assert gzip.decompress((tmp_path / "1.gz").read_bytes()) == (tmp_path / "plain").read_bytes() != b""
    splade.read_run(tmp_path / "1.gz").save(tmp_path / "2.gz", "bm25")
    assert (tmp_path / "2.gz").read_bytes() == (tmp_path / "1.gz").read_bytes()


def test_a_run_is_read_from_standard_input(prepared: Path, cli: Callable[..., Result],
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    judge = ("evaluate", "--qrels", "qrels.txt", "--run")
    plain = cli(*judge, "run.txt").out
    standard = os.dup(0)
    reading, writing = os.pipe()
    os.write(writing, Path("run.txt").read_bytes())
    os.close(writing)
    os.dup2(reading, 0)
    try:
        assert cli(*judge, "-").out.split()[-2:] == plain.split()[-2:]
        assert "-: no line in it" in cli(*judge, "-").err  # it can be read only once
    finally:
        os.dup2(standard, 0)
        os.close(standard)
        os.close(reading)


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("given", ["-", "/dev/stdout", "/dev/fd/1"])
def test_standard_output_has_the_lines_alone(name: str, given: str, prepared: Path, tmp_path: Path,
                                             cli: Callable[..., Result],
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    plain = cli(*words(LINES[name], prepared), tmp_path / "plain")
    before = sorted(prepared.iterdir())
    streamed = cli(*words(LINES[name], prepared), given)
    assert streamed.code == 0
    assert streamed.out == (tmp_path / "plain").read_text("utf-8") != ""
    pace = r"; \d[\d.]* s, [\d.,]+ \w+/s"  # how long it took
    assert re.sub(pace, "", plain.out.replace(str(tmp_path / "plain"), given)) in re.sub(pace, "", streamed.err)
    assert sorted(prepared.iterdir()) == before


def test_lines_go_to_any_open_descriptor(prepared: Path, cli: Callable[..., Result],
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """As `>(...)` is one."""
    monkeypatch.chdir(prepared)
    reading, writing = os.pipe()
    command = words(LINES["convert-scores"], prepared)
    with deadline():
        assert cli(*command, f"/dev/fd/{writing}").code == 0
        os.close(writing)
        with os.fdopen(reading) as stream:
            assert json.loads(stream.read()) == {"query": "1", "scores": {"2": 1.5}}
    done = cli(*command, f"/dev/fd/{writing}")
    assert (done.code, done.err) == (2, f"spladev3-anserini: /dev/fd/{writing}: Bad file descriptor\n")


@pytest.mark.parametrize("name", ["explain a text", "breakdown", "diagnose"])
def test_a_page_and_its_text_are_not_mixed(name: str, prepared: Path, refused: Callable[..., str],
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    for given in ("-", "/dev/stdout"):
        assert "standard output has the command's own text" in refused(
            *words(PAGES[name], prepared), given)


#: A command without its output, and the inputs that the output may not be.
INPUTS = {
    LINES["search"]: ["topics.tsv", "index/spladev3_anserini.json", "index/segments_1"],
    "search --index {here}/index --queries q.jsonl --output": ["q.jsonl"],
    LINES["mine"]: ["topics.tsv", "qrels.txt", "index/segments_1"],
    BM25: ["topics.tsv", "corpus.jsonl"],
    "bm25 --corpus beir --topics beir --output": ["beir/corpus.jsonl", "beir/queries.jsonl"],
    "dense --model minilm --corpus corpus.jsonl --topics topics.tsv --output": [
        "topics.tsv", "corpus.jsonl"],
    "rerank --run run.txt --corpus corpus.jsonl --topics topics.tsv --cross-encoder demo-cross-encoder "
    "--output": ["run.txt", "topics.tsv", "corpus.jsonl"],
    LINES["convert-scores"]: ["scores.pkl"],
    PAGES["explain a match"]: ["index/segments_1"],
    PAGES["breakdown"]: ["qrels.txt", "topics.tsv", "run.txt", "index/segments_1"],
    "diagnose --trained trained --zero-shot qrels.txt --run start=run.txt --run trained=other.txt --html": [
        "trained/curves.jsonl", "qrels.txt", "run.txt", "other.txt"],
}


@pytest.mark.fault(19, "an output that is one of the command's inputs, by name, by a link or a hard "
                   "link, or a file of its index", detected="compared before anything is read")
@pytest.mark.parametrize("command", INPUTS)
def test_no_input_is_written_over(command: str, prepared: Path, tmp_path: Path,
                                  refused: Callable[..., str],
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    write_lines(prepared / "q.jsonl", [{"id": "q", "vector": {"cat": 1}}])
    for name, content in (("corpus.jsonl", '{"id": "d", "contents": "cat"}'),
                          ("queries.jsonl", '{"id": "q", "text": "cat"}')):
        write_lines(prepared / "beir" / name, [content])
    for given in INPUTS[command]:
        before = Path(given).read_bytes()
        soft, hard = tmp_path / "soft", tmp_path / "hard"
        soft.symlink_to(prepared / given)
        os.link(given, hard)
        for output in (given, f"./{given}", soft, hard):
            said = refused(*words(command, prepared), output)
            assert f"{Path(output)}: is an input as well (" in said
            assert "choose another" in said
        assert Path(given).read_bytes() == before
        soft.unlink()
        hard.unlink()


def test_scores_are_not_rescored_like_what_they_replace(prepared: Path, tmp_path: Path,
                                                        refused: Callable[..., str],
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    like = write_lines(tmp_path / "out" / "ensemble.jsonl", [{"query": "q", "scores": {"a": 1, "b": 2}}])
    assert "ensemble.jsonl: is an input as well (rescore_like: " in refused(
        "score", "--candidates", "q.jsonl", "--corpus", "corpus.jsonl", "--topics", "topics.tsv",
        "--cross-encoder", "demo-cross-encoder", "--rescore-like", like, "--output", tmp_path / "out")


def test_a_run_in_a_folder_of_inputs_may_be_written_once_more(prepared: Path, refused: Callable[..., str],
                                                              cli: Callable[..., Result],
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    for _ in range(2):
        done = cli(*words("search --index {here}/index --topics topics.tsv --max-length 64 --output",
                          prepared), "beir/run.txt")
        assert done.code == 0, done


def test_topics_that_find_themselves_are_named_when_they_are_searched(
        tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever ranks them: search, bm25, dense and rerank write with this."""
    write_run(tmp_path / "run", iter([("a", [("a", 2), ("b", 1)]), ("b", [("c", 1)])]), "t")
    assert "run: 1 of 2 topics find the document of their own id first (a)" in capfd.readouterr().err
    write_run(tmp_path / "run", iter([("a", [("b", 2), ("a", 1)])]), "t")
    assert capfd.readouterr().err == ""
