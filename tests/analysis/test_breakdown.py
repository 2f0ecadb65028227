"""Features counted by hand, groups by hand, intervals by statsmodels, rho and p by their formulas."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TEXTS, Result, make_tiny, write_corpus, write_lines
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from spladev3_anserini.analysis.breakdown import breakdown, correlation
from spladev3_anserini.analysis.significance import mean_difference

Cli = Callable[..., Result]
TOPICS = {"q1": "cat on a mat", "q2": "shock wave theory", "q3": "heat", "q4": "the the dogs",
          "q5": "", "q6": "boundary layer of a wing , not judged"}
#: tiny's wordpieces; dogs is dog ##s
PIECES = {"q1": ["cat", "on", "a", "mat"], "q2": ["shock", "wave", "theory"], "q3": ["heat"],
          "q4": ["the", "dog", "##s"]}


@pytest.fixture(scope="module")
def prepared(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index, encoded queries of the same model that expand, topics, qrels and three runs."""
    from spladev3_anserini.cli.commands import commands

    folder = tmp_path_factory.mktemp("breakdown")
    write_corpus(folder / "corpus.jsonl", TEXTS)
    (folder / "topics.tsv").write_text("".join(f"{i}\t{t}\n" for i, t in TOPICS.items()))
    encode = ["encode", "--model", tiny, "--max-length", 64]
    for words in (
            [*encode, "--variant", "splade-v3-doc", "--corpus", folder / "corpus.jsonl", "--top-k",
             12, "--output", folder / "encoded"],
            ["index", "--encoded", folder / "encoded", "--index", folder / "index"],
            [*encode, "--variant", "splade-v3", "--topics",
             folder / "topics.tsv", "--output", folder / "queries"],
            [*encode, "--variant", "splade-v3-lexical", "--topics",
             folder / "topics.tsv", "--output", folder / "lexical"]):
        commands.main([str(word) for word in words], standalone_mode=False)
    write_lines(folder / "qrels.txt", [f"q{n} 0 d 1" for n in range(1, 6)])
    # RR@10 of a document at rank r is 1 / r
    for name, ranks in {"doc": [2, 1, 4, 0, 1], "v3": [1, 1, 1, 2, 1], "lex": [2, 2, 2, 0, 1]}.items():
        write_lines(folder / f"{name}.run", [
            f"q{number} Q0 {'d' if at == rank else f'x{at}'} {at} {20 - at} t"
            for number, rank in enumerate(ranks, 1) for at in range(1, 6)])
    return folder


def asked(cli: Cli, folder: Path, *more: object) -> dict[str, Any]:
    result = cli("breakdown", *words(folder), "--format", "json", *more)
    assert result.code == 0, result
    found: dict[str, Any] = json.loads(result.out)
    return found


def words(folder: Path) -> list[object]:
    return ["--qrels", folder / "qrels.txt", "--topics", folder / "topics.tsv",
            "--run", f"doc={folder / 'doc.run'}", "--run", f"lex={folder / 'lex.run'}",
            "--run", f"v3={folder / 'v3.run'}", "--index", folder / "index",
            "--queries", folder / "queries", "--measures", "RR@10", "--max-length", 64]


def lines(folder: Path) -> dict[str, dict[str, int]]:
    found = [json.loads(line) for shard in sorted((folder / "impacts").iterdir())
             for line in shard.read_text("utf-8").splitlines()]
    return {line["id"]: line["vector"] for line in found}


def test_features_and_values_by_hand(prepared: Path, cli: Cli) -> None:
    found = asked(cli, prepared, "--edges", "length=1,3")
    own, = found["sets"]
    assert own["queries"] == 5
    assert own["means"] == pytest.approx({"doc": (.5 + 1 + .25 + 0 + 1) / 5,
                                          "v3": (1 + 1 + 1 + .5 + 1) / 5,
                                          "lex": (.5 + .5 + .5 + 0 + 1) / 5})
    assert own["differences"]["v3"]["mean"] == pytest.approx((-.5 - .75 - .5) / 5)
    assert (own["differences"]["v3"]["wins"], own["differences"]["v3"]["losses"]) == (0, 3)
    assert (own["differences"]["lex"]["wins"], own["differences"]["lex"]["losses"]) == (1, 1)

    length, rarity, expansion = own["features"]
    assert [(g["lowest"], g["highest"], g["queries"]) for g in length["groups"]] == [
        (0, 1, 2), (3, 3, 2), (4, 4, 1)]
    assert length["groups"][1]["means"] == pytest.approx({"doc": .5, "lex": .25, "v3": .75})
    assert length["groups"][2]["differences"]["v3"] == {"mean": -.5, "low": None, "high": None,
                                                        "wins": 0, "losses": 1}
    documents = [v for v in lines(prepared / "encoded").values() if v]
    count = {t: sum(t in v for v in documents) for pieces in PIECES.values() for t in pieces}
    idf = {t: math.log(1 + (len(documents) - n + .5) / (n + .5)) for t, n in count.items()}
    rare = {q: sum(idf[t] for t in pieces) / len(pieces) for q, pieces in PIECES.items()}
    queries = lines(prepared / "queries")
    share = {q: sum(w for t, w in queries[q].items() if t not in pieces) / sum(queries[q].values())
             for q, pieces in PIECES.items()}
    assert own["feature_means"] == pytest.approx({
        "length": (4 + 3 + 1 + 3 + 0) / 5, "rarity": np.mean(list(rare.values())),
        "expansion": np.mean(list(share.values()))})
    for feature, expected in ((rarity, rare), (expansion, share)):
        assert sum(g["queries"] for g in feature["groups"]) == 4
        assert feature["groups"][0]["lowest"] == pytest.approx(min(expected.values()))
        assert feature["groups"][-1]["highest"] == pytest.approx(max(expected.values()))
    assert [loss["query"] for loss in own["losses"]["v3"]] == ["q3", "q1", "q4"]
    assert own["losses"]["v3"][0]["text"] == "heat"
    assert own["losses"]["v3"][0]["features"] == pytest.approx(
        {"length": 1, "rarity": rare["q3"], "expansion": share["q3"]})


