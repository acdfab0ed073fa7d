"""What published runs say: causes, predictions, advice, differences, candidates. No job is run for it.

Imports `results` and the rooms below it.
"""
