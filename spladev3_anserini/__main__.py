"""python -m spladev3_anserini NAME: the console script."""

from spladev3_anserini.cli.commands import main

if __name__ == "__main__":
    main()
