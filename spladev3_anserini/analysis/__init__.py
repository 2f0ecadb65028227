"""Runs, encoded texts and trainings -> comparisons, costs, explanations and diagnoses."""
