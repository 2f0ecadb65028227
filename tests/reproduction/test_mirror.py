"""From download to verdict with everything fetched as it is in the world: a model hub, the files of
ir_datasets, Pyserini's index cache; all of them small, and all on this machine."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from conftest import TEXTS, make_tiny
from forked import program
from hub import COMMIT, hub
from layouts import QUERIES, add_modules, irds_beir, pickled, router

from spladev3_anserini.recipe.library import default_folder


@pytest.fixture
def world(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a user whose network is a mirror on this machine."""
    models = tmp_path / "models"
    tiny = make_tiny(models / "tiny", positions=512)
    served = {"naver/splade-v3": pickled(tiny, models / "v3"),
              "naver/splade-v3-distilbert": pickled(
                  make_tiny(models / "distil", "distilbert", positions=512), models / "distil-p"),
              "naver/splade-v3-lexical": add_modules(Path(shutil.copytree(tiny, models / "lex"))),
              "naver/splade-v3-doc": router(tiny, models / "doc")}
    irds_beir(tmp_path / "irds", "scifact", TEXTS)
    _msmarco(tmp_path / "irds" / "msmarco-passage")
    with hub(served, gated=frozenset(served)) as endpoint:
        yield {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {
            "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "a-token",
            "HF_HUB_DISABLE_XET": "1", "IR_DATASETS_HOME": str(tmp_path / "irds"),
            "PYSERINI_CACHE": str(tmp_path / "pyserini"), "OPENAI_API_KEY": "unused",
            "no_proxy": "127.0.0.1"}


def _msmarco(folder: Path) -> None:
    folder.mkdir(parents=True)
    passages = "".join(f"{i}\t{text}\n" for i, text in
                       enumerate(filter(str.strip, TEXTS.values())))
    queries = "".join(f"{i}\t{text}\n" for i, text in QUERIES.items())
    with tarfile.open(folder / "collectionandqueries.tar.gz", "w:gz") as archive:
        for name, content in (("collection.tsv", passages), ("queries.dev.small.tsv", queries),
                              ("qrels.dev.small.tsv", "1\t0\t0\t1\n3\t0\t2\t1\n")):
            data = content.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(world: dict[str, str], tmp_path: Path) -> Run:
    """`reproduce` in a process of its own, in that environment."""
    return lambda *words: subprocess.run(
        [*program(), "reproduce", *map(str, words)], cwd=tmp_path, env=world, capture_output=True,
        text=True, check=False)


@pytest.mark.parametrize("recipe", ["splade-v3", "splade-v3-distilbert", "splade-v3-lexical",
                                    "splade-v3-doc"])
def test_all_four_variants_from_download_to_verdict(recipe: str, run: Run,
                                                    tmp_path: Path) -> None:
    recipes = _pinned(tmp_path)
    done = run("run", recipe, "--on", "beir-scifact", "--recipes", recipes)
    assert done.returncode == 0, done.stderr
    assert "6 documents, the file says 5,183" in done.stdout
    assert "[no reference]" in done.stdout
    assert "[OK]" not in done.stdout
    again = run("run", recipe, "--on", "beir-scifact", "--recipes", recipes)
    assert again.stdout.count("skipped: unchanged") == 7
    report = run("report", "--recipes", recipes)
    assert "0 OK" in report.stdout
    assert f"{recipe} on beir-scifact: not yet measured" in (
        tmp_path / "reproduced/report.md").read_text()
    result = json.loads((tmp_path / "reproduced" / recipe / "beir-scifact/result.json").read_text())
    assert result["documents"] == 6


def test_msmarcos_own_archive(run: Run) -> None:
    done = run("run", "splade-v3-doc", "--on", "msmarco-v1-passage", "--sets",
               "dev")
    assert done.returncode == 0, done.stderr
    assert "6 documents, the file says 8,841,823" in done.stdout
    assert "[OK]" not in done.stdout


def test_a_gated_model_says_what_to_do(world: dict[str, str], run: Run) -> None:
    del world["HF_TOKEN"]
    done = run("run", "splade-v3-doc", "--on", "beir-scifact")
    assert done.returncode == 2
    assert "this model is gated: accept its conditions" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_pyserinis_prebuilt_index(run: Run, tmp_path: Path, demo_model: Path) -> None:
    """An index in Pyserini's cache under its name there; the values are for another one."""
    from spladev3_anserini.lucene.jvm import start_jvm

    # Anserini's special tokens are ids of BERT's vocabulary, which the small model has not
    shutil.rmtree(tmp_path / "models" / "v3")
    pickled(demo_model, tmp_path / "models" / "v3")
    recipes = _pinned(tmp_path)
    run("run", "splade-v3", "--on", "beir-scifact", "--recipes", recipes)
    start_jvm()
    os.environ.setdefault("OPENAI_API_KEY", "unused")
    from pyserini.prebuilt_index_info import IMPACT_INDEX_INFO

    info = IMPACT_INDEX_INFO["beir-v1.0.0-scifact.splade-v3"]
    name = f"{info['filename'].removesuffix('.tar.gz')}.{info['md5']}"
    shutil.copytree(tmp_path / "reproduced/splade-v3/beir-scifact/index",
                    tmp_path / "pyserini/indexes" / name,
                    ignore=shutil.ignore_patterns("spladev3_anserini*.json"))  # theirs has none
    done = run("run", "splade-v3", "--on", "beir-scifact", "--prebuilt",
               "--recipes", recipes)
    assert done.returncode == 0, done.stderr
    assert "encode" not in done.stdout
    assert "6 documents, the file says 5,183" in done.stdout
    settings = json.loads((tmp_path / "reproduced/splade-v3/beir-scifact-prebuilt/result.json")
                          .read_text())["settings"]
    assert (settings["max_length"], settings["quantizer"]) == (512, "x51.2-rint")
    missing = run("run", "splade-v3", "--on", "beir-nfcorpus", "--prebuilt",
                  "--recipes", recipes)
    assert missing.returncode == 2
    assert "beir-v1.0.0-nfcorpus.splade-v3 cannot be downloaded" in missing.stderr


def _pinned(tmp_path: Path) -> Path:
    """The project's recipes, with the revision that this machine's hub serves."""
    folder = tmp_path / "recipes"
    shutil.copytree(default_folder(), folder)
    for path in folder.glob("splade-*.yaml"):
        recipe = yaml.safe_load(path.read_text())
        if "revision" in recipe:
            path.write_text(path.read_text().replace(recipe["revision"], COMMIT))
    return folder
