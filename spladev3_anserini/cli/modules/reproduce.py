"""The command reproduce as `python -m spladev3_anserini.reproduce`."""

from spladev3_anserini.cli.app import run
from spladev3_anserini.cli.reproduce import main

if __name__ == "__main__":
    run(main)
