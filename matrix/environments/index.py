"""The only access to the package index: lists releases, resolves locks, installs and downloads wheels.

Everything goes through uv and pip, so the project holds no address of an index. uv does not read pip's settings, so
they are translated for it (`pip_settings`). The user's own settings of uv win.
"""

from __future__ import annotations

import datetime
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matrix.core import processes
from matrix.core.errors import (
    DiskFull,
    EngineMissing,
    IndexUnreachable,
    MatrixError,
    ModelUnusable,
    NotInstallable,
    ResolutionRefused,
)
from matrix.core.processes import Completed
from matrix.core.records import Lock
from matrix.environments.index_failures import (
    INDEX_TIP,
    cause_in,
    classify_failure,
    torn_in_cache,
    versions_in,
    without_wheel,
    yanked_in,
)
from matrix.environments.interpreters import running, uv_binary
from matrix.environments.pip_settings import as_uv_variables, read_pip_settings
from matrix.plan.locks import normal, variant_of

RESOLVE_SECONDS = 300.0

INSTALL_SECONDS = 3600.0

QUERY_SECONDS = 120.0

FIND_LINKS, OWN_INDEX = "--find-links=", "--index="
"""What a user's own place begins with, as uv reads it."""
OTHER_PLACES = ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX")

PYTHONS_OF_WHEELS = tuple(f"3.{minor}" for minor in range(8, 16))

