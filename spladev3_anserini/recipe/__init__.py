"""A recipe is data with a schema: models, collections, and the values that must come out."""