def test_the_expander_gives_what_encoded_queries_give(prepared: Path, tiny: Path, tmp_path: Path,
                                                      cli: Cli) -> None:
    import shutil

    expander = tmp_path / "splade-v3"
    shutil.copytree(tiny, expander)
    from_model = words(prepared)
    at = from_model.index("--queries")
    from_model[at:at + 2] = ["--expander", expander]
    result = cli("breakdown", *from_model, "--format", "json")
    assert result.code == 0, result
    assert json.loads(result.out) == asked(cli, prepared)


def test_intervals_are_statsmodels() -> None:
    draw = random.Random(3)
    for count in (2, 5, 40):
        values = [draw.gauss(0.1, 1) for _ in range(count)]
        own = mean_difference(values)
        assert (own.low, own.high) == pytest.approx(DescrStatsW(values).tconfint_mean(0.05))
        assert own.mean == pytest.approx(np.mean(values))
    # 0.3 - 0.2 and 0.2 - 0.1 differ by rounding alone
    for alike in ([0.5, 0.5], [0.5], [0.3 - 0.2, 0.2 - 0.1]):
        assert mean_difference(alike)[:3] == (pytest.approx(alike[0]), None, None)


def test_equal_differences_have_no_interval_as_in_compare(prepared: Path, tmp_path: Path,
                                                        cli: Cli) -> None:
    """Two queries, each .5 better: no spread, so no interval, and nothing that is coloured."""
    write_lines(tmp_path / "qrels.txt", ["q1 0 d 1", "q2 0 d 1"])
    for name, rank in (("a", 1), ("b", 2)):
        write_lines(tmp_path / f"{name}.run", [
            f"q{n} Q0 {'d' if at == rank else 'x'} {at} {9 - at} t" for n in (1, 2) for at in (1, 2)])
    given = ["--qrels", tmp_path / "qrels.txt", "--run", f"a={tmp_path / 'a.run'}", "--run",
             f"b={tmp_path / 'b.run'}"]
    page = tmp_path / "page.html"
    broken = cli("breakdown", *given, "--topics", prepared / "topics.tsv", "--index",
                 prepared / "index", "--measures", "RR@10", "--max-length", 64, "--html", page)
    assert broken.code == 0, broken
    assert "[" not in broken.out
    assert 'class="n "' in page.read_text("utf-8")
    assert not re.search('class="n (gain|lost)"', page.read_text("utf-8"))
    compared, = json.loads(cli("compare", *given, "--measures", "RR@10", "--baseline", "b",
                               "--format", "json").out)["comparisons"]
    assert (compared["mean"], compared["low"], compared["high"]) == (0.5, None, None)


