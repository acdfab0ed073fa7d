"""The options of the verb `bisect`."""

from __future__ import annotations

import argparse

from matrix.answers.compiling.figures import Figure, figure_of, figure_words
from matrix.cli.arguments.results import add_results
from matrix.core.versions import did_you_mean


def _figure(word: str) -> Figure:
    found = figure_of(word)
    if found is None:
        known = figure_words()
        raise argparse.ArgumentTypeError(
            f"read {word!r}, expected one of {', '.join(known)}{did_you_mean(word, known)}"
        )
    return found


def add_bisect(command: argparse.ArgumentParser) -> None:
    command.add_argument("--axis", required=True, help="compiler, runtime, torch, turbine, python, or one of the spec")
    for name, default in (("good", "oldest"), ("bad", "newest")):
        told = f"an end; default: the {default} value, or the far one where the other end is that"
        command.add_argument(f"--{name}", default="", metavar="VALUE", help=told)
    command.add_argument(
        "--by",
        type=_figure,
        metavar="FIGURE",
        help=f"search for a change of this figure of a compile, in place of the outcome: {', '.join(figure_words())}",
    )
    add_results(command, "its cells of a shipped model count as measured; default: none")
