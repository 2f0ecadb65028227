"""Searching: all variants, pre-encoded queries, and pairings that do not belong together."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TEXTS, Result, make_tiny, write_corpus, write_lines
from forked import program

from spladev3_anserini.collection.runs import read_run_file
from spladev3_anserini.impacts.exact import ExactSearcher
from spladev3_anserini.impacts.shards import read_encoded, read_manifest

Cli = Callable[..., Result]
VARIANTS = ("splade-v3", "splade-v3-distilbert", "splade-v3-lexical", "splade-v3-doc")
TOPICS = {"q1": "cat on a mat", "q2": "shock wave theory", "q3": "", "q4": "heat", "q5": "xyzzy"}


@pytest.fixture(scope="module")
def prepared(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoded directory and an index of every variant, and topics."""
    from spladev3_anserini.cli.commands import commands

    folder = tmp_path_factory.mktemp("search")
    write_corpus(folder / "corpus.jsonl", TEXTS)
    (folder / "topics.tsv").write_text("".join(f"{i}\t{t}\n" for i, t in TOPICS.items()))
    for variant in VARIANTS:
        encoded, index = folder / f"{variant}.encoded", folder / f"{variant}.index"
        for arguments in (
            ("encode", "--model", tiny, "--variant", variant, "--corpus", folder / "corpus.jsonl",
             "--output", encoded, "--max-length", 64),
            ("index", "--encoded", encoded, "--index", index)):
            commands.main([str(a) for a in arguments], standalone_mode=False)
    return folder


def search(folder: Path, variant: str, output: Path, *more: object) -> list[object]:
    return ["search", "--index", folder / f"{variant}.index", "--output", output,
            "--max-length", 64, *more]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_is_the_exact_dot_product(variant: str, prepared: Path, tiny: Path, tmp_path: Path,
                                        cli: Cli) -> None:
    """On the fly and pre-encoded, the run is what the oracle makes of the two encodings."""
    queries = tmp_path / "queries"
    cli("encode", "--model", tiny, "--variant", variant, "--topics",
        prepared / "topics.tsv", "--output", queries, "--max-length", 64)
    result = cli(*search(prepared, variant, tmp_path / "a", "--topics", prepared / "topics.tsv"))
    assert result.code == 0, result
    cli(*search(prepared, variant, tmp_path / "b", "--queries", queries))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    encoded = prepared / f"{variant}.encoded"
    oracle = ExactSearcher((d.id, d.vector)
                           for d in read_encoded(encoded, read_manifest(encoded)))
    expected = []
    for query in read_encoded(queries, read_manifest(queries)):
        assert query.contents == TOPICS[query.id]
        expected += [f"{query.id} Q0 {docid} {rank} {score} spladev3-anserini"
                     for rank, (docid, score) in enumerate(oracle.search(query.vector, 1000), 1)]
    assert (tmp_path / "a").read_text("utf-8").splitlines() == expected
    assert len(read_run_file(tmp_path / "a")) >= 2


