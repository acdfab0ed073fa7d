"""The engine `venv`, the default: virtual environments in the store, no daemon.

From outside: `engine`. Imports `engines.contract` and lower rooms.
"""
