"""From a question to a plan on this machine, and its execution: the runner, the store, and the evidence.

For `cli`. Imports any room below it.
"""
