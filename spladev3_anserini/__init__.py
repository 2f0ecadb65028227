"""SPLADE-v3 for Lucene: text -> term weights -> impact documents -> index -> run -> measures."""

__version__ = "0.1.0"
