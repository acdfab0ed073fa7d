"""Readers of what tools leave: .vmfb, .mlir, .onnx, ELF, benchmark JSON. Files may be hostile; no process is started.

Imports `core`.
"""
