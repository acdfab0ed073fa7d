"""Virtual environments in the store: from a lock to a folder whose tools can be started."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import canonicalize_name

from matrix.core.errors import HashMismatch, NotInstallable
from matrix.core.keys import digest
from matrix.core.records import DEFAULT_ENGINE, Environment, EnvironmentRequest, Toolchain
from matrix.environments import user_tools
from matrix.environments.folders import realise_with
from matrix.environments.index import PackageIndex, configured_index
from matrix.environments.interpreters import PythonInfo
from matrix.environments.manifest import recorded, torn_wheels
from matrix.environments.wheel_cache import WheelCache
from matrix.environments.wheels import confirmed
from matrix.plan.locks import pinned_packages, variant_of

ENVIRONMENT_FORMAT = 1
"""Of the inputs and of the content of an environment: part of their digests, and so of every job's key."""
ENTRY_POINTS = "../../../bin/"
INSTALLER_FILES = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json")
"""Files in a `.dist-info` that come from the installer, not from the wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """The content of a site-packages folder: (name, version) pairs, and (path, hash) of every file in a RECORD."""

    distributions: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]


def request_digest(request: EnvironmentRequest, info: PythonInfo, *, engine: str = DEFAULT_ENGINE) -> str:
    """sha256 of all inputs of an environment: the name of its folder in the store."""
    return digest({"format": ENVIRONMENT_FORMAT, "engine": engine, "lock": request.lock.digest, **_platform(info)})


def realise(
    request: EnvironmentRequest,
    info: PythonInfo,
    folder: Path,
    *,
    index: PackageIndex | None = None,
    cache: WheelCache | None = None,
    add_tools: Callable[[Path, Environment], Environment] | None = None,
) -> Environment:
    """The environment at `folder`, built if it does not exist yet. `cache` holds its wheels; None: uv's default cache.
    `add_tools` adds tools to the installed folder, and returns the environment with them.

    Raises NotInstallable with the reason, IndexUnreachable, HashMismatch, DiskFull, StoreUnusable, MatrixError.
    """
    packages = _from_cache(index or configured_index(), cache)

    def build(root: Path) -> Environment:
        with cache.in_use() if cache else contextlib.nullcontext():
            bare = _build(request, info, root, packages)
        return add_tools(root, bare) if add_tools else bare

    return realise_with(request, folder, build)


def forget_wheels(packages: Sequence[str], cache: WheelCache | None) -> None:
    """Removes packages from the cache of wheels: their files were found damaged, and an environment links them."""
    _from_cache(configured_index(), cache).forget(packages)


def _from_cache(index: PackageIndex, cache: WheelCache | None) -> PackageIndex:
    return replace(index, environment={**index.environment, "UV_CACHE_DIR": str(cache.folder)}) if cache else index


def _build(request: EnvironmentRequest, info: PythonInfo, root: Path, index: PackageIndex) -> Environment:
    if request.toolchain:
        return _of_user_tools(request, request.toolchain, info, root)
    if request.built:
        return _without_tools(request, info, root)
    index.venv(root, info.path)
    index = index.at(request.lock.places)
    if not request.bare:
        try:
            index.install(root, request.lock)
        except NotInstallable as refused:
            packages = pinned_packages(request.lock, python=request.python, machine=info.machine)
            what = f"cannot install {request.lock.name}"
            raise confirmed(refused, packages, index, what=what, variant=variant_of(request.lock)) from None
        if torn := torn_wheels(root):
            index.forget(sorted(torn))
            index.install(root, request.lock, again=sorted(torn))
        if torn := torn_wheels(root):
            name, path = next(iter(torn.items()))
            raise HashMismatch(
                f"{request.label}: the wheel of {name} does not hold what its RECORD says: {path}",
                tip="uv's cache is damaged (`uv cache clean`), or this wheel is",
            )
    return inspect(request, info, root)


def _without_tools(request: EnvironmentRequest, info: PythonInfo, root: Path) -> Environment:
    """The environment of a runtime that was built from source: this machine, and no tools."""
    return Environment(
        request_label=request.label,
        engine=DEFAULT_ENGINE,
        digest=digest({"built": True, **_platform(info)}),
        root=root,
        python_version=info.version,
        c_library=info.c_library,
        tools={},
        distributions=(),
    )


def _of_user_tools(request: EnvironmentRequest, toolchain: Toolchain, info: PythonInfo, root: Path) -> Environment:
    """The environment of a user's own tools. Raises NotInstallable where they do not run on this machine."""
    tools = user_tools.install_toolchain(toolchain, root)
    if reason := user_tools.why_unusable(root, tools):
        raise NotInstallable(reason)
    platform = _platform(info)
    return Environment(
        request_label=request.label,
        engine=DEFAULT_ENGINE,
        digest=digest(
            {"toolchain": toolchain.digest, "c_library": platform["c_library"], "machine": platform["machine"]}
        ),
        root=root,
        python_version=info.version,
        c_library=info.c_library,
        tools={**tools, "python": str(info.path)},  # programs that start a tool run on it
        distributions=user_tools.tool_versions(root, tools),
    )


