"""Tests a wheel: installs it into an empty environment and runs the main job from there.

    python tools/try_wheel.py dist/spladev3_anserini-0.2.0-py3-none-any.whl

`make dist` calls this script. It uses only the standard library. It needs access to PyPI, 2 GB of
disk until it ends, and a few minutes. Exit 1: the message names what the wheel lacks.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = "spladev3_anserini"
#: The commands that are also modules to run, `python -m spladev3_anserini.NAME`.
MODULES = ("encode", "index", "search", "evaluate", "mine", "score", "train", "reproduce")
TEXTS = {"d1": "A wing lifts an aeroplane.", "d2": "A rocket burns its fuel.", "d3": "Bread rises."}
PYTHON_API = """
import spladev3_anserini as splade
index = splade.open_index("index")
assert index.search("what lifts a wing", hits=1)[0].docid == "d1"
run = index.run("topics.tsv", hits=2)
assert "nDCG@10" in str(splade.compare("qrels.txt", {"file": "run.txt", "index": run}, "nDCG@10"))
"""


def main(wheel: Path) -> None:
    """Installs the wheel with `--target` and uses it from an empty folder."""
    with tempfile.TemporaryDirectory(prefix="try-wheel-") as temporary:
        folder = Path(temporary).resolve()
        site, work = folder / "site", folder / "work"
        work.mkdir()
        print(f"installing {wheel.name} and its dependencies with --target", flush=True)
        run([sys.executable, "-m", "venv", folder / "empty"], folder)
        python = folder / "empty" / "bin" / "python"
        # a copy, because pip records the wheel's path, which must not be one of the checkout
        copy = Path(shutil.copy(wheel, folder))
        run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target",
             site, "-c", CHECKOUT / "constraints.txt", copy], folder)
        check_files(site)
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith(("PYTHON", "SPLADEV3_DATA", "VIRTUAL_ENV"))}
        environment["PYTHONPATH"] = str(site)
        run_main_job([python, "-P"], work, environment)
    print(f"{wheel.name}: installed with --target, the main job ran from it")


def check_files(site: Path) -> None:
    """Exits with a message if the package lacks a file or contains a path of the checkout."""
    package = site / PACKAGE
    for name in ("py.typed", "demo/topics.tsv", "analysis/breakdown.html.j2"):
        if not (package / name).is_file():
            sys.exit(f"the wheel lacks {PACKAGE}/{name}")
    recipes = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "recipes").rglob("*.yaml")}
    if lacking := {name for name in recipes if not (package / name).is_file()}:
        sys.exit(f"the wheel lacks {min(lacking)} and {len(lacking) - 1} other recipes")
    for path in (*package.rglob("*"), *site.glob(f"{PACKAGE}-*/*"), site / "bin/spladev3-anserini"):
        if path.is_file() and str(CHECKOUT).encode() in path.read_bytes():
            sys.exit(f"{path.relative_to(site)} contains a path of the checkout")


def run_main_job(python: list[str | Path], work: Path, environment: dict[str, str]) -> None:
    """Encodes, indexes, searches and evaluates three texts by modules, then runs the demo."""
    (work / "corpus.jsonl").write_text("".join(
        json.dumps({"id": name, "contents": text}) + "\n" for name, text in TEXTS.items()), "utf-8")
    (work / "topics.tsv").write_text("q1\twhat lifts a wing\n", "utf-8")
    (work / "qrels.txt").write_text("q1 0 d1 1\n", "utf-8")
    for name in MODULES:
        run([*python, "-m", f"{PACKAGE}.{name}", "--help"], work, environment)
    for line in ("encode --model demo --corpus corpus.jsonl --output encoded",
                 "index --encoded encoded --index index",
                 "search --index index --topics topics.tsv --output run.txt",
                 "evaluate --qrels qrels.txt --run run.txt --measures RR@10"):
        name, *rest = line.split()
        printed = run([*python, "-m", f"{PACKAGE}.{name}", *rest], work, environment)
    if "1.0000" not in printed:
        sys.exit(f"the relevant document is not ranked first:\n{printed}")
    run([*python, "-c", PYTHON_API], work, environment)
    printed = run([*python, "-m", PACKAGE, "reproduce", "list"], work, environment)
    if missing := {path.stem for path in (CHECKOUT / "recipes").rglob("*.yaml")
                   if path.stem not in printed}:
        sys.exit(f"`reproduce list` does not name {min(missing)}")
    run([*python, "-m", PACKAGE, "demo", "--output", "demo"], work, environment)


def run(command: list[str | Path], folder: Path, environment: dict[str, str] | None = None) -> str:
    """Runs a command and returns its standard output; exits with all its output if it fails."""
    print("+", " ".join(map(str, command)).strip().partition("\n")[0], flush=True)
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True,
                             check=False)
    if process.returncode:
        sys.exit(f"{process.stdout}{process.stderr}\nexit code {process.returncode}")
    return process.stdout


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} WHEEL")
    main(Path(sys.argv[1]).resolve())
