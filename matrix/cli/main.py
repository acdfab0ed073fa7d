"""The command line, and its one error boundary: no traceback reaches a user, and every error says what to do next."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from matrix.cli.verbs import make_parser
from matrix.core.errors import EXIT_DEFECT, EXIT_INTERRUPTED, MatrixError
from matrix.core.processes import STOP_SIGNALS, leave_terminal
from matrix.core.text import escape_controls


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit status, one of `errors.STATUSES`."""
    try:
        try:
            _stop_like_ctrl_c()
            options = make_parser().parse_args(arguments)
            status: int = options.command(options)
            sys.stdout.flush()
        finally:  # an error is told whole: a signal to the whole tree may reach this process after what it ended
            _end_uninterrupted()
    except MatrixError as error:
        return _report(str(error), error.tip, error.exit_code)
    except KeyboardInterrupt:
        _end_uninterrupted()
        return _report("interrupted", "the same command continues from there", EXIT_INTERRUPTED)
    except BrokenPipeError:  # `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _disk_fault(error)
    except Exception as error:  # noqa: BLE001 - the boundary: a defect of ours, kept in a file instead of printed
        return _defect(error)
    return status


def _stop_like_ctrl_c() -> None:
    """SIGTERM and a closed terminal end every verb as Ctrl-C does; what is ignored (`nohup`) stays ignored."""

    def stop(number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in STOP_SIGNALS:
        if number != signal.SIGINT and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def _end_uninterrupted() -> None:
    """From here on these signals have nothing to stop, and must not change the exit status."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _report(message: str, tip: str, status: int) -> int:
    red, bold, plain = ("\033[31;1m", "\033[1m", "\033[0m") if _colours() else ("", "", "")
    print(f"{red}ERROR{plain} {escape_controls(message.expandtabs())}", file=sys.stderr)
    if tip:
        print(f"{bold}TIP{plain} {escape_controls(tip)}", file=sys.stderr)
    return status


def _colours() -> bool:
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ


def _disk_fault(error: OSError) -> int:
    """A disk can end at any write and any read: that is no defect."""
    from matrix.core.disk import disk_fault

    fault = disk_fault(error, Path(error.filename or tempfile.gettempdir()))
    return _report(str(fault), fault.tip, fault.exit_code) if fault else _defect(error)


def _defect(error: Exception) -> int:
    descriptor, path = tempfile.mkstemp(prefix="iree-matrix-", suffix=".txt")
    with os.fdopen(descriptor, "w") as file:
        traceback.print_exception(error, file=file)
    return _report(
        f"a defect of this project: {type(error).__name__}: {error}",
        f"please report it with {path}",
        EXIT_DEFECT,
    )
