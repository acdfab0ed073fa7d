"""A signal that comes while an error is told: the error is told whole, and its status stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from matrix.core.errors import EXIT_STORE

ROOT = Path(__file__).parents[3]
TOLD_LATE = """
import os, signal, sys
from argparse import Namespace
from matrix.cli import main
from matrix.core.errors import StoreUnusable

class Told(StoreUnusable):
    def __str__(self):
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        return "the store is gone"

def fail(_):
    raise Told("")

class Parser:
    def parse_args(self, _):
        return Namespace(command=fail)

main.make_parser = Parser
sys.exit(main.main([]))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_amid_the_words_of_an_error_changes_nothing(name):
    done = subprocess.run(
        [sys.executable, "-c", TOLD_LATE, name], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stderr.startswith("ERROR the store is gone")
    assert done.returncode == EXIT_STORE
