"""The compilation of a model file by TVM: `torch.export`, its front end for that, its default pipeline, untuned, for
the CPU that it finds.

Runs like `export.py`, whose reference it takes, in a fork of a worker that has imported torch. TVM starts a C++
compiler to link what it made; here the linker in `ziglang`'s wheel does it, a part of the environment, and nothing is
linked in beside. Leaves `converted.so` with the weights in it, `input_N.npy`, `expected_N.npy` and `convert.json`.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from typing import Any

import torch
from export import EXPORTING, begin, leave, referenced

CONVERTER, CONVERTED, RECORD = "tvm.relax", "converted.so", "convert.json"
FRONT_END = f"{CONVERTER}.frontend.torch"
LINKER = ("ld.lld", "-shared")


def run(arguments: dict[str, Any]) -> None:
    """Compiles the model file `arguments["model_file"]`, which `export.py` describes."""
    place = os.getcwd()
    known = referenced(arguments)
    begin(f"{EXPORTING}{CONVERTER}")
    tvm = importlib.import_module("tvm")
    front_end = importlib.import_module(FRONT_END)
    exported = torch.export.export(known.module.eval(), known.model.tensors, **known.shapes)
    built = tvm.compile(front_end.from_exported_program(exported), target=tvm.target.Target.from_device("cpu"))
    objects = os.path.join(place, "objects")
    os.makedirs(objects)
    built.export_library(os.path.join(place, CONVERTED), fcompile=link, workspace_dir=objects)
    leave(place, RECORD, known.record)


def link(path: str, objects: list[str], **_options: object) -> None:
    zig = os.path.join(next(iter(importlib.import_module("ziglang").__path__)), "zig")
    subprocess.run([zig, *LINKER, "-o", path, *objects], check=True)


if __name__ == "__main__":  # by hand, as `python -m matrix why` prints it: SCRIPT MODEL_FILE [NAME=VALUE]...
    run({"model_file": sys.argv[1], **dict(word.split("=", 1) for word in sys.argv[2:])})
