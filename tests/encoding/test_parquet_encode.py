"""An encode with --format parquet holds the documents of lines of JSON, and resumes as they do."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result
from encodes import content, corpus_of_words, encode_command

from spladev3_anserini.encoding.shard_source import EncodingOutput
from spladev3_anserini.errors import InputError
from spladev3_anserini.impacts.shards import read_encoded, read_manifest

Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus_of_words(tmp_path_factory.mktemp("corpus"), 3, 90, 30)


def arguments(tiny: Path, corpus: Path, output: Path, *more: object) -> list[str]:
    return encode_command(tiny, corpus, output, 20, *more)


@pytest.fixture(scope="module")
def encoded(tiny: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same corpus in both formats, with texts."""
    from spladev3_anserini.cli.commands import commands

    folder = tmp_path_factory.mktemp("encoded")
    for name in ("jsonl", "parquet"):
        commands([str(a) for a in arguments(tiny, corpus, folder / name, "--contents", "--format", name)],
             standalone_mode=False)
    return folder


def test_documents_and_counts_are_those_of_json_lines(encoded: Path, cli: Cli) -> None:
    lines, tables = (read_manifest(encoded / name) for name in ("jsonl", "parquet"))
    assert list(read_encoded(encoded / "parquet", tables)) == list(read_encoded(encoded / "jsonl", lines))
    assert [shard.name for shard in tables.shards] == [f"part-{n:05d}.parquet" for n in range(5)]
    fields = {"name", "sha256", "size"}
    assert [s.model_dump(exclude=fields) for s in tables.shards] == [
        s.model_dump(exclude=fields) for s in lines.shards]
    assert cli("verify", encoded / "parquet").code == 0
    topics = encoded / "topics.tsv"
    topics.write_text("q1\tcat dog\n")
    costs = [json.loads(cli("flops", "--encoded", encoded / name, "--topics", topics, "--format", "json").out)
             for name in ("jsonl", "parquet")]
    assert costs[0][0] | {"name": ""} == costs[1][0] | {"name": ""}


def test_parts_and_a_mended_shard_give_the_bytes_of_the_whole(encoded: Path, tiny: Path, corpus: Path,
                                                             tmp_path: Path, cli: Cli) -> None:
    folder, more = tmp_path / "parts", ("--contents", "--format", "parquet")
    for part in ("2/2", "1/2"):
        assert cli(*arguments(tiny, corpus, folder, *more, "--part", part)).code == 0
    assert content(folder) == content(encoded / "parquet")
    again = shutil.copytree(encoded / "parquet", tmp_path / "again")
    shard = again / "impacts" / "part-00003.parquet"
    shard.write_bytes(shard.read_bytes()[:-9])
    (again / ".part-00001.parquet.host-1.tmp").write_bytes(b"PAR1")
    assert cli("verify", again).code == 1
    result = cli(*arguments(tiny, corpus, again, *more))
    assert "1 shard written, 4 kept" in result.out
    assert content(again) == content(encoded / "parquet")
    assert not (again / ".part-00001.parquet.host-1.tmp").exists()


def test_the_other_format_is_another_encoding(encoded: Path, tiny: Path, corpus: Path, tmp_path: Path,
                                              refused: Callable[..., str]) -> None:
    folder = shutil.copytree(encoded / "parquet", tmp_path / "copy")
    assert "format: parquet there, jsonl now" in refused(*arguments(tiny, corpus, folder, "--contents"))
    assert "--gzip: is for lines of JSON" in refused(
        *arguments(tiny, corpus, tmp_path / "z", "--gzip", "--format", "parquet"))
    with pytest.raises(InputError, match=r"`format` csv: expected jsonl or parquet"):
        EncodingOutput(folder=tmp_path, format="csv")


def test_without_pyarrow_it_is_refused_before_the_work(tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"^`format` parquet: needs pyarrow, which is not installed: pip "):
        EncodingOutput(folder=tmp_path, format="parquet")


def test_topics_in_parquet_are_queries(encoded: Path, tiny: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "topics.tsv").write_text("q1\tcat dog\nq2\t\n")
    for name in ("jsonl", "parquet"):
        assert cli("encode", "--model", tiny, "--topics", tmp_path / "topics.tsv", "--output",
                   tmp_path / name, "--max-length", 64, "--format", name).code == 0
    found, expected = (list(read_encoded(tmp_path / name, read_manifest(tmp_path / name)))
                       for name in ("parquet", "jsonl"))
    assert found == expected
    assert found[0].contents == "cat dog"
