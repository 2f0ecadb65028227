"""The table of docs/scale.md: what its script prints, figures that are measured, sums by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from runpy import run_path
from statistics import mean
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text("utf-8")
costs = run_path(str(ROOT / "tools" / "scale_costs.py"))


def test_the_page_has_what_the_script_prints() -> None:
    shown = PAGE.partition(costs["BEGIN"])[2].partition(costs["END"])[0]
    assert shown == costs["table"](costs["WORDPIECES"], costs["TERMS"])
    assert shown.count("\n") == 2 + len(costs["rows"](80, 168))


# What an independent sum on paper gave before the script was written, for MS MARCO v1 and v2 and for
# 1 and 10 G passages of web pages: passages, wordpieces, terms; hours on T4, A100, H100, H100 in fp32
@pytest.mark.parametrize(("passages", "wordpieces", "hours"), [
    (138_364_198, 80, (34, 5.2, 2.2, 15)), (10**9, 180, (548, 84, 37, 243)),
    (10**10, 180, (5_475, 842, 365, 2_433))])
def test_gpu_hours_are_those_of_the_sum_on_paper(passages: int, wordpieces: int,
                                                 hours: tuple[float, ...]) -> None:
    found = [costs["gpu_hours"](passages, wordpieces, rate) for rate in costs["GPUS"].values()]
    assert found == pytest.approx(hours, rel=0.03)


def test_a_base_model_has_the_multiply_adds_of_its_weights() -> None:
    """Every matrix of transformers' BERT takes part once for a wordpiece; tables of embeddings do not."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    with torch.device("meta"):
        model = BertForMaskedLM(BertConfig())
    matrices = sum(p.numel() for name, p in model.named_parameters()
                   if p.dim() == 2 and "embeddings" not in name)
    assert costs["MULTIPLY_ADDS"] == matrices + 768 * 30_522  # the output layer is tied to a table


def test_what_is_called_measured_is_in_the_figures_of_the_benchmarks() -> None:
    sets = measured("search")["sets"]
    short = sets["short texts"]
    assert short["postings"] == costs["SEARCH_POSTINGS"]
    for (way, hits), seconds in costs["SEARCH_SECONDS"].items():
        found = short["ways"]["the exact engine" if way == "the engine" else way][str(hits)]
        assert mean(found["milliseconds"]) == pytest.approx(seconds * 1e3, rel=0.01)
    answers = sets["InsuranceQA"]
    assert answers["postings"] == costs["BUILD_POSTINGS"]
    builds = answers["builds"]
    assert builds["engine"]["seconds"] + builds["lucene"]["seconds"] == pytest.approx(
        costs["BUILD_SECONDS"], rel=0.01)
    sizes = measured("indexing")
    ours = sizes["systems"]["ours"]
    assert [size / sizes["postings"] for size in (sizes["shards"], ours["bytes"], ours["arrays"])] \
        == pytest.approx([costs["JSONL"], costs["LUCENE"], costs["ARRAYS"]], abs=0.01)
    text = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    base = text[text.index("### base"):]
    for precision, row in (("fp32", "| ours |"), ("int8", "| ours, int8 |")):
        cells = base[base.index(row):].splitlines()[0].split(" | ")
        assert costs["CPU_WORDPIECES"][precision] == int(cells[2].replace(",", ""))
    assert f"| 2 | 17,589 | {costs['HOST_DOCUMENTS']:,} |" in text
    assert f"texts of {costs['HOST_WORDS']} words" in text


def measured(section: str) -> dict[str, Any]:
    return json.loads((ROOT / f"benchmarks/results/{section}.json").read_text())["measured"]


def test_the_assumptions_of_the_page_are_those_of_the_script() -> None:
    text = PAGE.partition("\n## Assumptions\n")[2]
    numbers = re.sub(r"(?<=\d),(?=\d)", "", text)
    for value in (costs["WORDPIECES"], costs["TERMS"], costs["LINES_A_SECOND"], costs["JSONL"],
                  costs["GZIP"], costs["PARQUET"], costs["LUCENE"], f"{costs['ARRAYS']:.2f}",
                  costs["HOST_DOCUMENTS"], costs["HOST_WORDS"], costs["DOLLARS_AN_H100_HOUR"],
                  *costs["CPU_WORDPIECES"].values(), round(costs["MULTIPLY_ADDS"] / 1e6),
                  *(int(rate / 1e12) for rate in costs["GPUS"].values()),
                  *(f"{seconds * 1e3:g}" for seconds in costs["SEARCH_SECONDS"].values())):
        assert re.search(rf"(?<![\d.]){re.escape(str(value))}(?![\d.]*\d)", numbers), value


def test_cells_by_hand() -> None:
    """1 G passages of 168 terms: 168 G postings, of 12.41 bytes 2.08 TB. A search of 15.8 M postings
    takes 0.578 ms, 0.0365 ns each: 6.13 s for all, so 123 parts of at most 50 ms."""
    table = dict(costs["rows"](80, 168))
    assert table["postings"][3] == "170 G"
    assert table["**storage**: impacts, JSON lines"][3] == "2.1 TB"
    assert table["one exact search by the engine, 10 hits, one core"][3] == "6.1 s"
    assert costs["query_shards"](168e9, "the engine", 10) == 123
    assert [cells[3] for what, cells in table.items() if what == "fewest Lucene indexes"] == ["1"]
    assert table["fewest Lucene indexes"][4] == "5"  # 10 / 2.147
    assert table["one exact search by the engine, 10 hits, one core"][0] == "6.1 ms"
    assert costs["host_hours"](10**9, 80) == pytest.approx(10**9 * 80 / (6083.5 * 71.5) / 3600)
    assert costs["index_hours"](4_041_128) * 3600 == pytest.approx(15.63)
