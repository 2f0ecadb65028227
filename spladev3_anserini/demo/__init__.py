"""A demonstration collection every user already has: the documentation of their own Python."""
