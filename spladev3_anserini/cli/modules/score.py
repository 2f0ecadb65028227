"""The command score as `python -m spladev3_anserini.score`."""

from spladev3_anserini.cli.app import run
from spladev3_anserini.cli.score import main

if __name__ == "__main__":
    run(main)
