"""Programs of Debian that tests need: found, or installed where that is anybody's to do."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

ALLOWED = "IREE_MATRIX_TESTS_APT"
"""The environment variable that forbids it: 0."""


def installed(name: str, *packages: str) -> str | None:
    """The path of a program. As root on Debian its packages are installed where it lacks, unless ALLOWED is 0."""
    if not shutil.which(name) and shutil.which("apt-get") and os.geteuid() == 0 and os.environ.get(ALLOWED) != "0":
        apt = ["apt-get", "--quiet", "--yes", "-o", "DPkg::Lock::Timeout=300"]
        install = [*apt, "install", "--no-install-recommends", *packages]
        for words in (install, [*apt, "update"], install):  # a new machine may have no lists yet
            subprocess.run(words, capture_output=True, timeout=600, check=False, stdin=subprocess.DEVNULL)
            if shutil.which(name):
                break
    return shutil.which(name)


def program(name: str, *packages: str) -> str:
    """As `installed`; where it lacks, the test is skipped. A skip is not a pass: it says what was not tested."""
    found = installed(name, *packages)
    if not found:
        pytest.skip(f"NOT TESTED: there is no `{name}` here (apt-get install {' '.join(packages)})")
    return found