def test_queries_without_terms_are_counted(prepared: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli(*search(prepared, "splade-v3-doc", tmp_path / "run", "--topics",
                         prepared / "topics.tsv"))
    assert "warning: 2 queries without a term, which will find nothing: q3, q5" in result.err
    assert "5 queries, 2 with hits" in result.out


def test_threads_and_hits(prepared: Path, tmp_path: Path, cli: Cli) -> None:
    for threads, hits in ((1, 1000), (4, 1000), (2, 2)):
        cli(*search(prepared, "splade-v3", tmp_path / f"{threads}", "--topics",
                    prepared / "topics.tsv", "--threads", threads, "--hits", hits, "--tag", "t"))
    one = (tmp_path / "1").read_text("utf-8")
    assert (tmp_path / "4").read_text("utf-8") == one
    assert (tmp_path / "2").read_text("utf-8").splitlines() == [
        line for line in one.splitlines() if int(line.split()[3]) <= 2]


def test_a_query_of_more_than_1024_terms_is_searched_whole(prepared: Path, tmp_path: Path,
                                                           cli: Cli) -> None:
    """Its only term that documents have would be the first to be cut."""
    long = {"id": "q", "vector": {f"t{n}": 10 for n in range(2044)} | {"cat": 9}}
    queries = write_lines(tmp_path / "q.jsonl", [long, {"id": "r", "vector": {"cat": 2}}])
    result = cli(*search(prepared, "splade-v3", tmp_path / "run", "--queries", queries))
    assert "terms" not in result.err
    run = read_run_file(tmp_path / "run")
    assert run["q"] == {doc: score / 2 * 9 for doc, score in run["r"].items()}


def test_a_score_beyond_2_to_the_24_is_warned_of_where_lucene_adds_up(prepared: Path, tmp_path: Path, cli: Cli) -> None:
    queries = write_lines(tmp_path / "q.jsonl", [{"id": "q",
                                                  "vector": {f"{n}": 32767 for n in range(9)}},
                                                 {"id": "r", "vector": {"cat": 10}}])
    words = search(prepared, "splade-v3", tmp_path / "run", "--queries", queries)
    assert "2^24" not in cli(*words).err
    assert "warning: 1 query may pass a score of 2^24" in cli(*words, "--lucene").err


@pytest.mark.fault(14, "queries of another scale, variant, model or policy than the index",
                   detected="fingerprint, both shown")
def test_what_does_not_belong_together_is_refused(prepared: Path, tiny: Path, tmp_path: Path,
                                                  cli: Cli, refused: Callable[..., str]) -> None:
    topics = ("--topics", prepared / "topics.tsv")
    out = tmp_path / "run"
    assert "variant splade-v3-doc against splade-v3" in refused(
        *search(prepared, "splade-v3", out, *topics, "--variant", "splade-v3-doc"))
    other = make_tiny(tmp_path / "other", seed=9)
    assert "do not belong together: model " in refused(
        *search(prepared, "splade-v3", out, *topics, "--model", other))
    for name, more, message in (
            ("scale", ["--scale", 20], "quantizer x20-rint against x100-rint"),
            ("policy", ["--special-tokens", "keep"], "special_tokens keep against drop"),
            ("variant", ["--variant", "splade-v3-lexical"],
             "variant splade-v3-lexical against splade-v3")):
        cli("encode", "--model", tiny, "--topics", prepared / "topics.tsv",
            "--output", tmp_path / name, "--max-length", 64, *more)
        assert message in refused(*search(prepared, "splade-v3", out, "--queries",
                                          tmp_path / name))
    assert "holds encoded documents" in refused(
        *search(prepared, "splade-v3", out, "--queries", prepared / "splade-v3.encoded"))
    assert not out.exists()


def test_lengths_and_scales_of_bags_of_words_may_differ(prepared: Path, tiny: Path,
                                                        tmp_path: Path, cli: Cli) -> None:
    cli("encode", "--model", tiny, "--variant", "splade-v3-doc", "--topics",
        prepared / "topics.tsv", "--output", tmp_path / "q", "--max-length", 32, "--scale", 7)
    result = cli(*search(prepared, "splade-v3-doc", tmp_path / "run", "--queries", tmp_path / "q"))
    assert result.code == 0, result
    assert {line.vector and set(line.vector.values()) == {1} for line in read_encoded(
        tmp_path / "q", read_manifest(tmp_path / "q")) if line.vector} == {True}


def test_an_index_from_elsewhere_needs_to_be_called_prebuilt(prepared: Path, tiny: Path,
                                                             tmp_path: Path, cli: Cli,
                                                             refused: Callable[..., str]) -> None:
    import shutil

    shutil.copytree(prepared / "splade-v3.index", tmp_path / "elsewhere.index")
    (tmp_path / "elsewhere.index" / "spladev3_anserini.json").unlink()
    plain = search(tmp_path, "elsewhere", tmp_path / "run", "--topics", prepared / "topics.tsv")
    assert "search it with --prebuilt" in refused(*plain)
    assert "say the model with --model" in cli(*plain, "--prebuilt").err
    assert "--scale 0: expected a number above 0" in refused(
        *plain, "--prebuilt", "--model", tiny, "--scale", 0)
    result = cli(*plain, "--prebuilt", "--model", tiny)
    assert "not checked: model, tokenizer, variant, special tokens, scale" in result.err
    cli(*search(prepared, "splade-v3", tmp_path / "ours", "--topics", prepared / "topics.tsv"))
    assert (tmp_path / "run").read_bytes() == (tmp_path / "ours").read_bytes()


def test_choices_that_are_not_the_indexs_are_refused(prepared: Path, tmp_path: Path,
                                                     refused: Callable[..., str]) -> None:
    topics = ("--topics", prepared / "topics.tsv")
    plain = search(prepared, "splade-v3", tmp_path / "run", *topics)
    assert "--scale 50: the index was built with --scale 100" in refused(*plain, "--scale", 50)
    assert "--special-tokens keep: the index was built with --special-tokens drop" in refused(
        *plain, "--special-tokens", "keep")
    queries = write_lines(tmp_path / "q.jsonl", [{"id": "q", "vector": {"cat": 2}}])
    assert "are encoded already" in refused(
        *search(prepared, "splade-v3", tmp_path / "run", "--queries", queries, "--scale", 3))


@pytest.mark.parametrize("line", ['{"id": "a b", "vector": {"cat": 1}}',
                                  '{"id": "", "vector": {"cat": 1}}',
                                  '{"id": "q", "vector": {"cat": 2000000000}}',
                                  '{"id": "q", "vector": {"cat": 1, "cat": 2}}',
                                  '{"id": "q", "id": "r", "vector": {"cat": 1}}'])
def test_bad_encoded_queries_are_refused(line: str, prepared: Path, tmp_path: Path,
                                         cli: Cli) -> None:
    result = cli(*search(prepared, "splade-v3", tmp_path / "run", "--queries",
                         write_lines(tmp_path / "q.jsonl", [line])))
    assert result.code == 2
    assert "q.jsonl:1: " in result.err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_run_can_go_to_a_pipe_or_through_a_link(prepared: Path, tmp_path: Path,
                                                  cli: Cli) -> None:
    import os
    import threading

    words = ("--topics", prepared / "topics.tsv")
    cli(*search(prepared, "splade-v3", tmp_path / "run", *words))
    expected = (tmp_path / "run").read_text("utf-8")
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text("utf-8")))
    reader.start()
    cli(*search(prepared, "splade-v3", tmp_path / "pipe", *words))
    reader.join()
    assert read == [expected]
    (tmp_path / "link").symlink_to(tmp_path / "target")
    cli(*search(prepared, "splade-v3", tmp_path / "link", *words))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text("utf-8") == expected


