"""The command search as `python -m spladev3_anserini.search`."""

from spladev3_anserini.cli.app import run
from spladev3_anserini.cli.search import main

if __name__ == "__main__":
    run(main)
