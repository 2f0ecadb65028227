"""The command mine as `python -m spladev3_anserini.mine`."""

from spladev3_anserini.cli.app import run
from spladev3_anserini.cli.mine import main

if __name__ == "__main__":
    run(main)
