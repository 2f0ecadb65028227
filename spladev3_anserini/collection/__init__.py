"""What comes from outside: readers that yield NamedTuples and refuse bad lines by file and line."""
