"""The command on runs whose values are known by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from conftest import TEXTS, Result, write_corpus
from scipy import stats

from spladev3_anserini.analysis.markup import markdown, markdown_paragraph

Cli = Callable[..., Result]

#: Rank of the one relevant document, by system and query; 0: not found.
RANKS = {"bm25": [1, 2, 0, 4, 1, 2], "splade": [1, 1, 2, 1, 2, 2], "doc": [1, 2, 0, 4, 1, 2]}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    queries = range(len(RANKS["bm25"]))
    (tmp_path / "qrels.txt").write_text("".join(f"q{n} 0 good 1\n" for n in queries))
    (tmp_path / "topics.tsv").write_text("".join(f"q{n}\tquestion {n}\n" for n in queries))
    for name, ranks in RANKS.items():
        lines = [f"q{n} Q0 {'good' if rank == own else f'bad{rank}'} {rank} {10 - rank} x\n"
                 for n, own in enumerate(ranks) for rank in range(1, 6)]
        (tmp_path / f"{name}.txt").write_text("".join(lines))
    return tmp_path


def values(name: str) -> list[float]:
    return [1 / rank if rank else 0.0 for rank in RANKS[name]]


def call(cli: Cli, folder: Path, *options: object) -> Result:
    named = [part for name in RANKS for part in ("--run", f"{name}={folder / name}.txt")]
    return cli("compare", "--qrels", folder / "qrels.txt", *named, "--measures", "RR@10", *options)


def test_json_holds_every_statistic(runs: Path, cli: Cli) -> None:
    made = json.loads(call(cli, runs, "--format", "json", "--moved", 2, "--topics",
                           runs / "topics.tsv").out)
    first, second = made["comparisons"]
    wanted = stats.ttest_rel(values("splade"), values("bm25"))
    assert (first["baseline"], first["system"]) == ("bm25", "splade")
    assert first["mean"] == pytest.approx((0.5 + 0.5 + 0.75 - 0.5) / 6, abs=1e-12)
    assert first["t_test"] == pytest.approx(wanted.pvalue, abs=1e-9)
    assert first["bonferroni"]["t_test"] == pytest.approx(min(1, 2 * wanted.pvalue), abs=1e-9)
    assert (first["wins"], first["ties"], first["losses"]) == (3, 2, 1)
    assert [own["query"] for own in first["moved"]] == ["q3", "q1", "q4"]
    assert first["moved"][0] == {"query": "q3", "text": "question 3", "before": 0.25, "after": 1.0}
    # moved by .5 .5 -.5 .75: of 2^4 assignments |sum| >= 1.25 for 2 with all alike and 6 with one .5
    # against the others
    assert first["randomisation"] == 8 / 16
    assert (second["mean"], second["t_test"], second["holm"]["randomisation"]) == (0, 1, 1)
    assert made["means"][0]["systems"]["splade"] == pytest.approx(4.5 / 6)


def test_text_markdown_and_latex_say_the_same(runs: Path, cli: Cli) -> None:
    text = call(cli, runs, "--moved", 1).out
    assert "splade  0.7500     bm25     +0.2083" in text
    assert "3/2/1" in text
    markdown = call(cli, runs, "--format", "markdown").out.splitlines()
    assert len({line.count("|") for line in markdown[:5]}) == 1
    latex = call(cli, runs, "--format", "latex").out
    assert latex.count(r"\\") == 4
    assert r"95\% interval" in latex
    assert "\\toprule" in latex


#: What Markdown and LaTeX would take for something of theirs, and how each writes it as text.
HARD = "a|b *c* _d_ `e` <b> &lt; $x$ 5% #1 {f} [g](h) \\i ~j ^k"
IN_MARKDOWN = r"a\|b \*c\* \_d\_ \`e\` \<b> \&lt; \$x\$ 5% \#1 {f} [g\](h) \\i \~j ^k"
IN_LATEX = (r"a$|$b *c* \_d\_ `e` $<$b$>$ \&lt; \$x\$ 5\% \#1 \{f\} [g](h) \textbackslash{}i "
            r"\textasciitilde{}j \textasciicircum{}k")


def test_markdown_and_latex_list_the_queries_that_moved(runs: Path, cli: Cli) -> None:
    """q3 gained .75 and q4 lost .5; doc's values are bm25's, so no query of it moved."""
    topics = runs / "topics.jsonl"
    topics.write_text("".join(json.dumps({"id": f"q{n}", "text": text}) + "\n" for n, text in
                              enumerate(["a", "b", "c", f"  {HARD}\n", "x" * 61, "f"])))
    asked = ("--moved", 1, "--topics", topics, "--format")
    markdown = call(cli, runs, *asked, "markdown").out
    assert markdown.endswith(
        "\n\n| qrels, RR@10 |  | bm25 | splade | difference |\n|---|---|--:|--:|--:|\n"
        f"| q3 | {IN_MARKDOWN} | 0.2500 | 1.0000 | +0.7500 |\n"
        f"| q4 | {'x' * 59}… | 1.0000 | 0.5000 | -0.5000 |\n")
    latex = call(cli, runs, *asked, "latex").out
    assert latex.endswith(
        "\n\n\\begin{tabular}{llrrr}\n\\toprule\n"
        "qrels, RR@10 &  & bm25 & splade & difference \\\\\n\\midrule\n"
        f"q3 & {IN_LATEX} & 0.2500 & 1.0000 & +0.7500 \\\\\n"
        f"q4 & {'x' * 59}… & 1.0000 & 0.5000 & -0.5000 \\\\\n\\bottomrule\n\\end{{tabular}}\n")
    assert latex.count("begin{tabular}") == 2


def test_pairs_and_corrections_cover_all_of_a_call(runs: Path, cli: Cli) -> None:
    made = json.loads(call(cli, runs, "--pairs", "--format", "json").out)
    assert [(own["baseline"], own["system"]) for own in made["comparisons"]] == [
        ("bm25", "splade"), ("bm25", "doc"), ("splade", "doc")]
    raw = [own["t_test"] for own in made["comparisons"]]
    assert [own["bonferroni"]["t_test"] for own in made["comparisons"]] == pytest.approx(
        [min(1, 3 * p) for p in raw])


@pytest.fixture
def table(runs: Path) -> Path:
    # the second set leaves a query out, the third has no run of splade
    (runs / "fewer.txt").write_text("".join(f"q{n} 0 good 1\n" for n in range(5)))
    (runs / "runs.tsv").write_text(
        "set\tgroup\tqrels\tbm25\tsplade\n"
        "one\tbig\tqrels.txt\tbm25.txt\tsplade.txt\n"
        "two\tbig\tfewer.txt\tbm25.txt\tsplade.txt\n"
        "three\tsmall\tqrels.txt\tbm25.txt\t\n")
    return runs / "runs.tsv"


def test_a_table_of_sets_has_means_of_groups_a_summary_and_a_forest(table: Path, cli: Cli,
                                                                    tmp_path: Path) -> None:
    from spladev3_anserini.analysis.meta_analysis import effect_of, random_effects

    drawn = tmp_path / "forest.svg"
    done = cli("compare", "--table", table, "--measures", "RR@10", "--forest", drawn, "--clamped")
    assert done.code == 0, done
    b, s = values("bm25"), values("splade")
    big = (sum(s) / 6 + sum(s[:5]) / 5) / 2
    assert any(line.split() == ["big", f"{(sum(b) / 6 + sum(b[:5]) / 5) / 2:.4f}", f"{big:.4f}"]
               for line in done.out.splitlines())
    both = [effect_of([y - x for x, y in zip(b[:n], s[:n], strict=True)], str(n)) for n in (6, 5)]
    wanted = random_effects(both, clamped=True)
    assert f"splade against bm25, RR@10 over 2 query sets: {wanted.mean:+.4f} [" in done.out
    picture = drawn.read_text()
    assert picture.startswith("<?xml")
    again = tmp_path / "again.svg"
    assert cli("compare", "--table", table, "--measures", "RR@10", "--forest", again,
               "--clamped").code == 0
    assert again.read_bytes() == drawn.read_bytes()


def test_markdown_and_latex_have_the_means_of_groups(table: Path, cli: Cli) -> None:
    text = table.read_text().replace("one\tbig", "[1]\tbig").replace("\tbig\t", "\t*big*\t")
    table.write_text(text.replace("splade\n", "v_3\n", 1))
    asked = ("compare", "--table", table, "--measures", "RR@10", "--clamped", "--format")
    b, s = values("bm25"), values("splade")
    means = [f"{(sum(x) / 6 + sum(x[:5]) / 5) / 2:.4f}" for x in (b, s)]
    everywhere = f"{(2 * sum(b) / 6 + sum(b[:5]) / 5) / 3:.4f}"
    markdown = cli(*asked, "markdown").out
    assert ("\n\n| mean RR@10 | bm25 | v\\_3 |\n|---|--:|--:|\n"
            f"| \\*big\\* | {' | '.join(means)} |\n| all sets | {everywhere} | - |\n"
            "\nv\\_3 against bm25, RR@10 over 2 query sets: ") in markdown
    latex = cli(*asked, "latex").out
    assert ("\n\n\\begin{tabular}{lrr}\n\\toprule\nmean RR@10 & bm25 & v\\_3 \\\\\n\\midrule\n"
            f"{{}}*big* & {' & '.join(means)} \\\\\nall sets & {everywhere} & - \\\\\n"
            "\\bottomrule\n\\end{tabular}\n") in latex
    assert "\n{}[1] & RR@10 & bm25 & " in latex
    assert "\n% v_3 against bm25, RR@10 over 2 query sets: " in latex


def test_the_first_system_of_a_table_is_the_baseline(runs: Path, cli: Cli) -> None:
    """Also where the first set has no run of it."""
    (runs / "runs.tsv").write_text(
        "set\tgroup\tqrels\tbm25\tsplade\n"
        "one\t\tqrels.txt\t\tsplade.txt\n"
        "two\t\tqrels.txt\tbm25.txt\tsplade.txt\n")
    made = json.loads(cli("compare", "--table", runs / "runs.tsv", "--measures", "RR@10",
                          "--format", "json").out)
    own, = made["comparisons"]
    assert (own["baseline"], own["system"]) == ("bm25", "splade")


def test_recipes_are_run_and_then_compared(tmp_path: Path, cli: Cli,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    (tmp_path / "topics.tsv").write_text("q1\tthe cat on the mat\nq2\theat and air flow\n")
    (tmp_path / "qrels.txt").write_text("q1 0 d1 1\nq2 0 d10 1\n")
    (tmp_path / "texts.yaml").write_text(json.dumps({
        "title": "texts", "corpus": "corpus.jsonl", "query_sets": {"all": {
            "topics": "topics.tsv", "qrels": "qrels.txt", "measures": ["RR@10"]}}}))
    (tmp_path / "short.yaml").write_text(json.dumps({
        "title": "no length", "licence": "none", "baseline": {"kind": "bm25", "k1": 0.9, "b": 0.0}}))
    done = cli("compare", "--recipe", "bm25", "--recipe", "short.yaml", "--on", "texts.yaml",
               "--measures", "RR@10", "--format", "json")
    assert done.code == 0, done
    made = json.loads(done.out)
    assert made["comparisons"][0]["system"] == "short"
    for name in ("bm25", "short"):
        evaluated = json.loads(cli(
            "evaluate", "--qrels", "qrels.txt", "--run", f"reproduced/{name}/texts/run.all.txt",
            "--measures", "RR@10", "--format", "json").out)
        own, = evaluated.values()
        assert made["means"][0]["systems"][name] == pytest.approx(own["measures"]["RR@10"])


@pytest.mark.parametrize(("change", "says"), [
    (lambda d: (d / "bm25.txt").write_text("other Q0 good 1 1 x\n"), "no query in common"),
    (lambda d: (d / "bm25.txt").write_text("q1 Q0 good 1 x\n"), "bm25.txt:1"),
    (lambda d: (d / "bm25.txt").write_text("q1 Q0 good 1 2 x\nq1 Q0 good 2 1 x\n"), "bm25.txt:2"),
    (lambda d: (d / "bm25.txt").unlink(), "bm25.txt"),
    (lambda d: [(d / "bm25.txt").write_text("q1 Q0 good 1 1 x\n"),
                (d / "splade.txt").write_text("q2 Q0 good 1 1 x\n")],
     "splade.txt: has no judged query in common with "),
    (lambda d: (d / "qrels.txt").write_text(""), "qrels.txt")])
def test_bad_runs_and_qrels_are_one_line(change: Callable[[Path], object], says: str, runs: Path,
                                         cli: Cli) -> None:
    change(runs)
    done = call(cli, runs)
    assert (done.code, says in done.err) == (2, True), done


@pytest.mark.parametrize(("options", "says"), [
    (("--qrels", "qrels.txt", "--run", "bm25.txt"), "two or more --run"),
    (("--qrels", "qrels.txt", "--run", "bm25.txt", "--run", "bm25.txt"), "given twice"),
    (("--qrels", "qrels.txt", "--run", "a=bm25.txt", "--run", "b=doc.txt", "--baseline", "c"),
     "--baseline c"),
    (("--table", "runs.tsv", "--qrels", "qrels.txt"), "leave out --qrels"),
    (("--recipe", "bm25", "--recipe", "demo"), "--on"),
    (("--recipe", "bm25", "--recipe", "bm26", "--on", "cranfield"), "no recipe 'bm26'"),
    (("--recipe", "bm25", "--recipe", "bm25", "--on", "cranfield"), "given twice"),
    (("--recipe", "bm25", "--recipe", "own/bm25.yaml", "--on", "cranfield"), "given twice"),
    (("--recipe", "bm25", "--recipe", "demo", "--on", "demo", "--baseline", "x"), "--baseline x"),
    (("--qrels", "qrels.txt", "--run", "a=bm25.txt", "--run", "b=doc.txt", "--on", "demo"),
     "neither --qrels"),
    (("--table", "runs.tsv", "--confidence", "nan"), "nan is not between 0 and 1"),
    (("--table", "runs.tsv", "--alpha", "nan"), "nan is not between 0 and 1"),
    (("--table", "runs.tsv", "--forest", "f.svg", "--topics", "none.tsv"), "none.tsv"),
    (("--table", "empty.tsv"), "empty.tsv:2: expected 5 columns with set, qrels and a run"),
    (("--table", "latin.tsv"), "latin.tsv:2"),
    (("--table", "runs.tsv", "--forest", "a.pdf"), "ending in .svg or .png"),
    (("--table", "topics.tsv"), "topics.tsv:1: expected the columns"),
    (("--table", "runs.tsv", "--measures", "RR@10 AP", "--forest", "f.svg"), "one measure")])
def test_bad_usage_is_one_line(options: tuple[str, ...], says: str, table: Path, cli: Cli,
                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(table.parent)
    header = "set\tgroup\tqrels\tbm25\tsplade\n"
    (table.parent / "empty.tsv").write_text(f"{header}one\t\tqrels.txt\t\t\n")
    (table.parent / "latin.tsv").write_bytes(f"{header}caf\xe9\t\tq\ta\tb\n".encode("latin-1"))
    done = cli("compare", *options)
    assert (done.code, says in done.err) == (2, True), done
    assert not (table.parent / "f.svg").exists()


def test_the_table_is_there_where_the_plot_is_refused(table: Path, cli: Cli, tmp_path: Path) -> None:
    """A negative variance between two sets that are alike leaves neither a weight."""
    text = table.read_text().replace("fewer.txt", "qrels.txt")
    table.write_text(text)
    plain = cli("compare", "--table", table, "--measures", "RR@10")
    for picture, says in ((tmp_path / "f.svg", "clamp it at 0"),
                          (tmp_path / "none" / "f.svg", "there is no folder")):
        clamped = ["--clamped"] if "none" in str(picture) else []
        done = cli("compare", "--table", table, "--measures", "RR@10", *clamped, "--forest", picture)
        assert done.code == 2
        assert says in done.err.splitlines()[-1]
        assert done.out.splitlines()[:4] == plain.out.splitlines()[:4] != []
    assert not (tmp_path / "f.svg").exists()


def test_table_and_plot_show_one_interval_and_say_which(table: Path, cli: Cli,
                                                       tmp_path: Path) -> None:
    """Student's t of 6 and of 5 differences, by scipy; normal ones would be a third narrower."""
    picture = tmp_path / "f.svg"
    done = cli("compare", "--table", table, "--measures", "RR@10", "--clamped", "--forest", picture)
    assert done.code == 0, done
    drawn = unescape("\n".join(re.findall(r"<!-- (.*?) -->", picture.read_text("utf-8"))))
    assert "difference [95% t interval]" in drawn
    assert "Intervals are Student's t, not corrected" in done.out
    for n in (6, 5):
        moved = [y - x for x, y in zip(values("bm25")[:n], values("splade")[:n], strict=True)]
        low, high = stats.ttest_1samp(moved, 0).confidence_interval(0.95)
        assert f"[{low:+.4f}, {high:+.4f}]" in done.out
        assert f"[{low:+.2f}, {high:+.2f}]".replace("-", "−") in drawn


