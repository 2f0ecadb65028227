"""The only room that knows Java: it calls Anserini's classes through pyjnius and a JVM.

The Python package pyserini supplies the Anserini jar, but only `prebuilt` imports it. Direct calls
of the classes answer in about one second instead of eight.
"""
