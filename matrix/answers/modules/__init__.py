"""Answers about single modules: where the bytes of two differ, and in what.

From outside: `comparison`. Imports `answers.gates`, and the readers of modules.
"""
