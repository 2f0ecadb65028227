"""The only room that knows Java: Anserini's classes, reached through pyjnius and a JVM.

Nothing here imports the Python package pyserini: it is where the Anserini jar comes from, and its
classes are called directly, which answers in about a second instead of eight.
"""
