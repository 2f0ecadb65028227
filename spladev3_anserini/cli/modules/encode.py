"""The command encode as `python -m spladev3_anserini.encode`."""

from spladev3_anserini.cli.app import run
from spladev3_anserini.cli.encode import main

if __name__ == "__main__":
    run(main)
