"""Spec, axes, cells, stages and the graph of jobs. Pure: nothing is read, started or asked, save the files it is given.

Imports `artifacts` and `core`.
"""
