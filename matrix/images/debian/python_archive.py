"""Standalone Pythons, for versions that no suite of Debian has: locks and fetches them.

uv knows the address of the builds (python-build-standalone) and the newest one; UV_PYTHON_INSTALL_MIRROR, a variable of
uv, sets another address. Each release of the builds lists the sha256 of its files.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from packaging.version import Version

from matrix.artifacts.json_reader import read_json
from matrix.core import processes
from matrix.core.errors import IndexUnreachable, PackageGone, ResolutionRefused
from matrix.environments.interpreters import uv_binary
from matrix.images.debian.lock import PythonArchive, stored_file
from matrix.images.debian.mirror import NotOnServer, Server, download, is_fetched

SERVER = Server(name="the server of standalone Pythons", variable="UV_PYTHON_INSTALL_MIRROR")
SUMS = "SHA256SUMS"
LARGEST = 1 << 28
"""The most bytes of an archive; they have 30 to 80 MB."""


def lock_python(python: str, machine: str, files: Path) -> PythonArchive:
    """Locks the newest build of a Python (`3.12`) for a machine, and fetches it into `files`.

    Raises ResolutionRefused where uv knows none, IndexUnreachable, HashMismatch, DiskFull.
    """
    version, address = _newest(python, machine)
    root, release, name = _root(address), *unquote(address).split("/")[-2:]
    what = f"the standalone Python {version} for {machine}"
    sha256 = _sums(root, release, what).get(name, "")
    if not sha256:
        raise IndexUnreachable(f"{what}: {SUMS} of its release does not name it", tip=f"set {SERVER.variable}")
    archive = PythonArchive(version=version, path=f"{release}/{name}", size=LARGEST, sha256=sha256)
    path = _fetched(archive, files, root, what=what, named_in=SUMS)
    return PythonArchive(version=version, path=archive.path, size=path.stat().st_size, sha256=sha256)


def fetch_python(archive: PythonArchive, files: Path, *, named_in: str) -> Path:
    """The file of a locked Python, checked by its sha256. Raises the errors of `lock_python`, and PackageGone."""
    what = f"{archive.label} of {named_in}"
    if is_fetched(stored_file(files, archive), archive.sha256, what=what):
        return stored_file(files, archive)
    python = ".".join(archive.version.split(".")[:2])
    return _fetched(archive, files, _root(_newest(python)[1]), what=what, named_in=named_in)


def _fetched(archive: PythonArchive, files: Path, root: str, *, what: str, named_in: str) -> Path:
    target = stored_file(files, archive)
    if not is_fetched(target, archive.sha256, what=what):
        path, size = quote(archive.path), archive.size
        try:
            download(root, path, target, what=what, named_in=named_in, size=size, sha256=archive.sha256, server=SERVER)
        except NotOnServer:
            raise PackageGone(
                f"{what}: its server no longer has this file",
                tip=f"lock the bases again (nox -s lock), or set {SERVER.variable} to a server that keeps it",
            ) from None
    return target


def _sums(root: str, release: str, what: str) -> dict[str, str]:
    """File name -> sha256, as the release lists them."""
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / SUMS
        try:
            download(root, f"{release}/{SUMS}", listed, what=what, named_in="", server=SERVER)
        except NotOnServer:
            raise IndexUnreachable(f"{what}: its release has no {SUMS}", tip=f"set {SERVER.variable}") from None
        rows = (line.split() for line in listed.read_text(encoding="utf-8", errors="replace").splitlines())
        return {row[1].lstrip("*"): row[0] for row in rows if len(row) == 2}


def _newest(python: str, machine: str = "x86_64") -> tuple[str, str]:
    """Version and address of the newest build that uv knows. uv needs no network for this."""
    argv = [uv_binary(), "python", "list", "--only-downloads", "--all-platforms", "--all-arches", "--no-config"]
    done = processes.run([*argv, "--output-format", "json", python], timeout=60.0)
    if not done.ok:
        raise processes.failure(done, "uv does not list its Pythons")
    rows: list[dict[str, Any]] = read_json(done.stdout)
    builds = [
        (str(row["version"]), str(row["url"]))
        for row in rows
        if (row["implementation"], row["variant"], row["os"], row["libc"], row["arch"])
        == ("cpython", "default", "linux", "gnu", machine)
    ]
    if not builds:
        raise ResolutionRefused(f"uv knows no standalone Python {python} for {machine}", tip="upgrade uv")
    return max(builds, key=lambda build: Version(build[0]))


def _root(address: str) -> str:
    """The address of the releases."""
    return (os.environ.get(SERVER.variable) or address.rsplit("/", 2)[0]).rstrip("/")
