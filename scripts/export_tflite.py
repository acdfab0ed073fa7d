"""The export of a model file as a .tflite for the import through TOSA: as `convert_litert.py` converts it.

Runs like it. Leaves `model.tflite`, `input_N.npy`, `expected_N.npy` and `convert.json`.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import convert_litert

EXPORTED = "model.tflite"


def run(arguments: dict[str, Any]) -> None:
    """Exports the model file `arguments["model_file"]`, which `export.py` describes."""
    place = os.getcwd()
    convert_litert.run(arguments)
    os.replace(os.path.join(place, convert_litert.CONVERTED), os.path.join(place, EXPORTED))


if __name__ == "__main__":  # by hand, as `python -m matrix why` prints it: SCRIPT MODEL_FILE [NAME=VALUE]...
    run({"model_file": sys.argv[1], **dict(word.split("=", 1) for word in sys.argv[2:])})
