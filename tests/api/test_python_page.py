"""docs/python.md and the notebook run as written; what they show is what comes out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import TEXTS, Result, write_corpus
from ir_datasets.formats import GenericDoc, GenericQuery

import spladev3_anserini as splade

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"


class SmallDataSet:
    """What `ir_datasets.load` returns, with one document and one query."""

    def docs_iter(self) -> Iterator[GenericDoc]:
        yield GenericDoc("d1", "a wing lifts the aircraft")

    def queries_iter(self) -> Iterator[GenericQuery]:
        yield GenericQuery("1", "what lifts a wing")

    def qrels_dict(self) -> dict[str, dict[str, int]]:
        return {"1": {"d1": 1}}


def test_the_page_runs_as_written(tmp_path: Path, demo_model: Path, monkeypatch: pytest.MonkeyPatch,
                                  capfd: pytest.CaptureFixture[str], cli: Callable[..., Result]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ir_datasets.load", lambda name: SmallDataSet())
    write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    (tmp_path / "topics.tsv").write_text("q1\tthe cat on the mat\nq2\theat and air flow\n")
    (tmp_path / "qrels.txt").write_text("q1 0 d1 1\nq2 0 d10 1\n")
    (tmp_path / "bm25.txt").write_text("q1 Q0 d1 1 2 t\nq2 Q0 d2 1 2 t\n")
    assert cli("encode", "--model", "demo", "--topics", "topics.tsv", "--output", "queries").code == 0
    text = PAGE.read_text("utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        exec(compile(block, str(PAGE), "exec"), {})
    printed = capfd.readouterr().out
    assert "d1 257687" in printed
    assert "{'cat': 250, 'mat': 120}\nstatic\n" in printed
    assert (tmp_path / "run.txt.gz").exists()
    assert "wins/ties/losses" in printed
    assert "{'nDCG@10': 1.0}" in printed
    model = splade.load("demo")
    shown = re.search(r"weights\(\[\"what lifts a wing\"\]\) +# \[\{(.*?), \.\.\.", text)
    (weights,) = model.weights(["what lifts a wing"])
    assert shown is not None
    assert shown[1] == ", ".join(f'"{t}": {w:.2f}' for t, w in list(weights.items())[:3])
    impacts = re.search(r"side=\"query\"\) +# \[\{(.*?), \.\.\.", text)
    (query,) = model.impacts(["what lifts a wing"], side="query")
    assert impacts is not None
    assert impacts[1] == ", ".join(f'"{t}": {w}' for t, w in list(query.items())[:2])


def test_every_name_of_the_table_is_offered() -> None:
    text = PAGE.read_text("utf-8")
    names = set(re.findall(r"splade\.(\w+)", text))
    assert names <= set(splade.__all__)
    for kind, label in ((splade.Model, "model"), (splade.Index, "index"), (splade.Run, "run")):
        for name in set(re.findall(rf"\b{label}\.(\w+)\(", text)):
            assert hasattr(kind, name), (label, name)


def test_the_notebook_runs_as_written(tmp_path: Path, demo_model: Path) -> None:
    """A kernel of its own; each cell's printed text is what the notebook keeps."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    kept = [texts_of(cell) for cell in notebook.cells if cell.cell_type == "code"]
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3",
                            resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [texts_of(cell) for cell in notebook.cells if cell.cell_type == "code"] == kept
    assert any("Hit(docid=" in text for text in kept)


def texts_of(cell: dict[str, list[dict[str, object]]]) -> str:
    parts: list[str] = []
    for output in cell["outputs"]:
        if output.get("name") == "stderr":  # warnings of libraries that know the machine
            continue
        data = output.get("data", {})
        assert isinstance(data, dict)
        parts.append(str(output.get("text", "") or data.get("text/plain", "")))
    return "".join(parts)