DECIDED_HERE = (
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "UV_SYSTEM_PYTHON",
    "UV_PYTHON",
    "UV_COMPILE_BYTECODE",
    "UV_TORCH_BACKEND",
    "PYTHONHOME",
    "PYTHONPATH",
)
"""Variables that would direct uv to another environment, or to another variant of torch. uv does not get them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageIndex:
    """The index that this machine is configured to use. `environment` holds all variables that uv and pip get.
    `places` are a user's own folders and indexes beside it: `--find-links=PLACE`, `--index=ADDRESS`."""

    environment: Mapping[str, str]
    options: tuple[str, ...] = ()
    offline: bool = False
    places: tuple[str, ...] = ()

    def at(self, places: tuple[str, ...]) -> PackageIndex:
        """The same index with a user's own places."""
        return replace(self, places=places)

    def releases(self, package: str, *, pythons: Sequence[str]) -> list[str]:
        """The final releases with a wheel for one of `pythons` (`3.11`), newest first.

        pip lists the releases for one Python at a time. Raises IndexUnreachable where there is no release at all.
        """
        from concurrent.futures import ThreadPoolExecutor

        from packaging.version import Version

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda python: self._releases(package, python), pythons))
        found = {version for answer in answers for version in answer}
        if not found:
            raise IndexUnreachable(f"the index offers no release of {package}", tip=INDEX_TIP)
        return sorted((version for version in found if not Version(version).is_prerelease), key=Version, reverse=True)

    def _releases(self, package: str, python: str) -> list[str]:
        """The releases for one Python."""
        words = ["index", "versions", package, "--python-version", python, "--only-binary", ":all:"]
        return versions_in(self._pip([*words, "--disable-pip-version-check"], timeout=QUERY_SECONDS))

    def versions_at(self, place: str, package: str, *, python: str) -> list[str]:
        """All versions of a package at one place alone, nightly builds and release candidates too, with a wheel for a
        Python on this machine. Raises IndexUnreachable."""
        words = ["index", "versions", package, "--pre", "--python-version", python, "--only-binary", ":all:"]
        words += [self._for_pip(place), *(["--no-index"] if place.startswith(FIND_LINKS) else [])]
        kept = {name: value for name, value in self.environment.items() if name not in OTHER_PLACES}
        alone = replace(self, environment=kept)
        asked = alone._pip([*words, "--disable-pip-version-check"], timeout=QUERY_SECONDS)
        try:
            return versions_in(asked)
        except IndexUnreachable:
            raise IndexUnreachable(
                f"{place.replace('=', ' ', 1)} does not answer: {cause_in(asked.output)}",
                tip="check the address and the network: `curl ADDRESS`; a proxy and certificates are those of pip",
            ) from None

    @staticmethod
    def _for_pip(place: str, option: str = "--index-url=") -> str:
        return place.replace(OWN_INDEX, option, 1) if place.startswith(OWN_INDEX) else place

    def _pip(self, words: Sequence[str], *, timeout: float) -> Completed:
        """Runs the first pip of this machine that works, on the same index as uv."""
        env = dict(self.environment)
        if set_for_uv := env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL"):
            env.setdefault("PIP_INDEX_URL", set_for_uv)
        with tempfile.TemporaryDirectory(prefix="iree-matrix-pip-") as scratch:  # a killed pip leaves folders
            for pip in self._pips():
                done = processes.run([*pip, *words], timeout=timeout, env={**env, "TMPDIR": scratch})
                if "No module named pip" not in done.output:
                    return done
        raise EngineMissing("no pip on this machine", tip="install it: python -m ensurepip")

    def _pips(self) -> Iterator[list[str]]:
        from importlib.util import find_spec

        if find_spec("pip"):
            yield [sys.executable, "-m", "pip"]
        else:
            yield [str(running().path), "-m", "pip"]
        yield [uv_binary(), "tool", "run", "--quiet", "pip"]

    def resolve(
        self, requirements: Sequence[str], *, lowest_python: str, variant: str = "cuda", previous: str = ""
    ) -> str:
        """The text of a lock without its header: all wheels for every Python from `lowest_python` on, with hashes.

        Versions in the `previous` text are kept where they still fit, so that a new numpy does not change all locks.
        Raises ResolutionRefused, IndexUnreachable, DiskFull or MatrixError.
        """
        with tempfile.TemporaryDirectory(prefix="lock-") as scratch:
            folder = Path(scratch)
            wanted, lock = folder / "requirements.in", folder / "lock.txt"
            wanted.write_text("\n".join(requirements) + "\n", encoding="utf-8")
            lock.write_text(without_hashes(previous), encoding="utf-8")
            argv = [uv_binary(), "pip", "compile", wanted.name, "--output-file", lock.name]
            argv += ["--universal", "--generate-hashes", "--no-build", "--no-header", "--no-annotate", "--no-config"]
            argv += ["--python", str(running().path), "--python-version", lowest_python]
            done = self._uv(argv, variant, RESOLVE_SECONDS, folder)
            what = "cannot resolve " + " ".join(requirements)
            if not done.ok:
                try:
                    raise classify_failure(done, what=what, where="the requirements")
                except NotInstallable as refused:
                    raise ResolutionRefused(f"{what}: {refused.reason}", tip=refused.reason) from None
            if yanked := yanked_in(done.stderr, requirements):
                raise ResolutionRefused(f"{what}: {yanked}", tip=yanked)
            return lock.read_text(encoding="utf-8")

    def offered(self, requirements: Sequence[str], *, variant: str = "cuda") -> str:
        """What the index has of exact requirements, as the text of a lock with the hashes of all their wheels; empty:
        it lacks one. Raises IndexUnreachable, DiskFull."""
        return self._alone(requirements, "lock.txt", variant, "--generate-hashes")

    def uploaded(self, requirement: str) -> datetime.date | None:
        """The day (UTC) on which the first wheel of an exact requirement was uploaded; None if the index does not say.
        Raises IndexUnreachable, DiskFull."""
        found = tomllib.loads(self._alone([requirement], "pylock.toml", "cuda")).get("packages", ())
        wheels = [wheel for package in found for wheel in package.get("wheels", ())]
        times = [wheel["upload-time"] for wheel in wheels if "upload-time" in wheel]
        return min(times).astimezone(datetime.UTC).date() if times else None

    def _alone(self, requirements: Sequence[str], name: str, variant: str, *options: str) -> str:
        """A lock of exact requirements without what they depend on, in the form that its `name` means."""
        with tempfile.TemporaryDirectory(prefix="offered-") as scratch:
            folder = Path(scratch)
            wanted, lock = folder / "requirements.in", folder / name
            wanted.write_text("\n".join(requirements) + "\n", encoding="utf-8")
            argv = [uv_binary(), "pip", "compile", wanted.name, "--output-file", lock.name, "--no-deps", "--universal"]
            argv += ["--no-build", "--no-header", "--no-annotate", "--no-config", "--python", str(running().path)]
            for python in PYTHONS_OF_WHEELS:  # the oldest with which the packages resolve says most
                done = self._uv([*argv, *options, "--python-version", python], variant, RESOLVE_SECONDS, folder)
                if done.ok:
                    return lock.read_text(encoding="utf-8")
                error = classify_failure(done, what="cannot ask for wheels", where="the lock")
                if isinstance(error, MatrixError):
                    raise error
        return ""

    def install(self, root: Path, lock: Lock, *, again: Sequence[str] = ()) -> None:
        """Installs exactly the wheels of a lock into the virtual environment at `root`; builds and compiles nothing.
        Those packages that are installed already stay, except `again`.

        Raises NotInstallable, IndexUnreachable, HashMismatch, DiskFull or MatrixError.
        """
        argv = [uv_binary(), "pip", "sync", str(lock.path.resolve()), "--require-hashes", "--no-build", "--no-config"]
        argv += ["--no-compile-bytecode", "--python", str(root / "bin" / "python")]
        argv += [f"--reinstall-package={package}" for package in again]
        done = self._uv(argv, variant_of(lock), INSTALL_SECONDS, root)
        if (torn := torn_in_cache(done)) and torn not in again:
            self.forget([torn])
            _forget_installed(root, torn)
            self.install(root, lock, again=(*again, torn))
        elif not done.ok:
            raise classify_failure(done, what=f"cannot install {lock.name}", where=f"{lock.name}.txt")

    def forget(self, packages: Sequence[str]) -> None:
        """Removes packages from uv's cache, where their files are damaged: they are fetched again. Raises
        MatrixError."""
        done = processes.run([uv_binary(), "cache", "clean", *packages], timeout=INSTALL_SECONDS, env=self.environment)
        if not done.ok:
            raise processes.failure(done, "cannot remove damaged wheels from uv's cache")

    def download(self, wanted: Path, *, python: str, machine: str, glibc: str, folder: Path) -> None:
        """Downloads the wheels of a requirements file into `folder`, for a Python (`3.11`), a machine and its C library
        (`2.36`). pip does it: uv has no such command.

        Raises NotInstallable, IndexUnreachable, HashMismatch, DiskFull or MatrixError.
        """
        newest = int(glibc.partition(".")[2])
        platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 4, -1)]
        platforms += [f"{name}_{machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1")]
        words = ["download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--no-cache-dir"]
        words += ["--python-version", python, "--implementation", "cp", "--abi", f"cp{python.replace('.', '')}"]
        words += ["--abi", "abi3", "--abi", "none"]
        words += [f"--platform={platform}" for platform in platforms]
        words += [self._for_pip(place, "--extra-index-url=") for place in self.places]
        words += ["--requirement", str(wanted), "--dest", str(folder), "--disable-pip-version-check"]
        done = self._pip(words, timeout=INSTALL_SECONDS)
        if not done.ok:
            if package := without_wheel(done.output):
                raise NotInstallable(f"{package} has no wheel for Python {python} on {machine}")
            raise classify_failure(
                done, what=f"cannot fetch wheels for Python {python} on {machine}", where=wanted.name
            )

    def build_wheel(self, source: Path, folder: Path, python: Path, *, what: str) -> None:
        """Builds the wheel of a folder or an sdist, with what its build asks for from the index. Raises ModelUnusable
        with the last words of the build, IndexUnreachable, DiskFull."""
        argv = [uv_binary(), "build", "--wheel", str(source), "--out-dir", str(folder), "--python", str(python)]
        done = self._uv([*argv, "--no-config", "--no-create-gitignore"], "", INSTALL_SECONDS, folder)
        if done.ok and any(folder.glob("*.whl")):
            return
        error = classify_failure(done, what=f"cannot build {what}", where="its build requirements")
        if isinstance(error, IndexUnreachable | DiskFull):
            raise error
        said = [
            line.strip() for line in done.output.splitlines() if line.strip() and not line.strip().startswith("hint")
        ]
        raise ModelUnusable(
            f"PACKAGES: {what} does not build: {' '.join(said[-3:])[:400]}",
            tip=f"build it by hand to see all: uv build --wheel {what}; or name the wheel",
        )

    def venv(self, root: Path, python: Path) -> None:
        """Creates an empty virtual environment at `root`, which can be moved. Raises DiskFull or MatrixError."""
        argv = [uv_binary(), "venv", str(root), "--python", str(python), "--relocatable"]
        argv += ["--no-project", "--no-config", "--no-python-downloads"]
        done = processes.run(argv, timeout=QUERY_SECONDS, env=self.environment, cwd=root.parent)
        if not done.ok:
            raise classify_failure(done, what=f"cannot make a virtual environment of {python}", where="uv venv")

    def ask(self, package: str, *, timeout: float) -> Completed:
        """Resolves a package without the cache, to see whether the index answers."""
        with tempfile.TemporaryDirectory(prefix="ask-") as scratch:
            argv = [uv_binary(), "pip", "compile", "-", "--no-deps", "--no-header", "--no-config", "--quiet"]
            argv += ["--python", str(running().path), "--no-cache", *self.options]
            env = {**self.environment, "UV_HTTP_RETRIES": "0"}
            return processes.run(argv, timeout=timeout, env=env, cwd=Path(scratch), stdin=package)

    def _uv(self, argv: list[str], variant: str, timeout: float, cwd: Path) -> Completed:
        backend = ["--torch-backend=cpu"] if variant == "cpu" else []
        offline = ["--offline"] if self.offline else []
        words = [*argv, *self.options, *self.places, *backend, *offline]
        return processes.run(words, timeout=timeout, env=self.environment, cwd=cwd)


