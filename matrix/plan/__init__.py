"""Spec, axes, cells, stages and the graph of jobs. Pure: reads only the files that it is given.

Imports `artifacts` and `core`.
"""
