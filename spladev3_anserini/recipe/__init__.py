"""Recipes and collections as data with a schema: models, corpora and the expected values."""
