"""Virtual environments in the store: from a lock to a folder whose tools can be started.

A folder gets its name by one rename, once it is complete. A process that is killed while it builds leaves a folder
`<name>.partial-<pid>-…`, which the next process removes. `<name>.lock` is the claim on the environment.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from typing import IO

from matrix.core.disk import claimed
from matrix.core.errors import DiskFull, NotInstallable, StoreUnusable
from matrix.core.keys import digest
from matrix.core.records import DEFAULT_ENGINE, Environment, EnvironmentRequest, Toolchain
from matrix.environments import user_tools
from matrix.environments.index import PackageIndex, configured_index
from matrix.environments.interpreters import PythonInfo
from matrix.environments.wheel_cache import WheelCache

ENVIRONMENT_FORMAT = 1
CLAIM_SECONDS = 1.0
"""How long a removal waits for the claim on an environment."""
DESCRIPTION = "environment.json"
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


def realise_with(request: EnvironmentRequest, folder: Path, build: Callable[[Path], Environment]) -> Environment:
    """The environment at `folder`. If it does not exist yet, `build` makes it in a temporary folder.

    Raises what `build` raises, DiskFull, StoreUnusable.
    """
    if known := load(folder):
        return known
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with claimed(_claim_of(folder)):  # waits for another process or thread that builds it
            return load(folder) or _make(request, folder, build)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"cannot realise {request.label}: no space left on the disk") from error
        raise StoreUnusable(f"cannot realise {request.label}: {error}") from error


def _claim_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[bool]:
    """Keeps an environment from being removed; yields False while another process builds or removes it."""
    with _claim_of(folder).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield folder.is_dir()


def remove_environment(folder: Path) -> bool:
    """Removes an environment that is not in use. Returns whether it is removed."""
    import shutil

    with _claim_of(folder).open("ab") as file:
        if not _claim_exclusively(file):
            return False
        if folder.is_symlink():  # the environment belongs to another store
            folder.unlink()
            return True
        (folder / DESCRIPTION).unlink(missing_ok=True)  # no environment from here on, even if this process is killed
        shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _claim_exclusively(file: IO[bytes]) -> bool:
    """Takes the claim exclusively. Between fork and exec a child process holds our own open files, and so the claim:
    this is over in a moment, so a busy claim is tried again for CLAIM_SECONDS."""
    end = time.monotonic() + CLAIM_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        else:
            return True


def remove_unfinished(parent: Path) -> None:
    """Removes the partial environments of killed processes. One that is being built stays."""
    import shutil

    for left in parent.glob("*.partial-*"):
        claim = parent / f"{left.name.rpartition('.partial-')[0]}.lock"
        with claim.open("ab") as file, contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)


def _from_cache(index: PackageIndex, cache: WheelCache | None) -> PackageIndex:
    return replace(index, environment={**index.environment, "UV_CACHE_DIR": str(cache.folder)}) if cache else index


def _make(request: EnvironmentRequest, folder: Path, build: Callable[[Path], Environment]) -> Environment:
    import shutil
    import tempfile

    note_install(request)

    for left in folder.parent.glob(f"{escape(folder.name)}.partial-*"):  # of a killed process: this one holds the claim
        shutil.rmtree(left, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-{os.getpid()}-", dir=folder.parent))
    try:
        _describe(build(partial), partial)
        if folder.exists():  # damaged, or of another format
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    environment = load(folder)
    if environment is None:
        raise StoreUnusable(f"{folder} holds no environment after it was built", tip="remove it and run again")
    return environment


def note_install(request: EnvironmentRequest) -> None:
    """Lets tests count installs independently of the orchestrator's records."""
    if log := os.environ.get("IREE_MATRIX_INSTALL_LOG"):
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{request.label}\n")


def _build(request: EnvironmentRequest, info: PythonInfo, root: Path, index: PackageIndex) -> Environment:
    if request.toolchain:
        return _of_user_tools(request, request.toolchain, info, root)
    if request.built:
        return _without_tools(request, info, root)
    index.venv(root, info.path)
    if not request.bare:
        index.install(root, request.lock)
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


def _describe(environment: Environment, root: Path) -> None:
    """Writes the description that makes a folder an environment."""
    record = {
        "format": ENVIRONMENT_FORMAT,
        "request": environment.request_label,
        "engine": environment.engine,
        "digest": environment.digest,
        "python_version": environment.python_version,
        "c_library": environment.c_library,
        "tools": dict(environment.tools),
        "distributions": [list(pair) for pair in environment.distributions],
        "launcher": list(environment.launcher),
        "emulator": environment.emulator,
    }
    with (root / DESCRIPTION).open("w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


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
        tools=tools,
        distributions=user_tools.tool_versions(root, tools),
    )


def load(folder: Path) -> Environment | None:
    """The environment at `folder`; None if there is none, or one of another format."""
    try:
        read = json.loads((folder / DESCRIPTION).read_bytes())
        if read["format"] != ENVIRONMENT_FORMAT:
            return None
        return Environment(
            request_label=read["request"],
            engine=read["engine"],
            digest=read["digest"],
            root=folder,
            python_version=read["python_version"],
            c_library=read["c_library"],
            tools=read["tools"],
            distributions=tuple((name, version) for name, version in read["distributions"]),
            launcher=tuple(read.get("launcher", ())),
            emulator=read.get("emulator", ""),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
    )


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
