"""An index appears whole and true, or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TEXTS, Result, write_corpus
from indexes import index_of
from signed import signed

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import sha256_of
from spladev3_anserini.impacts.shards import read_manifest
from spladev3_anserini.lucene.anserini import _ERROR, run_indexer
from spladev3_anserini.lucene.check import (
    INDEX_MANIFEST,
    compare_with_manifest,
    read_index_manifest,
    refusing_replacement,
    statistics,
)
from spladev3_anserini.lucene.opening import open_postings
from spladev3_anserini.lucene.publish import FRESH, scratch_beside

Cli = Callable[..., Result]


@pytest.fixture
def encoded(tiny: Path, tmp_path: Path, cli: Cli) -> Path:
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    assert cli("encode", "--model", tiny, "--corpus", corpus, "--output", tmp_path / "encoded",
               "--max-length", 64, "--shard-size", 3).code == 0
    return tmp_path / "encoded"


@pytest.mark.usefixtures("indexing_process")
def test_the_index_holds_what_was_encoded(encoded: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("index", "--encoded", encoded, "--index", tmp_path / "i", "--optimize")
    manifest, found = read_manifest(encoded), statistics(tmp_path / "i")
    assert (found.documents, found.postings, found.impacts, found.segments) == (
        6, manifest.postings, manifest.impacts, 1)
    assert f"6 documents, {manifest.postings:,} postings" in result.out
    record = read_index_manifest(tmp_path / "i")
    assert record is not None
    assert record.encoded == manifest
    assert record.versions.keys() == {"pyserini", "anserini", "lucene", "engine"}
    assert cli("verify", tmp_path / "i").code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["corpus.jsonl", "encoded", "i"]


def test_the_same_index_again_is_left_alone(encoded: Path, tmp_path: Path, cli: Cli) -> None:
    cli("index", "--encoded", encoded, "--index", tmp_path / "i")
    before = (tmp_path / "i" / "segments_1").stat().st_mtime_ns
    result = cli("index", "--encoded", encoded, "--index", tmp_path / "i")
    assert (result.code, "was there already" in result.out) == (0, True)
    assert (tmp_path / "i" / "segments_1").stat().st_mtime_ns == before


def test_another_index_is_replaced_only_on_demand(encoded: Path, tiny: Path, tmp_path: Path,
                                                  cli: Cli, refused: Callable[..., str]) -> None:
    cli("index", "--encoded", encoded, "--index", tmp_path / "i")
    cli("encode", "--model", tiny, "--corpus", tmp_path / "corpus.jsonl", "--output",
        tmp_path / "other", "--max-length", 64, "--scale", 20)
    arguments = ("index", "--encoded", tmp_path / "other", "--index", tmp_path / "i")
    assert "holds an index of something else" in refused(*arguments)
    assert cli(*arguments, "--overwrite").code == 0
    assert statistics(tmp_path / "i").impacts == read_manifest(tmp_path / "other").impacts


def test_what_is_no_index_is_not_replaced(encoded: Path, tmp_path: Path,
                                          refused: Callable[..., str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    for name in ("mine", "corpus.jsonl"):
        for overwrite in ([], ["--overwrite"]):
            assert "exists and is no index" in refused("index", "--encoded", encoded, "--index",
                                                       tmp_path / name, *overwrite)
    assert (tmp_path / "mine" / "thesis.tex").exists()
    assert (tmp_path / "corpus.jsonl").exists()


def test_an_empty_folder_becomes_the_index(encoded: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "i").mkdir()
    assert cli("index", "--encoded", encoded, "--index", tmp_path / "i").code == 0
    assert statistics(tmp_path / "i").documents == 6


@pytest.mark.fault(10, "a shard changed, doubled, cut, or a file beside them",
                   detected="sha256 in the manifest, before Java starts")
def test_damaged_shards_are_refused_before_java_starts(encoded: Path, tmp_path: Path,
                                                       refused: Callable[..., str]) -> None:
    shard = encoded / "impacts" / "part-00001.jsonl"
    whole = shard.read_text("utf-8")
    arguments = ("index", "--encoded", encoded, "--index", tmp_path / "i")
    for damage in (whole[:-9], whole.replace("1", "2", 1), whole + whole):
        shard.write_text(damage, "utf-8")
        assert "part-00001.jsonl: changed since it was written" in refused(*arguments)
    shard.write_text(whole, "utf-8")
    (encoded / "impacts" / "README").write_text("notes")
    assert "README: not in the manifest" in refused(*arguments)
    assert not (tmp_path / "i").exists()


BAD_LINES = {
    "a duplicate id": '{"id": "d1", "contents": "", "vector": {"a": 5}}',
    "a float": '{"id": "x", "contents": "", "vector": {"a": 2.9, "b": 1}}',
    "a negative weight": '{"id": "x", "contents": "", "vector": {"a": -3, "b": 1}}',
    "no weight left": '{"id": "x", "contents": "", "vector": {"a": 0.4}}',
    "not a number": '{"id": "x", "contents": "", "vector": {"a": NaN}}',
    "a cut line": '{"id": "x", "contents": "", "vec',
    "no vector": '{"id": "x", "contents": ""}',
    "a term of two words": '{"id": "x", "contents": "", "vector": {"a b": 3}}',
}


@pytest.mark.fault(10, "a duplicate id, 2.9, -3, NaN, no vector, a cut line, two words smuggled"
                   " past every hash",
                   detected="the shard's line; documents, postings and total terms against the "
                            "manifest; Anserini's log")
@pytest.mark.parametrize("kind", BAD_LINES)
@pytest.mark.parametrize("by", ["our writer", "Anserini"])
@pytest.mark.usefixtures("indexing_process")
def test_a_bad_line_smuggled_past_the_hashes_is_caught_after(kind: str, by: str, encoded: Path,
                                                             tmp_path: Path,
                                                             refused: Callable[..., str]) -> None:
    """A shard whose manifest was changed to agree with it: Anserini exits 0 on each of these."""
    shard = encoded / "impacts" / "part-00002.jsonl"
    lines = shard.read_text("utf-8").splitlines()
    shard.write_text("\n".join([BAD_LINES[kind], *lines]) + "\n", "utf-8")
    manifest = json.loads((encoded / "manifest.json").read_text("utf-8"))
    manifest["shards"][2]["sha256"] = sha256_of(shard)
    if kind != "a duplicate id":  # pretend the line is what it claims to be: one document, one term
        for key, more in (("documents", 1), ("nonempty", 1), ("postings", 2), ("impacts", 4)):
            manifest["shards"][2][key] += more
    (encoded / "manifest.json").write_text(json.dumps(signed(manifest)), "utf-8")
    more_words = ("--no-engine", "--anserini-threads", 1) if by == "Anserini" else ()
    message = refused("index", "--encoded", encoded, "--index", tmp_path / "i", *more_words)
    if kind == "a duplicate id" and by == "our writer":
        assert "encoded/impacts: the document 'd1' is there twice" in message
    elif by == "Anserini":
        assert "does not hold what was encoded" in message or "Anserini did not index" in message
    else:
        assert "part-00002.jsonl:1: " in message
    assert not (tmp_path / "i").exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_an_unknown_option_of_anserini_builds_nothing_and_is_told(encoded: Path,
                                                                  tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Anserini did not index it"):
        run_indexer("JsonVectorCollection", encoded / "impacts", tmp_path / "i", 1, ["-bogus"], 6)


@pytest.mark.fault(15, "Java's options of a user that name errors or another encoding",
                   then="the same index", detected="what a line begins with; our options come last")
def test_options_of_a_user_change_nothing(tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """Java prints the options it was given; Anserini reads JSON in Java's default encoding."""
    for name in ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS"):
        monkeypatch.setenv(name, "-XX:+ExitOnOutOfMemoryError -Dx=java.lang.Exception "
                                 "-Dfile.encoding=ISO-8859-1")
    documents = [("é", {"a": 1, "中": 5}), ("b", {"a": 2})]
    index = index_of(documents, tmp_path / "Error: java.lang.OutOfMemoryError")
    with open_postings(index) as postings:
        assert {docid: postings.vector(docid) for docid, _ in documents} == dict(documents)


