"""The exact engine: an index's postings as plain arrays, and a search that reads them."""
