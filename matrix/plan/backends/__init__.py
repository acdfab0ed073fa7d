"""Backends: families of tools that take a model to numbers, each one record. Other modules read `table`.

A backend's module may import `matrix.core`, `matrix.artifacts` and its own modules.
"""
