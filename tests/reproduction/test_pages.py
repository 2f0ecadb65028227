"""The pages of docs/regressions are what the recipes make of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from conftest import Result

from spladev3_anserini.recipe.library import Library, default_folder
from spladev3_anserini.reproduction.regression_pages import render_pages

FOLDER = Path(__file__).parents[2] / "docs" / "regressions"


def test_the_pages_are_current() -> None:
    made = render_pages(Library(default_folder()))
    assert {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.md")} == made, \
        "spladev3-anserini reproduce pages writes them"


def test_pages_of_collections_that_are_gone_go_too(tmp_path: Path, cli: Callable[..., Result]) -> None:
    (tmp_path / "own.md").write_text("mine")
    (tmp_path / "gone.md").write_text((FOLDER / "demo.md").read_text("utf-8"))
    done = cli("reproduce", "pages", "--to", tmp_path)
    assert "1 removed" in done.out
    assert not (tmp_path / "gone.md").exists()
    assert (tmp_path / "own.md").read_text() == "mine"