def test_the_results_come_before_the_page(prepared: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("breakdown", *words(prepared), "--html", tmp_path / "none" / "page.html")
    assert (result.code, "all queries: RR@10" in result.out) == (2, True)
    assert "there is no folder" in result.err


def test_spearman_with_ties_is_pearson_of_mean_ranks() -> None:
    draw = random.Random(4)
    feature = [draw.randrange(4) for _ in range(30)]
    values = [draw.randrange(5) / 5 + f / 9 for f in feature]
    rho = np.corrcoef(stats.rankdata(feature), stats.rankdata(np.round(values, 9)))[0, 1]
    t = rho * math.sqrt(28 / (1 - rho ** 2))
    assert correlation(feature, values) == pytest.approx((rho, 2 * stats.t.sf(abs(t), 28)))
    assert correlation([1, 2, 3], [1, 2, 4])[0] == pytest.approx(1)
    assert correlation([1, 2, 3], [1, 2, 4])[1] is None
    assert correlation([1, 1, 1], [1, 2, 4]) == correlation([1, 2, 3], [7, 7, 7]) == (None, None)
    # 0.5 - 0.2 and 0.3 are the same loss
    assert correlation([1, 2, 3, 4], [0.5 - 0.2, 0.3, 0.3, 0.3]) == (None, None)


def test_groups_never_part_queries_of_one_value() -> None:
    """Nine queries of length 2 and one of 7: no tertile can be cut inside the nine."""
    names = [f"q{n}" for n in range(10)]
    values = {"a": dict.fromkeys(names, 0.5), "b": {q: n / 10 for n, q in enumerate(names)}}
    length = {q: 7.0 if q == "q0" else 2.0 for q in names}
    found = breakdown("s", values, {"length": length}, dict.fromkeys(names, "t"), {}, 2)
    assert [(g.lowest, g.queries) for g in found.features[0].groups] == [(2, 9), (7, 1)]
    assert [loss.query for loss in found.losses["b"]] == ["q9", "q8"]


def test_thirds_are_thirds() -> None:
    names = [f"q{n}" for n in range(9)]
    values = {"a": {q: n / 9 for n, q in enumerate(names)}, "b": dict.fromkeys(names, 0.5)}
    feature = {q: float(n * n) for n, q in enumerate(names)}
    groups = breakdown("s", values, {"rarity": feature}, dict.fromkeys(names, "t"), {},
                       1).features[0].groups
    assert [(g.lowest, g.highest, g.queries) for g in groups] == [(0, 4, 3), (9, 25, 3), (36, 64, 3)]
    assert [g.differences["b"].mean for g in groups] == pytest.approx(
        [1 / 9 - .5, 4 / 9 - .5, 7 / 9 - .5])


def test_several_sets_on_one_page(prepared: Path, tmp_path: Path, cli: Cli) -> None:
    """A second set has one judged query, without a wordpiece: no feature but its length."""
    import shutil

    for name in ("one", "two"):
        shutil.copytree(prepared, tmp_path / name)
    write_lines(tmp_path / "two" / "qrels.txt", ["q5 0 d 1"])
    page = tmp_path / "page.html"
    result = cli("breakdown", *words(tmp_path / "{set}"), "--set", "one", "--set", "two", "--html",
                 page)
    assert result.code == 0, result
    assert re.findall(r"^(\w+): RR@10", result.out, re.M) == ["one", "two"]
    html = page.read_text("utf-8")
    for shown in (result.out, html):
        assert not re.search(r"\b(nan|None|inf)\b", re.sub(r"<style>.*?</style>|<svg.*?</svg>", "",
                                                            shown, flags=re.S))
    assert html.count("<svg") == 3 + 1
    assert "nan" not in html
    assert not re.search(r"(src|href)=\"http", html)
    assert "<h2>two</h2>" in html


def test_missing_queries_are_told(prepared: Path, tmp_path: Path, cli: Cli) -> None:
    write_lines(tmp_path / "qrels.txt", ["q1 0 d 1", "q2 0 d 1", "q9 0 d 1"])
    own = words(prepared)
    own[1] = tmp_path / "qrels.txt"
    result = cli("breakdown", *own)
    assert result.code == 0
    assert "1 judged query without a topic in" in result.err
    assert "1 of 3 judged queries without a result" in result.err


def test_what_is_refused(prepared: Path, tiny: Path, tmp_path: Path, cli: Cli,
                         refused: Callable[..., str]) -> None:
    own = words(prepared)
    base = own[:4]
    two = own[4:8]
    assert "two or more" in refused("breakdown", *own[:6])
    assert "--index or --model" in refused("breakdown", *base, *two)
    assert "--edges" in refused("breakdown", *own, "--edges", "length=3,x")
    assert "ascend" in refused("breakdown", *own, "--edges", "length=3,3")
    assert "expected one of" in refused("breakdown", *own, "--edges", "width=3")
    assert "either --expander" in refused("breakdown", *own, "--expander", tiny)
    assert "one measure" in refused("breakdown", *own, "--measures", "RR@10 AP")
    assert "adds no term" in refused("breakdown", *own[:12], "--queries", prepared / "lexical")
    partial = write_lines(tmp_path / "some.jsonl", [{"id": "q1", "vector": {"cat": 1}}])
    # a warning comes first: nothing of a file can be checked
    result = cli("breakdown", *own[:12], "--queries", partial, "--max-length", 64)
    assert result.code == 2
    assert "does not have 4 topics" in result.err.splitlines()[-1]
    unlike = other(tmp_path)
    assert "not that of the index" in refused("breakdown", *own, "--model", unlike)
    assert "other wordpieces" in refused("breakdown", *own[:12], "--expander",
                                         unlike, "--max-length", 64)


def other(folder: Path) -> Path:
    """A model whose vocabulary is another."""
    from conftest import SPECIALS, WORDS, save_tokenizer

    model = make_tiny(folder / "splade-v3")
    save_tokenizer(model, [*SPECIALS, *WORDS[:-1], "eleven"])
    return model
