"""Environments made real, and jobs run in them: the engine contract, the worker protocol, one folder an engine.

From outside: `contract` (what an engine is), `choice` (making one by name), `worker` (the protocol). Imports the rooms
below it.
"""
