"""Python interpreters of this machine: where '3.11' is, and what it is.

A shim (of pyenv or asdf) may say "command not found" for a version that is installed. So a candidate counts only after
it has run, and its path is the one that it reports.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from matrix.artifacts.json_reader import read_json
from matrix.core import processes
from matrix.core.errors import EngineMissing

PROBE_SECONDS = 20.0
PYTHON_INSTALL_SECONDS = 600.0
WANTED_IMPLEMENTATION = "cpython"
"""IREE and torch publish wheels for CPython with the GIL, and none for PyPy or the free-threaded build."""

PROBE = """
import json, os, sys
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (AttributeError, ValueError, OSError):
    libc = ""
if not libc:
    import platform
    libc = " ".join(platform.libc_ver()).strip() or "unknown"
flags = getattr(sys, "abiflags", "")
print(json.dumps({
    "path": os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable),
    "version": sys.version.split()[0].rstrip("+"),
    "implementation": sys.implementation.name + ("-" + flags if flags else ""),
    "c_library": libc,
    "machine": os.uname().machine,
}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonInfo:
    """An interpreter, such as its real path, `3.11.7`, `cpython`, `glibc 2.36` and `x86_64`."""

    path: Path
    version: str
    implementation: str
    c_library: str
    machine: str

    @property
    def minor(self) -> str:
        """`3.11` of `3.11.7`."""
        return ".".join(self.version.split(".")[:2])


def describe(python: Path) -> PythonInfo:
    """Describes an interpreter; the running one without a process. Raises EngineMissing where it does not answer."""
    info = probe(python)
    if info is None:
        raise EngineMissing(f"{python} does not answer as a Python", tip="`doctor` lists the Pythons of this machine")
    return info


def probe(python: Path) -> PythonInfo | None:
    """Like `describe`, but None where the interpreter does not answer."""
    if python.resolve() == running().path:
        return running()
    return _ask(python)


@functools.cache
def running() -> PythonInfo:
    """The interpreter of this process; in a virtual environment, the one that it was made from."""
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        libc = ""
    if not libc:
        import platform

        libc = " ".join(platform.libc_ver()).strip() or "unknown"
    flags = sys.abiflags
    return PythonInfo(
        path=_base(),
        version=sys.version.split()[0].rstrip("+"),
        implementation=sys.implementation.name + (f"-{flags}" if flags else ""),
        c_library=libc,
        machine=os.uname().machine,
    )


def _base() -> Path:
    named = Path(getattr(sys, "_base_executable", "") or sys.executable)
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (named, Path(sys.base_prefix) / "bin" / minor, Path(sys.executable)):
        if path.is_file():
            return path.resolve()
    return named


@functools.cache
def _ask(python: Path) -> PythonInfo | None:
    asked = processes.run([str(python), "-I", "-S", "-c", PROBE], timeout=PROBE_SECONDS)
    if not asked.ok:
        return None
    try:
        read = read_json(asked.stdout)
        return PythonInfo(
            path=Path(read["path"]),
            version=read["version"],
            implementation=read["implementation"],
            c_library=read["c_library"],
            machine=read["machine"],
        )
    except (ValueError, KeyError, TypeError):
        return None


_found: dict[tuple[str, bool], PythonInfo | EngineMissing] = {}
_finding = threading.Lock()


def find(python: str, *, offline: bool = False) -> PythonInfo:
    """The interpreter for `major.minor`, searched for once in a process; safe in threads.

    The order: the running interpreter, the PATH, pyenv's versions, shims that work, uv's installations. If there is
    none, uv downloads one, unless `offline` or UV_PYTHON_DOWNLOADS=never. Raises EngineMissing.
    """
    with _finding:
        known = _found.get((python, offline))
        if known is None:
            known = _found[python, offline] = _search(python, offline, os.environ)
    if isinstance(known, EngineMissing):
        raise EngineMissing(str(known), tip=known.tip)
    return known


def _search(python: str, offline: bool, environ: Mapping[str, str]) -> PythonInfo | EngineMissing:
    for info in find_all(python, environ):
        return info
    downloads = environ.get("UV_PYTHON_DOWNLOADS", "").lower() not in ("never", "false", "0")
    if not offline and downloads and environ.get("UV_OFFLINE", "").lower() not in ("1", "true"):
        installed = _download(python, environ)
        if installed:
            return installed
    return EngineMissing(
        f"no Python {python} on this machine",
        tip=f"install one: `apt install python{python}`, `pyenv install {python}` or `uv python install {python}`",
    )


def find_all(python: str, environ: Mapping[str, str] = os.environ) -> Iterator[PythonInfo]:
    """All interpreters for `major.minor`, each once, the preferred one first."""
    seen = set()
    for path in _candidates(python, environ):
        info = probe(path)
        if info and info.minor == python and info.implementation == WANTED_IMPLEMENTATION and info.path not in seen:
            seen.add(info.path)
            yield info


def _candidates(python: str, environ: Mapping[str, str]) -> Iterator[Path]:
    yield running().path
    on_path = list(_on_path(f"python{python}", environ))
    yield from (path for path in on_path if path.parent.name != "shims")
    yield from _pyenv(python, environ)
    yield from (path for path in on_path if path.parent.name == "shims")
    yield from _uv_managed(python, environ)


def _on_path(name: str, environ: Mapping[str, str]) -> Iterator[Path]:
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        path = Path(folder) / name
        if folder and path.is_file() and os.access(path, os.X_OK):
            yield path


def _pyenv(python: str, environ: Mapping[str, str]) -> list[Path]:
    """`$PYENV_ROOT/versions/3.11.7/bin/python3.11`, the newest patch first."""
    root = Path(environ.get("PYENV_ROOT") or Path(environ.get("HOME", "~")).expanduser() / ".pyenv")
    found = [path for path in (root / "versions").glob(f"{python}.*/bin/python{python}") if path.is_file()]
    return sorted(found, key=lambda path: _patch(path.parent.parent.name), reverse=True)


def _patch(version: str) -> tuple[int, str]:
    last = version.rpartition(".")[2]
    return (int(last), version) if last.isdigit() else (-1, version)


_looking_for_uv = threading.Lock()


def uv_binary() -> str:
    """The path of uv: from the wheel that this project depends on, else from the PATH. Raises EngineMissing."""
    with _looking_for_uv:  # it reads sysconfig, which two threads must not initialise at once (seen on 3.11.7)
        return _uv_binary()


@functools.cache
def _uv_binary() -> str:
    try:
        from uv import find_uv_bin
    except ImportError:
        pass
    else:
        try:
            return find_uv_bin()
        except FileNotFoundError:
            pass
    from shutil import which

    found = which("uv")
    if found is None:
        raise EngineMissing("uv is not on this machine", tip="install it: python -m pip install uv")
    return found


def _uv_managed(python: str, environ: Mapping[str, str]) -> Iterator[Path]:
    try:
        uv = uv_binary()
    except EngineMissing:
        return
    argv = [uv, "python", "find", "--managed-python", "--no-python-downloads", "--no-project", python]
    found = processes.run(argv, timeout=PROBE_SECONDS, env=environ, cwd=Path("/"))
    if found.ok and found.stdout.strip():
        yield Path(found.stdout.strip())


def _download(python: str, environ: Mapping[str, str]) -> PythonInfo | None:
    env = {"UV_HTTP_RETRIES": "1", **environ}
    processes.run([uv_binary(), "python", "install", python], timeout=PYTHON_INSTALL_SECONDS, env=env, cwd=Path("/"))
    return next((info for path in _uv_managed(python, env) if (info := probe(path))), None)
