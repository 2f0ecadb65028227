"""The commands: options in, a call of the library, a summary out."""