def _forget_installed(root: Path, package: str) -> None:
    """Removes the description of a package that uv has installed in part: it may be torn, and then uv cannot replace
    the package. Its files are written again."""
    for folder in root.glob("lib/py*/site-packages/*.dist-info"):
        if normal(folder.name.partition("-")[0]) == normal(package):
            shutil.rmtree(folder, ignore_errors=True)


def configured_index(environ: Mapping[str, str] = os.environ, *, offline: bool = False) -> PackageIndex:
    """The index that pip and uv are configured to use on this machine. Starts no process."""
    settings = read_pip_settings(environ)
    environment = {name: value for name, value in environ.items() if name not in DECIDED_HERE}
    environment |= as_uv_variables(settings, environ) | {"COLUMNS": "1000"}  # uv wraps its messages at 80
    no_index = settings.get("no-index", "").lower() in ("1", "true", "yes", "on")
    return PackageIndex(environment=environment, options=("--no-index",) if no_index else (), offline=offline)


def without_hashes(text: str) -> str:
    """The requirements of a lock, as preferences for uv. It would accept the hashes even where they are wrong."""
    kept = (line.rstrip(" \\") for line in text.splitlines() if not line.lstrip().startswith(("#", "--hash")))
    return "".join(line + "\n" for line in kept if line)
