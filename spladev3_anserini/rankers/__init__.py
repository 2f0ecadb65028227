"""Rankers to compare with, and teachers: BM25, bi-encoders, pair scorers, re-ranking."""
