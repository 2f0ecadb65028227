"""python -m spladev3_anserini COMMAND: runs a command, as the console script does."""

from spladev3_anserini.cli.commands import main

if __name__ == "__main__":
    main()
