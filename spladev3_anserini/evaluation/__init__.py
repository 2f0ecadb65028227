"""A run and judgments -> values."""
