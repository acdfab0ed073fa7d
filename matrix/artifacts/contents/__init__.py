"""What is inside of a module, byte by byte: regions, dispatches, instructions, and what of it a call executed.

Files may be hostile. From outside: `regions`, `instructions`, `cpu_needs`, `executed` and `mlir_lines`. Imports `core`,
and the readers of `.vmfb` and ELF files.
"""
