"""Paths that are not what they seem: links, pipes, patterns, places of other things."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from breaking import Encoding, content
from conftest import Result

Cli = Callable[..., Result]


@pytest.mark.fault(4, "a pipe in place of a shard, which would block",
                   detected="what kind of file it is")
def test_a_shard_that_is_a_pipe(encoding: Encoding, tmp_path: Path, cli: Cli,
                                refused: Callable[..., str]) -> None:
    folder = Path(shutil.copytree(encoding.folder, tmp_path / "out"))
    shard = folder / "impacts" / "part-00001.jsonl"
    shard.unlink()
    os.mkfifo(shard)
    assert "part-00001.jsonl: is no plain file" in cli("verify", folder).err
    assert "part-00001.jsonl: is no plain file" in refused(*encoding.command, folder)


@pytest.mark.fault(19, "an encoded folder whose shards are a link to elsewhere",
                   detected="looked at before anything is written")
def test_shards_that_are_a_link(encoding: Encoding, tmp_path: Path,
                                refused: Callable[..., str]) -> None:
    folder = Path(shutil.copytree(encoding.folder, tmp_path / "out"))
    (folder / "impacts").rename(tmp_path / "elsewhere")
    (folder / "impacts").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "part-00001.jsonl").unlink()
    assert "out/impacts: is a link" in refused(*encoding.command, folder)
    assert not (tmp_path / "elsewhere" / "part-00001.jsonl").exists()


@pytest.mark.fault(10, "an index inside the encoded folder it is built from",
                   detected="compared before anything is built")
def test_an_index_inside_its_input(encoding: Encoding, tmp_path: Path,
                                   refused: Callable[..., str]) -> None:
    folder = Path(shutil.copytree(encoding.folder, tmp_path / "out"))
    assert "is inside --encoded" in refused("index", "--encoded", folder, "--index",
                                          folder / "impacts" / "index")
    assert content(folder) == encoding.files


def test_names_that_are_patterns(encoding: Encoding, tmp_path: Path, cli: Cli) -> None:
    """Leftovers are looked for by the index's own name, whatever is in it."""
    index = tmp_path / "i**x[1]"
    left = tmp_path / f".{index.name}.building-left"
    left.mkdir()
    other = tmp_path / ".i1.building-other"
    other.mkdir()
    assert cli("index", "--encoded", encoding.folder, "--index", index).code == 0
    assert not left.exists()
    assert other.exists()


def test_a_link_to_itself(encoding: Encoding, tiny: Path, tmp_path: Path,
                          refused: Callable[..., str]) -> None:
    model = Path(shutil.copytree(tiny, tmp_path / "model"))
    (model / "loop").symlink_to("loop")
    assert "loop" in refused("encode", "--model", model, "--corpus", encoding.corpus, "--output",
                             tmp_path / "loop")
