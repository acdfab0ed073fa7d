"""Facts of a model's file that are needed before a tool reads it: the packages that a Python file asks for, the entry
points of a `.vmfb`, the opset and the graph's name of an `.onnx`. Weights are skipped, not read; a damaged file has no
facts, and the tools say why."""

from __future__ import annotations

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The wire types of protobuf (https://protobuf.dev/programming-guides/encoding)."""

MODEL_GRAPH, MODEL_OPSET, GRAPH_NAME, OPSET_DOMAIN, OPSET_VERSION = 7, 8, 2, 1, 2

GRAPH_WEIGHT, WEIGHT_ELSEWHERE, ENTRY_KEY, ENTRY_VALUE = 5, 13, 1, 2
"""Field numbers of onnx.proto."""
