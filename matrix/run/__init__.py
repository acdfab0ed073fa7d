"""From a question to a plan on this machine, and the plan carried out: the runner, the store, and the evidence kept.

For `cli`. Imports any room below it.
"""
