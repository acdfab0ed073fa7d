"""The command line: one module for each group of verbs; `main` is the entry point and the one error boundary.

Imports any room. Only `matrix.__main__` imports it.
"""
