"""Files and folders have the modes that the user's umask says, whatever they were made in."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TEXTS, Result, write_corpus
from layouts import pickled


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o007])
def test_modes_follow_the_umask(umask: int, tiny: Path, tmp_path: Path,
                                cli: Callable[..., Result]) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    (tmp_path / "topics.tsv").write_text("q1\tthe cat on the mat\n")
    out = tmp_path / "out"
    source = pickled(tiny, tmp_path / "pickled")
    before = os.umask(umask)
    try:
        for step in (("convert", source, "--output", out / "model"),
                     ("encode", "--model", out / "model", "--variant", "splade-v3", "--corpus", corpus,
                      "--output", out / "encoded", "--max-length", 64),
                     ("index", "--encoded", out / "encoded", "--index", out / "index"),
                     ("search", "--index", out / "index", "--topics", tmp_path / "topics.tsv",
                      "--output", out / "run.txt", "--max-length", 64)):
            done = cli(*step)
            assert done.code == 0, done
    finally:
        os.umask(before)
    found = {str(path.relative_to(out)): stat.S_IMODE(path.stat().st_mode)
             for path in out.rglob("*") if not path.name.startswith(".lock")}
    wrong = {name: oct(mode) for name, mode in found.items()
             if mode != (0o777 if (out / name).is_dir() else 0o666) & ~umask}
    assert not wrong
    assert {"model", "index", "encoded/impacts", "run.txt"} <= found.keys()
    assert all(not mode & 0o002 for mode in found.values())