def test_names_of_any_script_under_the_c_locale(prepared: Path, tiny: Path,
                                                tmp_path: Path) -> None:
    import os
    import shutil
    import subprocess
    import sys

    folder = tmp_path / "Exception é 中"
    shutil.copytree(prepared / "splade-v3.encoded", folder / "encoded")
    for words in (["index", "--encoded", folder / "encoded", "--index", folder / "index"],
                  search(tmp_path, "x", folder / "run", "--topics", prepared / "topics.tsv")):
        words = [str(word).replace(str(tmp_path / "x.index"), str(folder / "index"))
                 for word in words]
        done = subprocess.run([sys.executable, "-m", "spladev3_anserini", *words], check=False,
                              capture_output=True, env=os.environ | {"LC_ALL": "C"})
        assert done.returncode == 0, done.stderr
    assert (folder / "run").exists()


def test_the_exact_engine_and_lucene_write_the_same_run(prepared: Path, tmp_path: Path,
                                                        cli: Cli) -> None:
    for name, more in (("engine", ()), ("lucene", ("--lucene",))):
        result = cli(*search(prepared, "splade-v3", tmp_path / name, "--topics",
                             prepared / "topics.tsv", *more))
        by = r"by Lucene \d+\.\d+\.\d+ \(as requested\); " if more else "by the exact engine; "
        assert re.search(f" lines, {by}", result.out), result
    assert (tmp_path / "engine").read_bytes() == (tmp_path / "lucene").read_bytes() != b""


