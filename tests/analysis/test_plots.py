"""Pictures: what is written in them, and that names do not cover each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spladev3_anserini.analysis.forest import forest_plot
from spladev3_anserini.analysis.meta_analysis import Effect, random_effects
from spladev3_anserini.analysis.scatter import Point, scatter_plot
from spladev3_anserini.errors import InputError

EFFECTS = [Effect("dl19", "MS MARCO", 0.05, 0.0001, 43), Effect("dl20", "MS MARCO", -0.04, 1e-4, 54),
           Effect("nq", "BEIR", 0.01, 0.0002, 3452)]


def words(path: Path) -> str:
    """matplotlib notes each text it draws in a comment."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", path.read_text("utf-8")))


def test_a_forest_plot_has_every_set_group_and_number(tmp_path: Path) -> None:
    path = tmp_path / "forest.svg"
    forest_plot(EFFECTS, path, title="v3 against BM25")
    text, summary = words(path), random_effects(EFFECTS)
    for expected in ("v3 against BM25", "MS MARCO", "BEIR", "dl19", "dl20", "nq",
                     "+0.050 [+0.030, +0.070]",  # 0.05 -+ 1.96 x 0.01
                     "−0.040 [−0.060, −0.020]", "Summary of 3 query sets",
                     f"{summary.mean:+.3f} ["):
        assert expected in text, expected
    png = tmp_path / "forest.png"
    forest_plot(EFFECTS, png, title="the same")
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_scatter_names_every_model(tmp_path: Path) -> None:
    path = tmp_path / "scatter.svg"
    points = [Point("splade-v3", 1.2, 0.517), Point("splade-v3-doc", 1.21, 0.517),
              Point("demo", 12.07, 0.376)]
    scatter_plot(points, path, measure="nDCG@10")
    assert all(own.name in words(path) for own in points)
    first = path.read_bytes()
    scatter_plot(points, path, measure="nDCG@10")
    assert path.read_bytes() == first


def test_what_cannot_be_drawn_leaves_no_file(tmp_path: Path) -> None:
    for bad, says in ((tmp_path / "a.pdf", "ending in .svg or .png"),
                      (tmp_path / "a", "ending in .svg or .png")):
        with pytest.raises(InputError, match=says):
            forest_plot(EFFECTS, bad, title="x")
    with pytest.raises(InputError, match="FLOPS 0"):
        scatter_plot([Point("x", 0.0, 0.5)], tmp_path / "a.svg", measure="m")
    with pytest.raises(InputError, match="no query set"):
        forest_plot([], tmp_path / "a.svg", title="x")
    assert not list(tmp_path.iterdir())