@pytest.mark.parametrize(("line", "failed"), [
    ("Picked up JAVA_TOOL_OPTIONS: -XX:+ExitOnOutOfMemoryError -Dx=java.lang.Error", False),
    ("NOTE: Picked up JDK_JAVA_OPTIONS: -Dx=Exception", False),
    ("2026-01-01 10:00:00,000 INFO  [main] a.B (B.java:1) -  + path: /x ERROR Exception", False),
    ("2026-01-01 10:00:00,000 WARN  [main] a.B (B.java:1) - /Exception/Error: 3 skipped", False),
    ("WARNING: java.lang.System::load has been called", False),
    ("2026-01-01 10:00:00,000 ERROR [part] a.B (B.java:1) - part: Unexpected Exception:", True),
    ("2026-01-01 10:00:00,000 WARN  [main] a.B (B.java:1) - Unexpected difference between", True),
    ('Exception in thread "main" java.lang.OutOfMemoryError: Java heap space', True),
    ("java.lang.RuntimeException: x", True),
    ("Caused by: java.io.IOException: No space left on device", True),
    ("Terminating due to java.lang.OutOfMemoryError: Java heap space", True),
    ('Error: "-bogus" is not a valid option.', True)])
def test_lines_of_java_that_mean_a_failure(line: str, failed: bool) -> None:
    assert bool(_ERROR.match(line)) is failed


