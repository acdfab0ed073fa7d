"""Backends: families of tools that take a model to numbers, each one record. `table` is what other modules read.

A backend's module may import `matrix.core`, `matrix.artifacts` and what is its own alone.
"""
