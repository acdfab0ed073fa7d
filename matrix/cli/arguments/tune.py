"""The options of the verb `tune`."""

from __future__ import annotations

import argparse
from pathlib import Path

from matrix.cli.options import add_choice, add_engine
from matrix.core.text import whole_number

TUNE_PRESET = "tune"
USUAL_MINUTES = 30


def add_tune(command: argparse.ArgumentParser) -> None:
    command.add_argument("models", metavar="MODEL", help="a shipped model, or a .py, .mlir or .onnx")
    command.set_defaults(preset=TUNE_PRESET)
    add_engine(command)
    add_choice(command, model=False)
    command.add_argument(
        "--minutes",
        type=whole_number,
        default=USUAL_MINUTES,
        metavar="N",
        help="no job starts after them; the same command goes on; default: %(default)s",
    )
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    command.add_argument("--output", type=Path, metavar="FILE", help="write there instead of to stdout")
