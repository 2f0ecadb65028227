"""Whether a training went wrong in one of the known ways."""
