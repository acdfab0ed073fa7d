"""Devices that modules run on: the machine's own, and tools that check the code for them.

From outside: `own_devices`, `device_checks`. Imports `answers`, `images` and lower rooms.
"""
