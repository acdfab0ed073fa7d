"""The conversion of a model file for ONNX Runtime: `torch.onnx.export` as the release of torch does it by itself, or in
the way that `arguments["dynamo"]` ("true", "false") asks for.

Runs like `export.py`, whose reference it takes, in a fork of a worker that has imported torch, onnx and onnxscript.
Leaves `converted.onnx` with the weights in it, `input_N.npy`, `expected_N.npy` and `convert.json`. The file says
nothing of this machine: releases since 2.5 write the stack of every node into its metadata, with the folder of torch.
"""

from __future__ import annotations

import inspect
import os
import sys
from typing import Any

import onnx
import torch
from export import EXPORTING, begin, leave, referenced

CONVERTED = "converted.onnx"


def run(arguments: dict[str, Any]) -> None:
    """Converts the model file `arguments["model_file"]`, which `export.py` describes."""
    place = os.getcwd()
    known = referenced(arguments)
    options = dict(known.shapes)
    if "external_data" in inspect.signature(torch.onnx.export).parameters:
        options["external_data"] = False
    if "dynamo" in arguments:
        options["dynamo"] = arguments["dynamo"] == "true"
    path = os.path.join(place, CONVERTED)
    begin(f"{EXPORTING}torch.onnx")
    torch.onnx.export(known.module, known.model.tensors, path, **options)
    made = onnx.load(path)
    without_metadata(made.graph)
    for function in made.functions:
        del function.metadata_props[:]
        for node in function.node:
            del node.metadata_props[:]
    onnx.save(made, path)
    opsets = {entry.domain or "ai.onnx": entry.version for entry in made.opset_import}
    leave(place, "convert.json", {**known.record, "ir_version": made.ir_version, "opset": opsets})


def without_metadata(graph: onnx.GraphProto) -> None:
    """Removes what the converter notes beside each value and node, in the graphs inside of nodes too."""
    for entry in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        entry.ClearField("doc_string")
        if "metadata_props" in entry.DESCRIPTOR.fields_by_name:
            entry.ClearField("metadata_props")
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.type in (5, 10) else ():
                without_metadata(inner)


if __name__ == "__main__":  # by hand, as `python -m matrix why` prints it: convert_onnx.py MODEL_FILE [NAME=VALUE]...
    run({"model_file": sys.argv[1], **dict(word.split("=", 1) for word in sys.argv[2:])})
