"""Boards over SSH: jobs of a target's runtime run on the board itself, one connection for a run.

From outside: `board`, `environments`, `facts`. Imports `engines.contract`, `engines.worker` and lower rooms.
"""
