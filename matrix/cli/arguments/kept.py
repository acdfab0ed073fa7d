"""The options of verbs that read and write the archive of published runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from matrix.core.data import data_root


def add_archive(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--archive",
        type=Path,
        default=data_root() / "results" / "kept",
        metavar="FOLDER",
        help="where runs are kept by date; default: results/kept",
    )


def add_dates(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--archive",
        type=Path,
        metavar="FOLDER",
        help="runs kept by date, for the page of what changed over time; default: results/kept beside the committed "
        "results, none beside others",
    )


def add_keep(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "results", nargs="*", type=Path, metavar="RESULTS.json", help="runs to keep; default: all published ones"
    )
    add_archive(command)
    command.add_argument("--list", action="store_true", help="what is kept; keeps nothing")
