"""Executes work on this machine: one engine, its environments within a budget of the disk, claims on jobs.

For `run` and `cli`, which need `executor` alone. Imports `run.store`, `run.cost`, and the rooms below `run`.
"""
