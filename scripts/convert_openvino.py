"""The conversion of a model file for OpenVINO: `openvino.convert_model` as it takes a module of torch, kept in float32.

Runs like `export.py`, whose reference it takes, in a fork of a worker that has imported torch. The converter leaves the
dimensions of all inputs open unless it is told their shapes: those of the inputs, but where the model has
`dynamic_shapes()`. Leaves `converted.xml` and `converted.bin`, `input_N.npy`, `expected_N.npy` and `convert.json`.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from export import EXPORTING, begin, leave, referenced

CONVERTER, CONVERTED = "openvino", "converted.xml"


def run(arguments: dict[str, Any]) -> None:
    """Converts the model file `arguments["model_file"]`, which `export.py` describes."""
    place = os.getcwd()
    known = referenced(arguments)
    begin(f"{EXPORTING}{CONVERTER}")
    converter = importlib.import_module(CONVERTER)
    tensors = known.model.tensors
    fixed = {} if known.shapes else {"input": [converter.PartialShape(list(tensor.shape)) for tensor in tensors]}
    converted = converter.convert_model(known.module.eval(), example_input=tensors, **fixed)
    converter.save_model(converted, os.path.join(place, CONVERTED), compress_to_fp16=False)
    leave(place, "convert.json", known.record)


if __name__ == "__main__":  # by hand, as `python -m matrix why` prints it: SCRIPT MODEL_FILE [NAME=VALUE]...
    run({"model_file": sys.argv[1], **dict(word.split("=", 1) for word in sys.argv[2:])})
