"""The documentation of the running Python -> a corpus, topics and qrels that the readers take."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from spladev3_anserini.errors import InputError
from spladev3_anserini.files import appearing

#: {file name: path} of questions and judgments in this package. `qrels.txt` grades each document
#: that a system ranks high; `qrels-first.txt` are the first judgments, of fewer documents.
DEMO_FILES = {name: Path(str(files("spladev3_anserini.demo").joinpath(name)))
            for name in ("topics.tsv", "qrels.txt", "qrels-first.txt")}


def write_python_docs(folder: Path) -> None:
    """Writes `corpus.jsonl` and DEMO_FILES into a folder.

    The script that reads the docstrings runs in a separate Python, which has imported nothing
    else.

    Raises:
        InputError: The script fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, packaged in DEMO_FILES.items():
        with appearing(folder / name) as stream:
            stream.write(packaged.read_text("utf-8"))
    corpus = folder / "corpus.jsonl"  # last: if it exists, all files do
    script = str(files("spladev3_anserini.demo").joinpath("pydocs.py"))
    process = subprocess.run([sys.executable, "-I", "-S", "-E", script, str(corpus)],
                             capture_output=True, text=True, errors="replace", check=False)
    if process.returncode:
        errors = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
        raise InputError(f"{corpus}: cannot be written: {errors[-1]}")
