"""The export of a model file as ONNX for IREE's importer, as `convert_onnx.py` does it.

Runs like it. Leaves `model.onnx`, whose graph is named `main`, for the importer names the function after it,
`input_N.npy`, `expected_N.npy` and `convert.json`.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import convert_onnx
import onnx

EXPORTED, FUNCTION = "model.onnx", "main"


def run(arguments: dict[str, Any]) -> None:
    """Exports the model file `arguments["model_file"]`, which `export.py` describes."""
    place = os.getcwd()
    convert_onnx.run(arguments)
    made = onnx.load(os.path.join(place, convert_onnx.CONVERTED))
    made.graph.name = FUNCTION
    onnx.save(made, os.path.join(place, EXPORTED))


if __name__ == "__main__":  # by hand, as `python -m matrix why` prints it: SCRIPT MODEL_FILE [NAME=VALUE]...
    run({"model_file": sys.argv[1], **dict(word.split("=", 1) for word in sys.argv[2:])})
