"""The public API, which `import spladev3_anserini` offers: models, indexes and runs."""
