"""For all tests: a command that was called in this process leaves the signals as it found them.

A shell without job control starts what it puts in the background with SIGINT and SIGQUIT ignored, and what they start
inherits that, and from nohup an ignored SIGHUP: a test that sends Ctrl-C would wait for ever. So here they do what they
do on a terminal.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from published_site import BuiltSite, build_once

from matrix.core.processes import STOP_SIGNALS

AT_A_TERMINAL = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGQUIT: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
for number, handler in AT_A_TERMINAL.items():
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

AT_FIRST = {number: signal.getsignal(number) for number in STOP_SIGNALS}


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """A command that is over ignores signals until its process ends; a fixture of a module may have called one here."""
    restore_signals()
    yield
    restore_signals()


def restore_signals() -> None:
    for number, handler in AT_FIRST.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this session share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def published(together: Path) -> BuiltSite:
    """The site of all that is committed, built once for all tests that only read it."""
    return build_once(together)
