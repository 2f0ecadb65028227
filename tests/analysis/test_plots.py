"""Pictures: what is written in them, and that nothing written covers anything else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from spladev3_anserini.analysis import forest, scatter
from spladev3_anserini.analysis.forest import forest_plot
from spladev3_anserini.analysis.meta_analysis import Effect, random_effects
from spladev3_anserini.analysis.scatter import Point, scatter_plot
from spladev3_anserini.errors import InputError

EFFECTS = [Effect("dl19", "MS MARCO", 0.05, 0.0001, 43), Effect("dl20", "MS MARCO", -0.04, 1e-4, 54),
           Effect("nq", "BEIR", 0.01, 0.0002, 3452)]


def words(path: Path) -> str:
    """matplotlib notes each text it draws in a comment."""
    return unescape("\n".join(re.findall(r"<!-- (.*?) -->", path.read_text("utf-8"))))


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved, which they still are."""
    saved: list[Any] = []
    for module in (forest, scatter):
        def keep(figure: Any, path: Path, save: Any = module.save) -> None:
            saved.append(figure)
            save(figure, path)

        monkeypatch.setattr(module, "save", keep)
    return saved


def check_nothing_is_covered(figure: Any, path: Path) -> None:
    """Every text is on the page, and no two share a pixel's area.

    A figure has more texts than it draws: ticks that are out of view."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = words(path).split("\n")
    texts = [text for text in figure.findobj(Text) if text.get_visible()
             and text.get_text() in drawn]
    assert len(texts) >= len(drawn) > 0
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts]
    for name, box in boxes:
        assert box.x0 >= 0 <= box.y0, name
        assert box.x1 <= figure.bbox.x1, name
        assert box.y1 <= figure.bbox.y1, name
    for (one, a), (other, b) in combinations(boxes, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        along = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, along) < 1, (one, other)


def some(count: int, names: str = "set {}", groups: int = 0) -> list[Effect]:
    generator = np.random.default_rng(count)
    return [Effect(names.format(n), f"group {n * groups // count}" if groups else "",
                   float(generator.normal(0.04, 0.05)), float(generator.uniform(1e-5, 4e-4)), 100 + n)
            for n in range(count)]


LONG = "reproduced/splade-v3-distilbert/msmarco-v1-passage/title-and-text/run.{}.txt"


@pytest.mark.parametrize("effects", [
    some(1), some(2), some(12), some(44, groups=6), some(3, LONG), some(44, LONG, groups=12),
    [own._replace(group=LONG) for own in some(3)], [own._replace(mean=0.5) for own in some(4)],
    [own._replace(mean=-0.5) for own in some(4)], [*some(5), Effect("few", "", -0.2, 0.5, 2)],
    [own._replace(mean=own.mean * 1e-5, variance=own.variance * 1e-10) for own in some(4)],
    [own._replace(mean=own.mean * 1e5, variance=own.variance * 1e10) for own in some(4)],
], ids=range(12))
def test_nothing_is_covered_in_a_forest_plot(effects: Sequence[Effect], figures: list[Any],
                                             tmp_path: Path) -> None:
    path = tmp_path / "forest.svg"
    forest_plot(effects, path, clamped=True, title=f"{LONG} against {LONG}, nDCG@10")
    check_nothing_is_covered(figures[0], path)
    if len(effects) == 44 and effects[0].name == "set 0":
        width, height = figures[0].get_size_inches()
        assert width / height >= 0.98 * 210 / 297  # fills a page of A4, title of two lines and all


def test_a_forest_plot_has_every_set_group_and_number(tmp_path: Path) -> None:
    path = tmp_path / "forest.svg"
    forest_plot(EFFECTS, path, title="v3 against BM25")
    text, summary = words(path), random_effects(EFFECTS)
    for expected in ("v3 against BM25", "MS MARCO", "BEIR", "dl19", "dl20", "nq", "3,452",
                     "+0.050 [+0.030, +0.070]",  # 0.05 -+ 1.96 x 0.01
                     "−0.040 [−0.060, −0.020]", "Summary of 3 query sets", "95% normal interval",
                     f"{summary.mean:+.3f} [", *(f"{own:.1%}" for own in summary.weights)):
        assert expected in text, expected
    png = tmp_path / "forest.png"
    forest_plot(EFFECTS, png, title="the same")
    assert png.read_bytes().startswith(b"\x89PNG")
    forest_plot(EFFECTS, path, title="x", confidence=0.999)
    assert "99.9% normal interval" in words(path)
    assert "+0.050 [+0.017, +0.083]" in words(path)  # 0.05 -+ 3.2905 x 0.01


def test_better_worse_and_neither_differ_in_fill_and_colour(figures: list[Any],
                                                            tmp_path: Path) -> None:
    forest_plot(EFFECTS, tmp_path / "forest.svg", title="x")
    squares = {float(line.get_xdata()[0]): line for line in figures[0].axes[1].lines
               if line.get_marker() == "s"}
    looks = {mean: (squares[mean].get_fillstyle(), squares[mean].get_markerfacecolor() == "white")
             for mean in (0.05, -0.04, 0.01)}
    assert looks == {0.05: ("full", False), -0.04: ("left", False), 0.01: ("full", True)}
    assert len({squares[mean].get_markeredgecolor() for mean in squares}) == 3


def test_sets_of_a_group_stand_together_and_those_of_none_last(tmp_path: Path) -> None:
    path = tmp_path / "forest.svg"
    forest_plot([own._replace(group=group) for own, group in
                 zip(some(5), ("", "A", "B", "A", ""), strict=True)], path, title="x")
    found = [word for word in words(path).split("\n") if re.fullmatch(r"A|B|Others|set \d", word)]
    assert found == ["A", "B", "Others", "set 1", "set 3", "set 2", "set 0", "set 4"]


def test_nothing_is_minus_zero_or_a_formula(tmp_path: Path) -> None:
    path = tmp_path / "forest.svg"
    forest_plot([*EFFECTS, Effect("cost$_x$", "", -1e-5, 1e-4, 9)], path, title="$a$ against $b$")
    text = words(path)
    assert "0.000 [−0.020, +0.020]" in text
    assert "−0.000" not in text
    assert "cost$_x$" in text
    assert "$a$ against $b$" in text


def test_a_picture_is_the_same_whatever_the_users_settings(tmp_path: Path) -> None:
    path = tmp_path / "forest.svg"
    forest_plot(EFFECTS, path, title="x")
    first = path.read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "text.usetex": True}):
        forest_plot(EFFECTS, path, title="x")
    assert path.read_bytes() == first


POINTS = [Point("splade-v3", 1.2, 0.517), Point("splade-v3-doc", 1.21, 0.517),
          Point("demo", 12.07, 0.376)]


def test_a_scatter_names_every_model(tmp_path: Path) -> None:
    path = tmp_path / "scatter.svg"
    scatter_plot(POINTS, path, measure="nDCG@10")
    assert all(own.name in words(path) for own in POINTS)
    first = path.read_bytes()
    scatter_plot(POINTS, path, measure="nDCG@10")
    assert path.read_bytes() == first


@pytest.mark.parametrize("points", [
    POINTS, POINTS[:1], [own._replace(flops=1.0, value=0.5) for own in POINTS],
    [Point(f"splade-v3-model-{n}", 1 + 0.3 * (n * 7 % 16) / 16, 0.5 + 0.02 * (n * 5 % 16) / 16,
           "abcdefg"[n % 7]) for n in range(16)],
    [Point(f"a-rather-long-name-of-a-model-{n}", 10.0 ** n, 0.1 * n, "x") for n in range(6)],
    [Point(f"model {n}", 1 + n / 100, 0.5 + n / 1000) for n in range(8)]], ids=range(6))
def test_nothing_is_covered_in_a_scatter(points: Sequence[Point], figures: list[Any],
                                         tmp_path: Path) -> None:
    path = tmp_path / "scatter.svg"
    scatter_plot(points, path, measure="nDCG@10")
    check_nothing_is_covered(figures[0], path)
    axes = figures[0].axes[0]
    flops = [own.flops for own in points]
    assert (axes.get_xscale() == "log") == (max(flops) > 10 * min(flops))


def test_long_names_are_shortened_in_their_middle(figures: list[Any], tmp_path: Path) -> None:
    """Each was measured 5,000 times before, a letter less each time."""
    long = [own._replace(name=f"{own.name}{'W' * 5000}{n}", group=f"{'i' * 5000}{n}")
            for n, own in enumerate(EFFECTS)]
    drawn = tmp_path / "forest.svg"
    forest_plot(long, drawn, title="A" * 5000)
    check_nothing_is_covered(figures[0], drawn)
    assert re.search("^dl19W+…W+0$", words(drawn), re.M)
    scatter_plot([own._replace(name=f"{own.name}{'W' * 5000}") for own in POINTS],
                 tmp_path / "scatter.svg", measure="m" * 5000)
    assert max(map(len, words(tmp_path / "scatter.svg").split("\n"))) <= 121
    width, height = figures[0].get_size_inches()
    assert width < 12 > height


def test_more_sets_than_a_picture_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds 800 query sets, here are 801"):
        forest_plot(some(801), tmp_path / "f.png", title="x")


def test_names_in_pictures_show_and_what_the_font_lacks_is_one_line(
        tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "forest.svg"
    forest_plot([own._replace(name=f"{own.name}\x1b[1m\u202e\n中文") for own in EFFECTS], path,
                title="日本")
    assert r"dl19\x1b[1m\u202e 中文" in words(path)
    assert capfd.readouterr().err == \
        "warning: a plot shows boxes for characters that its font lacks\n"


def test_groups_named_others_stay_apart_from_those_without(tmp_path: Path) -> None:
    path = tmp_path / "forest.svg"
    forest_plot([EFFECTS[0]._replace(group="Others"), EFFECTS[1]._replace(group="")], path,
                title="x", clamped=True)
    assert {"Others", "No group"} <= set(words(path).split("\n"))


def test_what_cannot_be_drawn_leaves_no_file(tmp_path: Path) -> None:
    for bad, says in ((tmp_path / "a.pdf", "ending in .svg or .png"),
                      (tmp_path / "a", "ending in .svg or .png")):
        with pytest.raises(InputError, match=says):
            forest_plot(EFFECTS, bad, title="x")
        with pytest.raises(InputError, match=says):
            scatter_plot(POINTS, bad, measure="m")
    for flops in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="FLOPS"):
            scatter_plot([Point("x", flops, 0.5)], tmp_path / "a.svg", measure="m")
    with pytest.raises(InputError, match="its m is nan"):
        scatter_plot([Point("x", 1.0, float("nan"))], tmp_path / "a.svg", measure="m")
    with pytest.raises(InputError, match="no model"):
        scatter_plot([], tmp_path / "a.svg", measure="m")
    with pytest.raises(InputError, match="no query set"):
        forest_plot([], tmp_path / "a.svg", title="x")
    assert not list(tmp_path.iterdir())
