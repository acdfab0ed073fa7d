"""Few cells in place of all: covering arrays, the count that checks them, and cells between those that differ. Pure.

Modules here may be imported from outside; they import `matrix.plan` and `matrix.core`.
"""
