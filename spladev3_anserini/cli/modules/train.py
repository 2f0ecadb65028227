"""The command train as `python -m spladev3_anserini.train`."""

from spladev3_anserini.cli.app import run
from spladev3_anserini.cli.train import main

if __name__ == "__main__":
    run(main)
