"""The option `--results` of verbs that answer from published runs."""

from __future__ import annotations

import argparse


def add_results(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument(
        "--results",
        action="append",
        default=[],
        metavar="WHERE",
        help=f"a run as JSON, or a built site: a folder or its address; repeatable; {default}",
    )
