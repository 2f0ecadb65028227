"""Texts that are being added to an index when the command is killed or the disk is full."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from breaking import Break, Encoding, one_line
from conftest import Result
from reliability import draws, tried

from spladev3_anserini.collection.stored_texts import open_texts
from spladev3_anserini.lucene.check import read_index_manifest

Cli = Callable[..., Result]


@pytest.mark.fault(11, "index --store-texts killed (kill -9) at a file operation while it adds texts to an "
                   "index, or without room for a file", then="the index as it was, or with all texts; rerun clean",
                   detected="the folders change places last; leftovers are removed by the next")
def test_adding_texts_is_all_or_nothing(breaking: Break, encoding: Encoding, tmp_path: Path, cli: Cli,
                                        chance: random.Random) -> None:
    index = tmp_path / "here" / "index"
    command = ("index", "--encoded", encoding.folder, "--index", index)
    assert cli(*command).code == 0
    shutil.copytree(index, tmp_path / "before")
    events = len(breaking(tmp_path / "here", *command, "--store-texts").events)
    texts = open_texts(index)
    assert texts is not None
    expected = dict(texts.items())
    assert expected
    assert events > 4
    for _ in range(draws(3, 0.25)):
        shutil.rmtree(index.parent)
        index.parent.mkdir()
        shutil.copytree(tmp_path / "before", index)
        how = chance.choice(["kill", "full"])
        broken = breaking(tmp_path / "here", *command, "--store-texts", event=chance.randrange(events), how=how)
        if how == "full" and broken.code:
            assert broken.code == 2, broken
            one_line(broken.out)
        read_index_manifest(index, every=True)
        before = open_texts(index)
        assert before is None or dict(before.items()) == expected
        assert cli(*command, "--store-texts").code == 0
        texts = open_texts(index)
        assert texts is not None
        assert dict(texts.items()) == expected
        if before is None:  # else it was killed after the last step
            assert [path.name for path in index.parent.iterdir()] == ["index"]
        tried()
