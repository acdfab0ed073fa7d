"""Virtual environments in the store: from a lock to a folder that tools can be started from.

A folder appears under its name by one rename, complete. A process that is killed while it builds leaves a folder
`<name>.partial-<pid>-…`, which the next one removes. `<name>.lock` is the claim on building it.
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

from matrix.core.errors import DiskFull, NotInstallable, StoreUnusable
from matrix.core.keys import digest
from matrix.core.records import Environment, EnvironmentRequest, Toolchain
from matrix.environments import user_tools
from matrix.environments.index import PackageIndex, configured
from matrix.environments.interpreters import PythonInfo
from matrix.environments.wheel_cache import WheelCache

FORMAT = 1
CLAIM_SECONDS = 1.0
"""How long a removal waits for the claim on an environment."""
DESCRIPTION = "environment.json"
SCRIPTS = "../../../bin/"
INSTALLERS_OWN = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json")
"""Files in a `.dist-info` that the installer wrote and that say nothing about the wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What lies in a site-packages folder: (name, version) pairs, and (path, hash) of every file by its RECORD."""

    distributions: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]


def recipe(request: EnvironmentRequest, info: PythonInfo, *, engine: str = "venv") -> str:
    """sha256 over all that decides what would be realised: the name of the environment's folder in the store."""
    return digest({"format": FORMAT, "engine": engine, "lock": request.lock.digest, **_platform(info)})


def realise(
    request: EnvironmentRequest,
    info: PythonInfo,
    folder: Path,
    *,
    index: PackageIndex | None = None,
    cache: WheelCache | None = None,
    furnish: Callable[[Path, Environment], Environment] | None = None,
) -> Environment:
    """The environment at `folder`, built if it is not there yet; `cache` is where its wheels go, or uv's own.
    `furnish` adds to what was installed in a folder, and says what the environment then is.

    Raises NotInstallable with the reason, or IndexUnreachable, HashMismatch, DiskFull, StoreUnusable, MatrixError.
    """
    packages = _from_cache(index or configured(), cache)

    def build(root: Path) -> Environment:
        with cache.in_use() if cache else contextlib.nullcontext():
            bare = _build(request, info, root, packages)
        return furnish(root, bare) if furnish else bare

    return made(request, folder, build)


def made(request: EnvironmentRequest, folder: Path, build: Callable[[Path], Environment]) -> Environment:
    """The environment at `folder`, which `build` makes in another one if it is not there yet.

    Raises what `build` raises, DiskFull, StoreUnusable.
    """
    if known := load(folder):
        return known
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _claimed(folder):  # another process or thread may be making it: then wait for it
            return load(folder) or _make(request, folder, build)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"cannot realise {request.label}: no space left on the disk") from error
        raise StoreUnusable(f"cannot realise {request.label}: {error}") from error


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Hold the claim on a folder: a lock that the kernel releases when its holder dies."""
    with folder.with_name(f"{folder.name}.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def used(folder: Path) -> Iterator[bool]:
    """Keeps an environment from being removed while it is used; False while another makes or removes it."""
    with folder.with_name(f"{folder.name}.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield folder.is_dir()


def remove(folder: Path) -> bool:
    """Removes an environment that nobody uses. Says whether it is gone."""
    import shutil

    with folder.with_name(f"{folder.name}.lock").open("ab") as file:
        if not _alone(file):
            return False
        if folder.is_symlink():  # somebody lent it to this store
            folder.unlink()
            return True
        (folder / DESCRIPTION).unlink(missing_ok=True)  # from here on it is none, also if we are killed
        shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _alone(file: IO[bytes]) -> bool:
    """Takes the claim for itself. A process that is being started has our own files open until it is another program:
    that passes in a moment, and is no use by somebody else."""
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
    """Removes what killed processes left of environments; one that is being made stays."""
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

    for left in folder.parent.glob(f"{escape(folder.name)}.partial-*"):  # of a killed process: we hold the claim
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
    """Lets a test count installs by a way other than the orchestrator's own records."""
    if log := os.environ.get("IREE_MATRIX_INSTALL_LOG"):
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{request.label}\n")


