"""IREE built from source, for this machine and for boards: compilers, sources, a repaired linker, C programs, bundles.

For `engines`, `run` and `cli`. Imports `images` and the rooms below it.
"""