def test_a_group_called_as_the_mean_of_all_is_refused(table: Path, refused: Callable[..., str]) -> None:
    table.write_text(table.read_text().replace("\tsmall\t", "\t All  Sets \t"))
    line = refused("compare", "--table", table, "--measures", "RR@10")
    assert f"{table}:4: the group 'All Sets' has the name of the mean over all sets" in line


@pytest.mark.parametrize("runs_given", [["a=bm25.txt", " a =doc.txt"], ["a  b=bm25.txt", "a b=doc.txt"]])
def test_names_that_look_alike_are_one(runs_given: list[str], runs: Path,
                                       refused: Callable[..., str],
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    options = [part for own in runs_given for part in ("--run", own)]
    assert "is given twice" in refused("compare", "--qrels", "qrels.txt", *options)


def test_a_name_may_be_long_or_have_an_equals_sign_after_it(runs: Path, cli: Cli,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    (runs / "x=y.txt").write_text((runs / "doc.txt").read_text())
    done = cli("compare", "--qrels", "qrels.txt", "--run", f"{'n' * 5000}=bm25.txt", "--run",
               "b=x=y.txt", "--run", "x=y.txt", "--measures", "RR@10", "--format", "json")
    assert done.code == 0, done
    assert list(json.loads(done.out)["means"][0]["systems"]) == ["n" * 5000, "b", "x=y.txt"]


@pytest.mark.parametrize(("text", "shown"), [
    ("https://x.org www.x.org a@x.org", r"https\://x.org www\.x.org a\@x.org"), ("nDCG@10 at 3.5", "nDCG@10 at 3.5"),
    ("a\x1b[1m\u202e", r"a\\x1b[1m\\u202e"), ("[x](y)", r"[x\](y)")])
def test_markdown_of_text_is_text(text: str, shown: str) -> None:
    assert markdown(text) == shown


@pytest.mark.parametrize(("text", "shown"), [("- a", r"\- a"), ("1. a", r"1\. a"), ("> a", r"\> a"),
                                             ("10) a", r"10\) a"), ("a - b", "a - b")])
def test_a_paragraph_is_no_list(text: str, shown: str) -> None:
    assert markdown_paragraph(text) == shown
