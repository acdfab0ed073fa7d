"""Where a verb's answer goes: to stdout, or to the file of `--output`."""

from __future__ import annotations

import sys
from pathlib import Path

from matrix.core.disk import write_output


def give_answer(text: str, output: Path | None) -> None:
    """Prints an answer that the same command gives again, or writes it. Raises UsageError."""
    if output is None:
        sys.stdout.write(text)
    else:
        write_output(output, text, tip="nothing is lost: the same command writes it, and nothing runs again")
