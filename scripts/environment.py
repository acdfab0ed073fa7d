"""The environment of a worker: its warm imports, and the facts in its hello message."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import platform
import sys
import traceback
from typing import Any

PROTOCOL = 1


def warm_up(modules: list[str]) -> str:
    """Imports `modules`; `new|old` are two names of one module.

    Returns the traceback if that fails: then each script job ends with it, as a finding.
    """
    try:
        for name in modules:
            importlib.import_module(first_installed(name.split("|")))
    except BaseException:  # noqa: BLE001 - a package may raise anything while it is imported
        return traceback.format_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return ""


def first_installed(names: list[str]) -> str:
    """The first of a module's names that is installed; the first of all if none is."""
    for name in names:
        with contextlib.suppress(ModuleNotFoundError):
            if importlib.util.find_spec(name):
                return name
    return names[0]


def versions_of(distributions: list[str]) -> dict[str, str]:
    """The installed versions; a distribution that is not installed is left out."""
    found = {}
    if not distributions:
        return found
    from importlib import metadata

    for name in distributions:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def hello(slots: int, versions: dict[str, str], warm_error: str) -> dict[str, Any]:
    message = {
        "type": "hello",
        "protocol": PROTOCOL,
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "c_library": " ".join(platform.libc_ver()).strip(),
        "machine": os.uname().machine,
        "pid": os.getpid(),
        "slots": slots,
        "versions": versions,
    }
    if warm_error:
        message["warm_error"] = warm_error
    return message
