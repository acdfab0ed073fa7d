"""The options of verbs that answer from published runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from matrix.cli.arguments.results import add_results
from matrix.core.text import whole_number
from matrix.plan.backends.shared import MODEL_AXIS, PYTHON_AXIS, TARGET_AXIS


def add_two_runs(command: argparse.ArgumentParser) -> None:
    for name in ("before", "after"):
        command.add_argument(name, type=Path, metavar=f"{name.upper()}.json", help="of `show --format json`")


def add_weights(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--weight",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="such as runtimes=4; repeatable; the output states all",
    )
    add_results(command, "default: the committed ones")


def add_compatibility(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    add_results(command, "default: the committed ones")


def add_difference(command: argparse.ArgumentParser) -> None:
    what = "BEFORE.json AFTER.json or PRESET@DATE twice, BEFORE.vmfb AFTER.vmfb, or AXIS VALUE VALUE: torch 2.8.0 2.9.1"
    command.add_argument("what", nargs="+", metavar="WHAT", help=what)
    form = command.add_mutually_exclusive_group()
    form.add_argument("--report", action="store_true", help="triage as Markdown: new failures, repaired, flaky, costs")
    number: dict[str, Any] = {"nargs": "?", "const": 1, "default": 0, "type": whole_number, "metavar": "N"}
    form.add_argument("--issue", **number, help="an issue to paste, with commands that show it; default: the first one")
    command.add_argument("--format", choices=("text", "json"), default="text", help="json: of two modules")
    text = "measure the new failures again before they are reported: both releases in one run, on this machine"
    command.add_argument("--again", action="store_true", help=text)
    text = "with --issue: shrink the MLIR while it fails alike and the other release compiles it; implies --again"
    command.add_argument("--reduce", type=Path, metavar="FILE.mlir", help=text)
    text = "the most modules that --reduce compiles; default: %(default)s"
    command.add_argument("--budget", type=whole_number, default=64, metavar="N", help=text)
    add_results(command, "of two releases; default: the committed ones")


def add_check(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="requirements, what `pip freeze` prints, a lock of uv, or a pylock.toml; several: installed in this order",
    )
    for axis, default in ((MODEL_AXIS, "any"), (TARGET_AXIS, "this machine's"), (PYTHON_AXIS, "any")):
        command.add_argument(f"--{axis.name}", metavar="VALUE", default="", help=f"default: {default}")
    command.add_argument(
        "--apart",
        action="store_true",
        help="the export has an environment of its own, in which other packages of IREE are",
    )
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    add_results(command, "default: the committed ones")