def test_missing_documents_are_told_apart_from_the_manifest(encoded: Path, tmp_path: Path,
                                                            cli: Cli) -> None:
    cli("index", "--encoded", encoded, "--index", tmp_path / "i")
    found = statistics(tmp_path / "i")
    manifest = read_manifest(encoded)
    for field in ("documents", "postings", "impacts"):
        wrong = found._replace(**{field: getattr(found, field) - 1})
        with pytest.raises(InputError, match="does not hold what was encoded"):
            compare_with_manifest(wrong, manifest, tmp_path / "i")


def test_nothing_to_index_and_queries_are_refused(tiny: Path, tmp_path: Path, cli: Cli,
                                                  refused: Callable[..., str]) -> None:
    corpus = write_corpus(tmp_path / "empty.jsonl", {"a": "", "b": " "})
    result = cli("encode", "--model", tiny, "--corpus", corpus, "--output", tmp_path / "none",
                 "--max-length", 64)
    assert "2 documents without a term, which will not be found: a, b" in result.out
    assert "nothing to index" in refused("index", "--encoded", tmp_path / "none", "--index",
                                         tmp_path / "i")
    (tmp_path / "t.tsv").write_text("1\tcat\n")
    cli("encode", "--model", tiny, "--topics", tmp_path / "t.tsv", "--output", tmp_path / "q",
        "--max-length", 64)
    assert "holds encoded queries" in refused("index", "--encoded", tmp_path / "q", "--index",
                                              tmp_path / "i")
    assert "no such folder" in refused("index", "--encoded", tmp_path / "zz", "--index",
                                       tmp_path / "i")


def test_an_index_that_lucene_cannot_open(encoded: Path, tmp_path: Path, cli: Cli,
                                          refused: Callable[..., str]) -> None:
    cli("index", "--encoded", encoded, "--index", tmp_path / "i")
    (tmp_path / "i" / INDEX_MANIFEST).unlink()
    shutil.copy(encoded / "manifest.json", tmp_path / "i" / "segments_1")  # not Lucene's format
    (tmp_path / "t.tsv").write_text("1\tcat\n")
    message = refused("search", "--prebuilt", "--index", tmp_path / "i", "--topics",
                      tmp_path / "t.tsv", "--output", tmp_path / "run", "--max-length", 64)
    assert "Lucene cannot open it: " in message
    assert not (tmp_path / "run").exists()


def test_an_index_that_changes_places_while_it_is_read_is_refused(tmp_path: Path) -> None:
    index = tmp_path / "index"
    index.mkdir()

    def read(meanwhile: Callable[[], object]) -> None:
        with refusing_replacement(index), refusing_replacement(None):
            meanwhile()

    read((index / "segments_1").touch)
    with pytest.raises(InputError, match="index: was replaced while it was read"):
        read(lambda: [index.rename(tmp_path / "before"), index.mkdir()])
    with pytest.raises(ZeroDivisionError):
        read(lambda: 1 / 0)


@pytest.mark.parametrize("kind", [InputError, OSError])
def test_errors_name_the_index_and_not_its_temporary_folder(tmp_path: Path,
                                                            kind: type[Exception]) -> None:
    def write() -> None:
        with scratch_beside(tmp_path / "index") as scratch:
            file = f"{scratch / FRESH}/_0.fdt"
            raise InputError(f"{file}: no room") if kind is InputError else OSError(28, "no", file)

    with pytest.raises(kind) as raised:
        write()
    assert f"{tmp_path}/index/_0.fdt" in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("indexing_process")
def test_a_folder_in_an_index_is_not_replaced(encoded: Path, tmp_path: Path, cli: Cli,
                                              refused: Callable[..., str]) -> None:
    index = tmp_path / "index"
    assert cli("index", "--encoded", encoded, "--index", index).code == 0
    shutil.copytree(encoded, index / "encoded")
    again = ("index", "--index", index, "--overwrite", "--encoded")
    assert "is inside --index, which would be replaced" in refused(*again, index / "encoded")
    assert f"{index / 'encoded'}: is not of the index; move it away" in refused(*again, encoded)
    assert (index / "encoded" / "manifest.json").exists()
