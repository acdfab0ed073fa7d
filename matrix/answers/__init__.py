"""Answers from published runs: causes, predictions, advice, differences, candidates. No job runs for them.

Imports `results` and the rooms below it.
"""