def test_encoded_queries_are_searched_without_the_models_libraries(prepared: Path,
                                                                   tmp_path: Path) -> None:
    import subprocess
    import sys

    queries = write_lines(tmp_path / "q.jsonl", [{"id": "q", "vector": {"cat": 2}}])
    words = [str(word) for word in search(prepared, "splade-v3", tmp_path / "run", "--queries",
                                          queries)]
    script = ("import sys\nfrom spladev3_anserini.cli.commands import commands\n"
              f"commands.main({words!r}, standalone_mode=False)\n"
              "print(sorted({'torch', 'transformers', 'pyserini', 'jnius'} & sys.modules.keys()))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "run").read_text("utf-8")


def test_bags_tables_and_graphs_need_no_torch(prepared: Path, tiny: Path, tmp_path: Path,
                                              cli: Cli) -> None:
    """Importing torch and transformers takes longer than such a search; a new Python, as imports are
    what is tested."""
    import subprocess
    import sys

    cli("export", "--model", tiny, "--precision", "int8", "--output", tmp_path / "int8")
    cli("encode", "--model", tmp_path / "int8", "--corpus", prepared / "corpus.jsonl", "--output",
        tmp_path / "encoded", "--max-length", 64)
    cli("index", "--encoded", tmp_path / "encoded", "--index", tmp_path / "index")
    words = [[str(word) for word in command] for command in (
        search(prepared, "splade-v3-doc", tmp_path / "run", "--topics", prepared / "topics.tsv"),
        ["ask", "--index", tmp_path / "index", "cat on a mat"])]
    script = ("import sys\nfrom spladev3_anserini.cli.commands import commands\n"
              f"for words in {words!r}:\n    commands.main(words, standalone_mode=False)\n"
              "import spladev3_anserini as splade\n"
              f"for path, more in (({str(tmp_path / 'index')!r}, {{}}), "
              f"({str(prepared / 'splade-v3.index')!r}, {{'query_weights': {{'cat': 1.0}}}})):\n"
              "    with splade.open_index(path, **more) as index:\n"
              "        assert index.search('the cat')\n"
              "print(sorted({'torch', 'transformers', 'pyserini', 'jnius'} & sys.modules.keys()))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert read_run_file(tmp_path / "run")["q1"]


BAD = {
    "no such index": lambda f, t: search(t, "none", t / "run", "--topics", f / "topics.tsv"),
    "no such file": lambda f, t: search(f, "splade-v3", t / "run", "--topics", t / "none.tsv"),
    "no topic in it": lambda f, t: search(f, "splade-v3", t / "run", "--topics", t / "empty.tsv"),
    "either --topics or --queries": lambda f, t: search(f, "splade-v3", t / "run"),
    "--tag 'a b'": lambda f, t: search(f, "splade-v3-doc", t / "run", "--tag", "a b", "--topics",
                                       f / "topics.tsv"),
    "--hits": lambda f, t: search(f, "splade-v3", t / "run", "--hits", 0, "--topics",
                                  f / "topics.tsv"),
    "is a folder": lambda f, t: search(f, "splade-v3", t, "--topics", f / "topics.tsv"),
    "No such option": lambda f, t: search(f, "splade-v3", t / "run", "--topic", "x"),
    "is there twice": lambda f, t: search(f, "splade-v3", t / "run", "--queries", t / "q.jsonl"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_usage_is_one_line_and_no_run(message: str, prepared: Path, tmp_path: Path,
                                          cli: Cli) -> None:
    (tmp_path / "empty.tsv").touch()
    write_lines(tmp_path / "q.jsonl", [{"id": "q", "vector": {"cat": 1}}] * 2)
    result = cli(*BAD[message](prepared, tmp_path))
    assert result.code == 2
    assert message in result.err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_asking_shows_terms_and_hits(prepared: Path, cli: Cli) -> None:
    result = cli("ask", "--index", prepared / "splade-v3-doc.index", "--corpus",
                 prepared / "corpus.jsonl", "--max-length", 64, "cat on the mat", "xyzzy")
    assert result.code == 0, result
    blocks = result.out.strip().split("\n\n")
    assert blocks[0].splitlines()[:2] == ["cat on the mat", "  cat 1  mat 1  on 1  the 1"]
    assert "the dog runs , the dog barks" in blocks[0]
    assert blocks[1].splitlines()[-1] == "  no document shares a term with this question"


def test_asking_without_a_question_reads_them_until_the_end(prepared: Path) -> None:
    import subprocess

    done = subprocess.run(
        [*program(), "ask", "--index", str(prepared / "splade-v3-doc.index"), "--max-length", "64"],
        input="heat\na wing\n", capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line[:1].isalpha()] == ["heat", "a wing"]


def test_the_index_names_its_model(prepared: Path, tiny: Path) -> None:
    record = json.loads((prepared / "splade-v3.index" / "spladev3_anserini.json").read_text())
    assert record["encoded"]["model_name"] == str(tiny)
