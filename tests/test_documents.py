"""Every command of the README and the guide runs, as written, against a hub on this machine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import TEXTS, make_tiny, write_corpus
from forked import program
from hub import hub
from layouts import add_modules, irds_beir, pickled, router

from spladev3_anserini.cli.commands import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Small models in the layouts of naver's four; those that are gated ask for a token."""
    folder = tmp_path_factory.mktemp("naver")
    tiny = make_tiny(folder / "tiny", positions=256)
    models = {
        "naver/splade-v3": pickled(tiny, folder / "v3"),
        "naver/splade-v3-distilbert": pickled(
            make_tiny(folder / "distil", "distilbert", positions=256), folder / "distil-pickled"),
        "naver/splade-v3-lexical": add_modules(Path(shutil.copytree(tiny, folder / "lexical"))),
        "naver/splade-v3-doc": router(tiny, folder / "doc"),
    }
    with hub(models, gated=frozenset(models) - {"naver/splade-v3-distilbert"}) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one page's `reproduce run` left. It takes half a minute, so the next page begins there."""
    return tmp_path_factory.mktemp("documents") / "reproduced"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_commands_of_a_page_run(page: Path, address: str, demo_model: Path,
                                    reproduced: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.jsonl", TEXTS)
    (tmp_path / "topics.tsv").write_text("q1\tthe cat on the mat\nq2\theat and air flow\n")
    (tmp_path / "qrels.txt").write_text("q1 0 d1 1\nq2 0 d10 1\n")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {
        "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "after-hf-auth-login",
        "HF_HUB_DISABLE_XET": "1", "IR_DATASETS_HOME": str(tmp_path / "irds"), "OPENAI_API_KEY": "unused",
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    (tmp_path / "bin").mkdir()
    console_script = tmp_path / "bin" / "spladev3-anserini"
    console_script.write_text(f'#!/bin/sh\nexec {shlex.join(program())} "$@"\n')
    console_script.chmod(0o755)
    irds_beir(tmp_path / "irds", "scifact", TEXTS)
    if reproduced.exists():
        shutil.copytree(reproduced, tmp_path / "reproduced")
    lines = [line for block in blocks(page, "bash") for line in block.splitlines() if line]
    for line in lines:
        if line == "hf auth login":  # stands for the token above
            continue
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, text=True,
                              capture_output=True, check=False, timeout=300)
        assert done.returncode == 0, (line, done.stderr)
    for block in blocks(page, "python") if page.name != "python.md" else ():  # tests/api runs it
        # the page asks a query of its own; here the encoded ones are those of topics.tsv
        asked = block.replace("what lifts a wing", "the cat on the mat")
        shown = subprocess.run([*program(), "-c", asked + "\nprint(len(hits))"], cwd=tmp_path,
                               env=environment, text=True, capture_output=True, check=True)
        assert int(shown.stdout.split()[-1]) > 0
    if (tmp_path / "reproduced/demo/demo/result.json").exists() and not reproduced.exists():
        shutil.copytree(tmp_path / "reproduced", reproduced)
    if page.name == "README.md":
        runs = {name: (tmp_path / name / "run.txt").read_text() for name in
                ("v3", "distil", "lexical", "doc")}
        assert all(runs.values())
        assert runs["doc"] != runs["lexical"] != runs["v3"]
        record = json.loads((tmp_path / "doc/index/spladev3_anserini.json").read_text())
        assert record["encoded"]["fingerprint"]["variant"] == "splade-v3-doc"
        assert record["encoded"]["model_name"] == "naver/splade-v3-doc"


def test_every_command_is_in_the_documents_and_every_option_there_exists() -> None:
    from importlib import import_module

    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    for name in COMMANDS:
        assert re.search(rf"spladev3-anserini {name}\b|make {name}\b", text), name
    commands = [import_module(module).main for module in COMMANDS.values()]
    commands += [own for group in commands for own in getattr(group, "commands", {}).values()]
    options = {option for command in commands for parameter in command.params
               for option in (*parameter.opts, *parameter.secondary_opts)}
    foreign = {"--help", "--no-deps", "--ignore-requires-python", "--add-modules",
               "--nproc-per-node", "--full", "--target",
               # those of sbatch, apt-get and tools/scale_costs.py
               "--array", "--constraint", "--cpus-per-task", "--dependency", "--gres",
               "--nodes", "--parsable", "--partition", "--requeue", "--wait",
               "--no-install-recommends", "--wordpieces", "--terms",
               # those of ray
               "--head", "--address",
               # of hf download
               "--repo-type", "--local-dir",
               # of torchrun and SLURM
               "--standalone", "--nnodes", "--rdzv-backend", "--rdzv-endpoint", "--rdzv-id",
               "--ntasks-per-node", "--gpus-per-node"}
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text)) <= options | foreign


def test_nothing_is_left_to_fill_in() -> None:
    for page in PAGES:
        assert not re.search(r"RESULT_|TODO|FIXME|XXX", page.read_text("utf-8")), page


def test_links_between_documents_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), (page.name, target)


@pytest.mark.long
def test_the_demo_runs_from_nothing(tmp_path: Path, demo_model: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "spladev3_anserini", "demo", "--output",
                           str(tmp_path / "demo")], capture_output=True, text=True, check=True)
    assert "difflib.get_close_matches" in done.stdout
    for run in ("splade", "bm25", "fused"):
        assert re.search(rf"run\.{run}\.txt +0\.\d{{4}} +0\.\d{{4}} +0\.\d{{4}}\n", done.stdout)
    assert all(list((tmp_path / "demo" / name).glob("segments_*")) for name in ("index", "bm25"))
    assert "Ask your own question" in done.stdout
