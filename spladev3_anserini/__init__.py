"""SPLADE-v3 for Lucene: text -> term weights -> impact documents -> index -> run -> measures."""

from pathlib import Path

from spladev3_anserini.cli import signals

__version__ = "0.1.0"

# `python -m spladev3_anserini.encode` and seven more: the commands of the main road as modules
__path__.append(str(Path(__file__).parent / "cli" / "modules"))

if signals.started_as_program():
    signals.end_at_once_while_importing()
