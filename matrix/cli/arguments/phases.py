"""The options of the verb `phases`."""

from __future__ import annotations

import argparse
from pathlib import Path

from matrix.cli.options import add_choice, add_engine

PHASES_PRESET, PASSES_PRESET = "phases", "passes"


def add_phases(command: argparse.ArgumentParser) -> None:
    command.add_argument("models", metavar="MODEL", help="a shipped model, or a .py, .mlir or .onnx")
    command.set_defaults(preset=PHASES_PRESET)
    command.add_argument(
        "--passes",
        action="store_const",
        dest="preset",
        const=PASSES_PRESET,
        help="also the passes that take longest, or changed most, measured on one thread",
    )
    add_engine(command)
    add_choice(command, model=False)
    command.add_argument(
        "--format", choices=("text", "markdown", "csv", "json"), default="text", help="default: %(default)s"
    )
    command.add_argument("--output", type=Path, metavar="FILE", help="write there instead of to stdout")
