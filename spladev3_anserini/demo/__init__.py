"""Collections for demonstrations: the documentation of the running Python, and InsuranceQA."""
