"""The options of the verb `blame`."""

from __future__ import annotations

import argparse
from pathlib import Path

from matrix.cli.options import add_question_of_preset

BLAME_PRESET = "blame"


def add_blame(command: argparse.ArgumentParser) -> None:
    command.add_argument("cell", nargs="*", metavar="AXIS=VALUE", help="enough of them to name one cell")
    add_question_of_preset(command)
    command.add_argument(
        "--reproducer", type=Path, metavar="FOLDER", help="write the first wrong dispatch there, with its inputs"
    )
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    command.add_argument("--output", type=Path, metavar="FILE", help="write there instead of to stdout")
