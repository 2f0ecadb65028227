"""SPLADE-v3 for Lucene: text -> term weights -> impact documents -> index -> run -> measures."""

from spladev3_anserini.cli import signals

__version__ = "0.1.0"

if signals.started_as_program():
    signals.end_at_once_while_importing()
