"""The public API of `import spladev3_anserini`: models, indexes and runs."""
