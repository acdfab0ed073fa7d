"""The options of the verb `profile`."""

from __future__ import annotations

import argparse
from pathlib import Path

from matrix.cli.arguments.results import add_results
from matrix.cli.options import add_choice, add_engine

PROFILE_PRESET, PEERS_PRESET, TIMED_PRESET = "profile", "profile_peers", "profile_timed"


def add_profile(command: argparse.ArgumentParser) -> None:
    command.add_argument("models", metavar="MODEL", help="a shipped model, or a .py, .mlir, .onnx or .vmfb")
    command.set_defaults(preset=PROFILE_PRESET)
    command.add_argument(
        "--peers",
        dest="preset",
        action="store_const",
        const=PEERS_PRESET,
        help="what each operation takes with ONNX Runtime, OpenVINO and TVM, and where IREE loses most to them",
    )
    command.add_argument(
        "--times",
        dest="preset",
        action="store_const",
        const=TIMED_PRESET,
        help="how long each dispatch takes as well: keep the machine quiet",
    )
    add_engine(command)
    add_choice(command, model=False)
    add_results(command, "then nothing is run")
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    command.add_argument("--output", type=Path, metavar="FILE", help="write there instead of to stdout")
