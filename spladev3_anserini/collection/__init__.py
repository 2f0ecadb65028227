"""Readers of corpora, topics, qrels and runs; they refuse a bad line by file and line."""
