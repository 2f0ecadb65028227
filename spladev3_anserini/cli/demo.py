"""Command: encodes, indexes, searches and evaluates an embedded collection with the commands."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import click

from spladev3_anserini.cli.app import SETTINGS, echo
from spladev3_anserini.cli.types import FOLDER
from spladev3_anserini.errors import InputError

QUESTIONS = (
    "which words in a list look similar to a misspelled one",
    "find the IP address behind a host name",
    "unpack a tar.gz safely into a folder",
)


@click.command("demo", context_settings=SETTINGS)
@click.option("--output", default=Path("demo"), type=FOLDER, help="The folder to write.")
def main(output: Path) -> None:
    """Run every step once, on the documentation of Python.

    The demo encodes, indexes, searches and evaluates. It prints each step as the command that you
    would type. The collection is the documentation of the Python that runs the demo:
    public modules, classes, functions and methods of the standard library. The model is a real
    SPLADE of 4.4 million parameters.

    \b
    Example:
      spladev3-anserini demo
    """
    started = time.monotonic()
    _prepare_folder(output)
    data = files("spladev3_anserini.demo")
    for name in ("topics.tsv", "qrels.txt"):
        (output / name).write_text(data.joinpath(name).read_text("utf-8"), "utf-8")
    corpus, encoded, index = output / "corpus.jsonl", output / "encoded", output / "index"
    topics, splade_run = output / "topics.tsv", output / "run.splade.txt"
    bm25, fused = output / "run.bm25.txt", output / "run.fused.txt"
    echo(f"# the documentation of Python {sys.version.split()[0]} as a collection")
    _run([sys.executable, "-I", "-S", "-E", str(data.joinpath("pydocs.py")), str(corpus)])
    _step("models", "fetch", "demo")
    _step("encode", "--model", "demo", "--corpus", corpus, "--output", encoded,
          "--shard-size", 1000)
    _step("index", "--encoded", encoded, "--index", index, "--optimize")
    _step("search", "--index", index, "--topics", topics, "--output", splade_run)
    _step("bm25", "--corpus", corpus, "--topics", topics, "--output", bm25,
          "--index", output / "bm25")
    _step("fuse", splade_run, bm25, "--output", fused)
    _step("ask", "--index", index, "--corpus", corpus, "--hits", 3, *QUESTIONS)
    _step("evaluate", "--qrels", output / "qrels.txt", "--run", splade_run, "--run", bm25,
          "--run", fused, "--measures", "RR@10 nDCG@10 R@100")
    echo(f"\ndone in {time.monotonic() - started:.0f} s. Ask your own question:\n  "
         f"{_program()} ask --index {index} --corpus {corpus} \"how do I ...\"")


def _prepare_folder(output: Path) -> None:
    """Creates the folder, or removes the results of an earlier demo, perhaps of another Python.

    Raises InputError if the folder has files that no demo wrote.
    """
    marker = output / ".spladev3-demo"
    if output.exists() and not marker.exists() and any(output.iterdir()):
        raise InputError(f"--output {output}: has files in it that no demo wrote; choose another "
                         "folder")
    for name in ("encoded", "index", "bm25"):
        shutil.rmtree(output / name, ignore_errors=True)
    output.mkdir(parents=True, exist_ok=True)
    marker.touch()


def _step(name: str, *arguments: object) -> None:
    words = [name, *map(str, arguments)]
    echo(f"\n$ spladev3-anserini {shlex.join(words)}")
    # -P: otherwise Python would import a file of the user's folder that has a module's name
    _run([sys.executable, "-P", "-m", "spladev3_anserini", *words])


def _run(command: list[str]) -> None:
    if code := subprocess.run(command, check=False).returncode:
        sys.exit(code)


def _program() -> str:
    """Returns the console script as the user can type it: its name or a relative path.

    The path is for a virtual environment in the working folder, which may not be active.
    """
    script = Path(sys.executable).with_name("spladev3-anserini")
    try:
        return str(script.relative_to(Path.cwd()))
    except ValueError:
        return "spladev3-anserini"
