"""A real user of this machine who is not root, made for a test and removed after it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import ROOT

HIDDEN = """
set -e
held=$1 python=$2 closed=$3
shift 3
if [ -n "$closed" ]; then
    mount --bind "$python" "$held"
    mount -t tmpfs -o mode=755 tmpfs "$closed"
    mkdir -p "$python"
    mount --bind "$held" "$python"
fi
exec "$@"
"""
"""Makes the interpreter of this process executable for all where it lies in a closed folder, such as root's home. Only
the command sees that, in a mount namespace of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnotherUser:
    """`home` is the user's own folder; `before` stands before a command line that this user executes."""

    name: str
    home: Path
    before: tuple[str, ...]


@contextlib.contextmanager
def another_user(*, group: int) -> Iterator[AnotherUser]:
    """A user who is in this group too. Needs root; a skip is not a pass.

    The home is in no folder of pytest: each session of pytest closes those that another one opened.
    """
    if os.geteuid():
        pytest.skip("NOT TESTED: to make another user needs root")
    name = f"matrix-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix=name) as folder:
        Path(folder).chmod(0o755)
        with _made(name, Path(folder), group) as user:
            yield user


@contextlib.contextmanager
def _made(name: str, folder: Path, group: int) -> Iterator[AnotherUser]:
    home, held = folder / "home", folder / "held"
    held.mkdir()
    made = subprocess.run(
        ["useradd", "--home-dir", home, "--create-home", "--groups", str(group), name],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"NOT TESTED: no user can be made here: {made.stderr.strip()}")
    try:
        yield AnotherUser(name=name, home=home, before=_before(name, home, held))
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)


def _before(name: str, home: Path, held: Path) -> tuple[str, ...]:
    closed = next((each for each in reversed(Path(sys.base_prefix).parents) if not each.stat().st_mode & 0o001), "")
    look = ["unshare", "--mount", "sh", "-c", HIDDEN, "sh", str(held), sys.base_prefix, str(closed)]
    user = ["setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups"]
    before = (*look, *user, "env", f"HOME={home}")
    tried = subprocess.run(
        [*before, sys.executable, "-c", "import matrix"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"NOT TESTED: another user cannot start this Python: {tried.stderr.strip()[-300:]}")
    return before
