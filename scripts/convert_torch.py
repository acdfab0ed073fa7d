"""The conversion of a model file for torch itself: `torch.export`, kept as it is or compiled by inductor.

Runs like `export.py`, whose reference it takes, in a fork of a worker that has imported torch. Without a mode
`converted.pt2` is the exported program, which is run operation by operation; with `arguments["mode"]` "inductor" it is
a package of AOTInductor: code for the CPU that inductor finds, the same as torch.compile's, without Python in it. Its
C++ compiler is the one in `ziglang`'s wheel, a part of the environment; it has no OpenMP, so the code has one thread.
Leaves besides `input_N.npy`, `expected_N.npy` and `convert.json`.
"""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from typing import Any

import torch
from export import EXPORTING, begin, leave, referenced

CONVERTED, RECORD = "converted.pt2", "convert.json"
COMPILER = "zig-c++"
"""Neither gcc nor clang to inductor, by this name: it then uses no option of one of them alone."""
WRAPPER = """#!/bin/sh
for word do
  shift
  case $word in
    -fopenmp | -lgomp | -l:libgomp*) ;;
    *) set -- "$@" "$word" ;;
  esac
done
exec {zig} c++ -I{headers} "$@"
"""
OPENMP = """#pragma once
static inline int omp_get_max_threads(void) { return 1; }
static inline int omp_get_num_threads(void) { return 1; }
static inline int omp_get_thread_num(void) { return 0; }
static inline int omp_in_parallel(void) { return 0; }
"""


def run(arguments: dict[str, Any]) -> None:
    """Converts the model file `arguments["model_file"]`, which `export.py` describes."""
    place = os.getcwd()
    known = referenced(arguments)
    path = os.path.join(place, CONVERTED)
    begin(f"{EXPORTING}torch.export")
    exported = torch.export.export(known.module.eval(), known.model.tensors, **known.shapes)
    if arguments.get("mode") == "inductor":
        begin(f"{EXPORTING}torch._inductor")
        compile_to(path, exported, os.path.join(place, "inductor"))
    else:
        torch.export.save(exported, path)
    leave(place, RECORD, known.record)


def compile_to(path: str, exported: torch.export.ExportedProgram, folder: str) -> None:
    inductor = importlib.import_module("torch._inductor")
    config = importlib.import_module("torch._inductor.config")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(folder, "cache")
    config.cpp.cxx = (compiler(folder),)
    inductor.aoti_compile_and_package(exported, package_path=path, inductor_configs={"cpp.threads": 1})


def compiler(folder: str) -> str:
    """A program that is zig's C++ compiler without OpenMP: inductor asks for that, and for `omp.h`."""
    zig = os.path.join(next(iter(importlib.import_module("ziglang").__path__)), "zig")
    headers, path = os.path.join(folder, "include"), os.path.join(folder, COMPILER)
    os.makedirs(headers)
    with open(os.path.join(headers, "omp.h"), "w", encoding="utf-8") as file:
        file.write(OPENMP)
    with open(path, "w", encoding="utf-8") as file:
        file.write(WRAPPER.format(zig=shlex.quote(zig), headers=shlex.quote(headers)))
    os.chmod(path, 0o755)
    for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"):
        os.environ[name] = os.path.join(folder, "zig")
    return path


if __name__ == "__main__":  # by hand, as `python -m matrix why` prints it: SCRIPT MODEL_FILE [NAME=VALUE]...
    run({"model_file": sys.argv[1], **dict(word.split("=", 1) for word in sys.argv[2:])})
