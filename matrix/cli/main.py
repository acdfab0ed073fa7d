"""The command line, and its one error boundary: no traceback reaches a user, and every error says what to do next."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence

from matrix.cli.verbs import make_parser
from matrix.core.errors import EXIT_DEFECT, EXIT_INTERRUPTED, MatrixError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit status, one of `errors.STATUSES`."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        options = make_parser().parse_args(arguments)
        status: int = options.command(options)
        sys.stdout.flush()
        _end_uninterrupted()
    except MatrixError as error:
        return _report(str(error), error.tip, error.exit_code)
    except KeyboardInterrupt:
        _end_uninterrupted()
        return _report("interrupted", "the same command continues from there", EXIT_INTERRUPTED)
    except BrokenPipeError:  # `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the boundary: a defect of ours, kept in a file instead of printed
        return _defect(error)
    return status


def _end_uninterrupted() -> None:
    """From here on a Ctrl-C has nothing to stop, and must not change the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _report(message: str, tip: str, status: int) -> int:
    red, bold, plain = ("\033[31;1m", "\033[1m", "\033[0m") if _colours() else ("", "", "")
    print(f"{red}ERROR{plain} {message}", file=sys.stderr)
    if tip:
        print(f"{bold}TIP{plain} {tip}", file=sys.stderr)
    return status


def _colours() -> bool:
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ


def _defect(error: Exception) -> int:
    descriptor, path = tempfile.mkstemp(prefix="iree-matrix-", suffix=".txt")
    with os.fdopen(descriptor, "w") as file:
        traceback.print_exception(error, file=file)
    return _report(
        f"a defect of this project: {type(error).__name__}: {error}",
        f"please report it with {path}",
        EXIT_DEFECT,
    )