def _build(request: EnvironmentRequest, info: PythonInfo, root: Path, index: PackageIndex) -> Environment:
    if request.toolchain:
        return _own(request, request.toolchain, info, root)
    if request.built:
        return _nothing(request, info, root)
    index.venv(root, info.path)
    index.install(root, request.lock)
    return inspect(request, info, root)


def _nothing(request: EnvironmentRequest, info: PythonInfo, root: Path) -> Environment:
    """What a runtime that was built runs in: this machine, and no tool beside it."""
    return Environment(
        request_label=request.label,
        engine="venv",
        digest=digest({"built": True, **_platform(info)}),
        root=root,
        python_version=info.version,
        c_library=info.c_library,
        tools={},
        distributions=(),
    )


def _describe(environment: Environment, root: Path) -> None:
    """Writes down what an environment is: from then on it is one."""
    record = {
        "format": FORMAT,
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


def _own(request: EnvironmentRequest, toolchain: Toolchain, info: PythonInfo, root: Path) -> Environment:
    """A user's own tools. Raises NotInstallable where they do not run on this machine."""
    tools = user_tools.lay_out(toolchain, root)
    if reason := user_tools.why_not(root, tools):
        raise NotInstallable(reason)
    platform = _platform(info)
    return Environment(
        request_label=request.label,
        engine="venv",
        digest=digest(
            {"toolchain": toolchain.digest, "c_library": platform["c_library"], "machine": platform["machine"]}
        ),
        root=root,
        python_version=info.version,
        c_library=info.c_library,
        tools=tools,
        distributions=user_tools.versions(root, tools),
    )


def load(folder: Path) -> Environment | None:
    """The environment that `realise` left at `folder`; None if there is none, or one of another format."""
    try:
        read = json.loads((folder / DESCRIPTION).read_bytes())
        if read["format"] != FORMAT:
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
    """What an installed virtual environment is: its digest, tools and distributions."""
    site = next(root.glob("lib/py*/site-packages"))
    installed = read_site(site)
    return Environment(
        request_label=request.label,
        engine="venv",
        digest=realised_digest(info, installed.files),
        root=root,
        python_version=info.version,
        c_library=info.c_library,
        tools=_tools(root, site, [path for path, _ in installed.files]),
        distributions=installed.distributions,
    )


def read_site(site: Path) -> Installed:
    """The distributions of a site-packages folder and their RECORDs, without reading a file of theirs."""
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
    """sha256 of what was realised: interpreter, C library, machine, every file of the wheels. No path of the machine.

    The same in every folder and on every machine: what the installer adds (its own notes, scripts whose first line
    names a path, byte code) is left out.
    """
    lines = sorted(f"{path} {content}" for path, content in files if _of_the_wheel(path, content))
    return digest({"format": FORMAT, "files": lines, **_platform(info)})


def _of_the_wheel(path: str, content: str) -> bool:
    name = path.rpartition("/")[2]
    own = name in INSTALLERS_OWN and ".dist-info/" in path
    return bool(content) and not own and not path.startswith(SCRIPTS) and not name.endswith(".pyc")


def _platform(info: PythonInfo) -> dict[str, str]:
    return {
        "python": info.version,
        "implementation": info.implementation,
        "c_library": info.c_library,
        "machine": info.machine,
    }


def _tools(root: Path, site: Path, paths: list[str]) -> Mapping[str, str]:
    """Tool -> path relative to `root`: the wheels' own binaries, else the scripts in `bin`."""
    tools: dict[str, str] = {}
    for folder in user_tools.WHEEL_FOLDERS:
        for path in paths:
            parent, _, name = path.rpartition("/")
            if parent == folder and "." not in name and os.access(site / path, os.X_OK):
                tools.setdefault(name, (site / path).relative_to(root).as_posix())
    for path in paths:
        if path.startswith(SCRIPTS) and os.access(site / path, os.X_OK):
            tools.setdefault(path.removeprefix(SCRIPTS), "bin/" + path.removeprefix(SCRIPTS))
    return dict(sorted(tools.items()))
