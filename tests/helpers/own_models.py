"""Runs with models of one's own."""

from __future__ import annotations

import csv
import io
import shlex
from pathlib import Path

from command_line import Ran, matrix
from documents import OWN_LINES


def line(start: str) -> list[str]:
    """The words of the documents' command line that begins so, the shortest one."""
    return shlex.split(min((words for words in OWN_LINES if words.startswith(start)), key=len))


def cells(ran: Ran) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(ran.out)))


def outcomes(ran: Ran) -> list[tuple[str, str, str]]:
    return [(cell["outcome"], cell["stage"], cell["signature"]) for cell in cells(ran)]


def ask(desk: Path, *words: object, verb: str = "run", **options: str) -> Ran:
    rest = () if verb == "why" else ("--format", "csv")
    return matrix(verb, *rest, *words, "--store", desk / "store", cwd=desk, **options)