def inspect(request: EnvironmentRequest, info: PythonInfo, root: Path) -> Environment:
    """Describes an installed virtual environment: its digest, tools and distributions."""
    site = next(root.glob("lib/py*/site-packages"))
    installed = read_site(site)
    return Environment(
        request_label=request.label,
        engine=DEFAULT_ENGINE,
        digest=realised_digest(info, installed.files),
        root=root,
        python_version=info.version,
        c_library=info.c_library,
        tools=_tools(root, site, [path for path, _ in installed.files]),
        distributions=installed.distributions,
        package_bytes=_package_bytes(request, root),
    )


def _package_bytes(request: EnvironmentRequest, root: Path) -> dict[str, int]:
    """The sum of the sizes in the RECORD of each package that the lock pins, the same on every machine."""
    pinned = [canonicalize_name(package) for package, _ in request.lock.pins]
    rows = {name: content for name, _, content in recorded(root) if name in pinned}
    return {
        name: sum(int(size) for path, content, size in rows[name] if size.isdigit() and _of_the_wheel(path, content))
        for name in pinned
        if name in rows
    }


def read_site(site: Path) -> Installed:
    """Reads the distributions of a site-packages folder and their RECORDs, and no other file."""
    from importlib.metadata import distributions

    names: list[tuple[str, str]] = []
    files: list[tuple[str, str]] = []
    for found in distributions(path=[str(site)]):
        names.append((found.metadata["Name"], found.version))
        files += _records(found.read_text("RECORD") or "")
    return Installed(distributions=tuple(sorted(names)), files=tuple(sorted(files)))


def _records(text: str) -> Iterator[tuple[str, str]]:
    import csv

    for row in csv.reader(text.splitlines()):
        if len(row) >= 2:
            yield row[0], row[1]


def realised_digest(info: PythonInfo, files: Iterable[tuple[str, str]]) -> str:
    """sha256 of what was installed: interpreter, C library, machine, and every file of the wheels.

    It is the same in every folder and on every machine: it leaves out what the installer adds (its own notes, byte
    code, and scripts, whose first line is a path).
    """
    lines = sorted(f"{path} {content}" for path, content in files if _of_the_wheel(path, content))
    return digest({"format": ENVIRONMENT_FORMAT, "files": lines, **_platform(info)})


def _of_the_wheel(path: str, content: str) -> bool:
    name = path.rpartition("/")[2]
    own = name in INSTALLER_FILES and ".dist-info/" in path
    return bool(content) and not own and not path.startswith(ENTRY_POINTS) and not name.endswith(".pyc")


def _platform(info: PythonInfo) -> dict[str, str]:
    return {
        "python": info.version,
        "implementation": info.implementation,
        "c_library": info.c_library,
        "machine": info.machine,
    }


def _tools(root: Path, site: Path, paths: list[str]) -> Mapping[str, str]:
    """Tool -> path relative to `root`: the binaries in the wheels, else the scripts in `bin`."""
    tools: dict[str, str] = {}
    for folder in user_tools.WHEEL_FOLDERS:
        for path in paths:
            parent, _, name = path.rpartition("/")
            if parent == folder and "." not in name and os.access(site / path, os.X_OK):
                tools.setdefault(name, (site / path).relative_to(root).as_posix())
    for path in paths:
        if path.startswith(ENTRY_POINTS) and os.access(site / path, os.X_OK):
            tools.setdefault(path.removeprefix(ENTRY_POINTS), "bin/" + path.removeprefix(ENTRY_POINTS))
    return dict(sorted(tools.items()))
