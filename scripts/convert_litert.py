"""The conversion of a model file for LiteRT: `litert_torch.convert`, of float32 as the model is.

Runs like `export.py`, whose reference it takes, in a fork of a worker that has imported torch. litert_torch is imported
in the fork: its JAX starts threads, and none of those lives on in a fork. Leaves `converted.tflite`, `input_N.npy`,
`expected_N.npy` and `convert.json`.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from export import EXPORTING, begin, leave, referenced

CONVERTER, CONVERTED = "litert_torch", "converted.tflite"


def run(arguments: dict[str, Any]) -> None:
    """Converts the model file `arguments["model_file"]`, which `export.py` describes."""
    place = os.getcwd()
    known = referenced(arguments)
    begin(f"{EXPORTING}{CONVERTER}")
    converter = importlib.import_module(CONVERTER)
    converted = converter.convert(known.module.eval(), known.model.tensors, **known.shapes)
    converted.export(os.path.join(place, CONVERTED))
    leave(place, "convert.json", known.record)


if __name__ == "__main__":  # by hand, as `python -m matrix why` prints it: convert_litert.py MODEL_FILE [NAME=VALUE]...
    run({"model_file": sys.argv[1], **dict(word.split("=", 1) for word in sys.argv[2:])})
