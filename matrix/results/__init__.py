"""Judging of outcomes, the record of a run and its JSON, and its tables in six formats.

Imports `plan`, `artifacts` and `core`.
"""
