"""The command line: one module a group of verbs; `main` is the entry point and the one error boundary.

Imports any room. Nothing imports it but `matrix.__main__`.
"""
