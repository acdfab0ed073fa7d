"""The conversion of a model file for ExecuTorch: `torch.export`, lowered with its partitioner for XNNPACK, in float32.

Runs like `export.py`, whose reference it takes, in a fork of a worker that has imported torch. Releases before 0.4
lower in two steps. Some write XNNPACK's part with the program `flatc`, which they look for in PATH: the one of their
own wheel is named. Leaves `converted.pte`, `input_N.npy`, `expected_N.npy` and `convert.json`.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import torch
from export import EXPORTING, begin, leave, referenced

CONVERTER, CONVERTED = "executorch.exir", "converted.pte"
PARTITIONERS = "executorch.backends.xnnpack.partition.xnnpack_partitioner"
FLATC, ITS_FLATC = "FLATC_EXECUTABLE", ("data", "bin", "flatc")


def run(arguments: dict[str, Any]) -> None:
    """Converts the model file `arguments["model_file"]`, which `export.py` describes."""
    place = os.getcwd()
    known = referenced(arguments)
    begin(f"{EXPORTING}{CONVERTER}")
    exir = importlib.import_module(CONVERTER)
    find_flatc()
    parts = importlib.import_module(PARTITIONERS).XnnpackPartitioner()
    exported = torch.export.export(known.module.eval(), known.model.tensors, **known.shapes)
    if hasattr(exir, "to_edge_transform_and_lower"):
        edge = exir.to_edge_transform_and_lower(exported, partitioner=[parts])
    else:
        edge = exir.to_edge(exported).to_backend(parts)
    with open(os.path.join(place, CONVERTED), "wb") as file:
        file.write(edge.to_executorch().buffer)
    leave(place, "convert.json", known.record)


def find_flatc() -> None:
    for folder in importlib.import_module("executorch").__path__:
        path = os.path.join(folder, *ITS_FLATC)
        if os.path.isfile(path):
            os.environ.setdefault(FLATC, path)


if __name__ == "__main__":  # by hand, as `python -m matrix why` prints it: SCRIPT MODEL_FILE [NAME=VALUE]...
    run({"model_file": sys.argv[1], **dict(word.split("=", 1) for word in sys.argv[2:])})
