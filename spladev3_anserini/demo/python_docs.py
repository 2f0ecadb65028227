"""The running Python's documentation -> a corpus, topics and qrels in this toolkit's layouts."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing

#: Files of this package: questions and their judgments.
DEMO_FILES = {name: Path(str(files("spladev3_anserini.demo").joinpath(name)))
            for name in ("topics.tsv", "qrels.txt")}


def write_python_docs(folder: Path) -> None:
    """Writes `corpus.jsonl`, `topics.tsv` and `qrels.txt`. The script that reads the modules runs
    in a Python of its own, which has imported nothing else. Raises InputError where it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, packaged in DEMO_FILES.items():
        with appearing(folder / name) as stream:
            stream.write(packaged.read_text("utf-8"))
    corpus = folder / "corpus.jsonl"  # last: where it is, all is
    script = str(files("spladev3_anserini.demo").joinpath("pydocs.py"))
    done = subprocess.run([sys.executable, "-I", "-S", "-E", script, str(corpus)],
                          capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"its command ended with {done.returncode}"]
        raise InputError(f"{corpus}: cannot be made: {said[-1]}")
