"""Realises environments and runs jobs in them: the engine contract, the worker protocol, one folder for each engine.

From outside: `contract` (what an engine is), `choice` (makes one by name), `worker` (the protocol). Imports the rooms
below it.
"""
