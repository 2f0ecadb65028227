"""Texts to impacts: batches by length, then shards on disk."""
