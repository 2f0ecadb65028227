"""The command index as `python -m spladev3_anserini.index`."""

from spladev3_anserini.cli.app import run
from spladev3_anserini.cli.index import main

if __name__ == "__main__":
    run(main)
