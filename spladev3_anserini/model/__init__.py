"""The SPLADE model: which variant, which checkpoint, logits to term weights."""
