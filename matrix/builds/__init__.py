"""IREE built from source, for this machine and for boards: sources, tool trees, tasks, the repaired linker, the bundle.

For `engines`, `run` and `cli`. Imports `images` and the rooms below it.
"""
