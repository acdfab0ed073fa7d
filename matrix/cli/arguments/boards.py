"""The options of the verbs of boards that take no target."""

from __future__ import annotations

import argparse
from pathlib import Path

from matrix.core.records import DEFAULT_ENGINE


def add_smoke(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="MODEL",
        help="also this one: shipped, or FILE.mlir as `export --arrays` leaves it with its arrays; repeatable",
    )
    add_accept(command)


def add_accept(command: argparse.ArgumentParser) -> None:
    command.set_defaults(engine=DEFAULT_ENGINE)
    command.add_argument("--accept", action="store_true", help="write the outcomes as the expected ones")


def add_linker(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="FOLDER", help="made and filled")
    command.add_argument("--iree-lld", type=Path, metavar="FILE", help="another one than the release's")
