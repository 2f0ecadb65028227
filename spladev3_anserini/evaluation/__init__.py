"""Runs and relevance judgments -> values of measures."""
