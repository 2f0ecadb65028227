"""The command evaluate as `python -m spladev3_anserini.evaluate`."""

from spladev3_anserini.cli.app import run
from spladev3_anserini.cli.evaluate import main

if __name__ == "__main__":
    run(main)
