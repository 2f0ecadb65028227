"""Command lines that are nearly right: empty values, closed streams, no command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result

from spladev3_anserini.text import in_options


@pytest.mark.parametrize(("line", "message"), [
    ("search --index= --topics t.tsv --output o", "Invalid value for '--index': is empty"),
    ("search --index i --topics= --output o", "Invalid value for '--topics': is empty"),
    ("encode --model= --corpus c --output o", "Invalid value for '--model': is empty"),
    ("encode --corpus c --output=", "Invalid value for '--output': is empty"),
    ("bm25 --corpus c --topics t.tsv --output o --k1 nan", "'--k1': nan is no finite number"),
    ("bm25 --corpus c --topics t.tsv --output o --b nan", "'--b': nan is no finite number"),
    ("bm25 --corpus c --topics t.tsv --output o --k1 inf", "'--k1': inf is no finite number"),
])
def test_what_is_refused_before_anything_is_read(line: str, message: str,
                                                 refused: Callable[..., str]) -> None:
    assert message in refused(*line.split())


def test_an_output_that_is_a_folder_is_refused_before_the_work(refused: Callable[..., str],
                                                               tmp_path: Path) -> None:
    for line in ("search --index none --topics none.tsv", "bm25 --corpus none --topics none.tsv"):
        assert f"{tmp_path}: is a folder, expected a file" in refused(*line.split(), "--output", tmp_path)


def test_a_group_without_a_command_shows_its_help(cli: Callable[..., Result]) -> None:
    done = cli("reproduce")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Usage: ")
    assert len(done.out.splitlines()) > 10


def test_a_closed_standard_output_is_not_taken_for_the_next_file(tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text("q 0 d 1\n")
    (tmp_path / "run").write_text("q Q0 d 1 1 t\n")
    script = ("import os, sys\n"
              "from spladev3_anserini.cli.app import _open_closed_streams\n"
              "_open_closed_streams()\n"
              "sys.exit(os.open(sys.argv[1], os.O_RDONLY) < 3)\n")
    for closed in (">&-", "<&-", "2>&-", "<&- >&- 2>&-"):
        subprocess.run(f'"{sys.executable}" -c "{script}" "{tmp_path / "run"}" {closed}', shell=True,
                       check=True)


def test_only_options_of_the_command_are_written_as_options(refused: Callable[..., str],
                                                            tmp_path: Path) -> None:
    message = "`max_length` 2: is no `fingerprint` of `on_error`"
    assert in_options(message, {"--max-length", "--on-error"}) == \
        "--max-length 2: is no `fingerprint` of --on-error"
    (tmp_path / "qrels").write_text("q 0 d 1\n")
    (tmp_path / "run").write_text("q Q0 d 1 1 t\n")
    assert "--measures nope: no measure" in refused(
        "evaluate", "--qrels", tmp_path / "qrels", "--run", tmp_path / "run", "--measures", "nope")
