"""From a lock to a folder with tools: package index, locks, wheels, interpreters, virtual environments.

Imports `plan` and the rooms below it.
"""
