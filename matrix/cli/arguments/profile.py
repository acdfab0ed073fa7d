"""The options of the verb `profile`."""

from __future__ import annotations

import argparse
from pathlib import Path

from matrix.cli.options import add_choice, add_engine

PROFILE_PRESET = "profile"


def add_profile(command: argparse.ArgumentParser) -> None:
    command.add_argument("models", metavar="MODEL", help="a shipped model, or a .py, .mlir, .onnx or .vmfb")
    command.set_defaults(preset=PROFILE_PRESET)
    add_engine(command)
    add_choice(command, model=False)
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    command.add_argument("--output", type=Path, metavar="FILE", help="write there instead of to stdout")
