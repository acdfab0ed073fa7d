"""The options of a covering array, which chooses few of the cells of a question."""

from __future__ import annotations

import argparse
import re

from matrix.core.text import whole_number
from matrix.plan.covering.cover import STRENGTHS


def add_cover(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group(
        "few cells", "of a question with too many; a table [cover] of its spec says the same"
    )
    group.add_argument(
        "--cover",
        type=_strength,
        metavar="STRENGTH",
        help="each value (1), pair (2) or triple (3) of values in at least one cell; 0: all cells",
    )
    group.add_argument(
        "--seed", dest="cover_seed", type=_seed, metavar="N", help="another choice of the same kind; default: 0"
    )
    group.add_argument(
        "--densify",
        type=whole_number,
        metavar="CELLS",
        help="then add up to so many cells between and around those that end differently",
    )


def _strength(text: str) -> int:
    known = [str(strength) for strength in (0, *STRENGTHS)]
    if text not in known:
        raise argparse.ArgumentTypeError(f"read {text!r}, expected one of {', '.join(known)}")
    return int(text)


def _seed(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"read {text!r}, expected a whole number from 0 to 999999999")
    return int(text)
