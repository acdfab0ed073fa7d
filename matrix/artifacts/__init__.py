"""Readers of artifacts: .vmfb, .mlir, .onnx, ELF, benchmark JSON. Files may be hostile; no process is started.

Imports `core`.
"""
