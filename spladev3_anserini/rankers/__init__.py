"""Rankers to compare with and to teach: BM25, dense, pair scorers, reranking."""
