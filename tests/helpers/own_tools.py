"""A desk with a model and tools that answer at once: a compiler and a runtime of one's own, as shell scripts.

All else is real: plans, the store, workers and environments.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from command_line import DATA, Ran, matrix

COMPILER = """#!/bin/sh
case "$*" in
*--version*) echo "own tools" ;;
*--old-syntax*) echo "module.mlir:1:1: error: old syntax"; exit 1 ;;
*--no-lowering*) echo "module.mlir:2:2: error: failed to legalize operation 'torch.aten.odd'"; exit 1 ;;
*) cp "$1" "$3" ;;
esac
"""
RUNTIME = """#!/bin/sh
case "$*" in
*--version*|*--help*) echo "own tools" ;;
*) cp input_0.npy output_0.npy ;;
esac
"""
SPEC = """
format = 1
name = "mine"
question = "Since which level does it work?"
[axes]
model = "held"
compiler = "own"
runtime = "own"
[models.held]
mlir = "m/held.mlir"
inputs = "x.npy"
expected = "x.npy"
[toolchains.own]
path = "kit"
[axis.stack.usual]
[axis.stack.large]
compile = ["--stack=large"]
"""
FAILS = {"a": "--old-syntax", "b": "--no-lowering"}
"""How the compiler fails, by a mark of `levels`."""


def make_desk(folder: Path, levels: str) -> Path:
    """A folder with `mine.toml`, whose axis `level` has a value for each mark of `levels`: + passes, a and b fail."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "m").mkdir()
    (folder / "m" / "held.mlir").write_text("module { func.func @main() { return } }")
    shutil.copy(DATA / "linear_input.npy", folder / "x.npy")
    (folder / "kit").mkdir()
    for name, text in (("iree-compile", COMPILER), ("iree-run-module", RUNTIME)):
        (folder / "kit" / name).write_text(text)
        (folder / "kit" / name).chmod(0o755)
    (folder / "mine.toml").write_text(SPEC + "".join(level(number, mark) for number, mark in enumerate(levels, 1)))
    return folder


def level(number: int, mark: str) -> str:
    return f'[axis.level.{number}]\ncompile = ["{FAILS.get(mark, f"--level={number}")}"]\n'


def at_desk(desk: Path, *words: object) -> Ran:
    return matrix(*words, "--store", desk / "store", cwd=desk)
