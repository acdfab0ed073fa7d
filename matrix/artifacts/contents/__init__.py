"""What is inside of a module, byte by byte: regions, dispatches, instructions. Files may be hostile.

From outside: `regions`, `instructions` and `cpu_needs`. Imports `core`, and the readers of `.vmfb` and ELF files.
"""
