"""Rankers to compare with; each makes an ordinary run."""
