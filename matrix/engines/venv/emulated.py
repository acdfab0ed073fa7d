"""Environments of another machine: the programs of its wheels, its C library, and the emulator that runs them here.

The tools in the wheels are native binaries, so no Python of that machine is needed: a job starts the emulator with the
tool. The emulator is started by name; nothing is registered with the kernel, and no root rights are needed.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from matrix.engines.venv.kind import VENV
from matrix.environments.folders import realise_with
from matrix.builds.counter import PLUGINS, Counter, start_script
from matrix.builds.tools import OTHER_EMULATORS, SYSTEM_SET, emulator_set
from matrix.core import processes
from matrix.images.workshop import Workshop
from matrix.images.debian.lock import BaseLock, MachineBase
from matrix.core.errors import NotRunnable
from matrix.engines.contract import tool_line
from matrix.core.errors import EngineMissing
from matrix.core.keys import Json, digest, sha256
from matrix.core.records import Environment, EnvironmentRequest, Platform
from matrix.core.versions import did_you_mean
from matrix.plan.targets import SYSROOT
from matrix.environments.user_tools import PROBE_OPTIONS, WHEEL_FOLDERS, install_toolchain, unpack_wheel
from matrix.images.debian.unpacked import TOOLS_MACHINE, ToolLock, read_set, unpack_debs
from matrix.environments.wheels import fetch_wheels
from matrix.plan.backends.iree.source_builds import RUNNER
from matrix.plan.locks import pinned_packages

EMULATED_FORMAT = 1
EMULATOR_SECONDS = 60.0
MACHINE_WORD = "-M"
"""Of an emulator of boards; the board's name follows."""
SITE, EMULATOR, ROOT = "site", "emulator", "sysroot"
"""The content of an environment's folder: the files of the wheels, and links to the emulator and to the C library."""
SYSROOT_LIBRARIES = ("lib*", "usr/lib*")
"""Folders of a sysroot with shared libraries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedEnvironments:
    """Makes such environments in a store: `shop` has its locks and fetched files, `store` is its folder."""

    shop: Workshop
    store: Path

    def recipe(self, request: EnvironmentRequest) -> str:
        """sha256 of all inputs of an environment. Raises EngineMissing if this machine lacks one."""
        words = list(_platform(request).emulator)
        asked: dict[str, Json] = {"format": EMULATED_FORMAT, "lock": request.lock.digest, "python": request.python}
        return digest({**asked, "launcher": words, **self._identity(request)})

    def realise(self, request: EnvironmentRequest, folder: Path) -> Environment:
        """The environment at `folder`, built if it does not exist yet.

        Raises NotRunnable if the emulator does not run its tools, EngineMissing, and the errors of fetching.
        """
        return realise_with(request, folder, lambda root: self._build(request, root))

    def _build(self, request: EnvironmentRequest, root: Path) -> Environment:
        platform = _platform(request)
        tools, held = self.install_tools(request, root)
        program = self._program(platform, root)
        _link(root / EMULATOR, program)
        if _uses_sysroot(platform):
            self._place_libraries(request, root / ROOT)
        places = {SYSROOT: f"{{root}}/{ROOT}", **{word: f"{{root}}/{each.file}" for word, each in PLUGINS.items()}}
        words = [functools.reduce(lambda said, pair: said.replace(*pair), places.items(), word) for word in platform.emulator]
        environment = Environment(
            request_label=request.label,
            engine=VENV.name,
            digest=digest({"tools": held, **self._identity(request)}),
            root=root,
            python_version=request.python,
            c_library=self._c_library(request),
            tools=tools,
            distributions=() if request.toolchain or request.built else request.lock.pins,
            launcher=(f"{{root}}/{EMULATOR}", *words[1:]),
            emulator=f"{_version(program)}, as {' '.join(platform.emulator)}",
        )
        if MACHINE_WORD in platform.emulator:
            _try_machine(program, platform)
        if not request.built:
            _try(environment, platform)
        return environment

    # -- tools

    def install_tools(self, request: EnvironmentRequest, root: Path) -> tuple[dict[str, str], dict[str, str]]:
        """(tool -> path relative to `root`, the digests of the tools)."""
        if request.built:
            return {}, {}
        if request.toolchain:
            return install_toolchain(request.toolchain, root), {"toolchain": request.toolchain.digest}
        python, machine = request.python, _platform(request).machine
        named = {name for name, _ in request.lock.pins}  # the other packages are for the Python of the pinned ones
        wanted = [package for package in pinned_packages(request.lock, python=python, machine=machine) if package.name in named]
        glibc, index, files = self._base(request).glibc, self.shop.index.at(request.lock.places), self.shop.files
        wheels = fetch_wheels(wanted, python=python, machine=machine, glibc=glibc, index=index, files=files)
        for wheel in wheels:
            path = self.shop.files.find(wheel.sha256)
            assert path is not None  # it was just fetched
            unpack_wheel(path, root / SITE)
        return dict(_programs(root)), {wheel.file: wheel.sha256 for wheel in wheels}

    # -- emulator and C library

    def _identity(self, request: EnvironmentRequest) -> dict[str, str]:
        """The digests of the emulator and the C library. The emulator's options are in the commands of the jobs."""
        platform = _platform(request)
        return {
            "machine": platform.machine,
            "emulator": self._program_identity(platform),
            "libraries": self._libraries(request) if _uses_sysroot(platform) else "",
        }

    @property
    def _counter(self) -> Counter:
        return Counter(shop=self.shop, store=self.store)

    def _program_identity(self, platform: Platform) -> str:
        if word := _plugin(platform):
            return self._counter.identity(platform.emulator[0], word)
        if _is_locked(platform):
            return f"{platform.emulator[0]} of {self._emulators(platform)[0].on(TOOLS_MACHINE).layer}"
        return sha256(_on_this_machine(platform))

    def _emulators(self, platform: Platform) -> tuple[ToolLock, str]:
        """The locked set with an emulator, and its program there."""
        name, program = emulator_set(platform.emulator[0])
        return read_set(self.shop.images / "armv6", name), program

    def _program(self, platform: Platform, root: Path) -> Path:
        """The path of the emulator for the environment at `root`. A locked one is fetched and unpacked if it is
        missing."""
        if word := _plugin(platform):
            return self._counter.install(platform.emulator[0], word, root)
        if not _is_locked(platform):
            return _on_this_machine(platform)
        lock, name = self._emulators(platform)
        tree = unpack_debs(lock, TOOLS_MACHINE, self.store, source=lambda: self.shop.sources)
        path = tree.path / "usr" / "bin" / name
        if not path.is_file():
            known = ", ".join(sorted(each.name for each in path.parent.glob("qemu-*-static")))
            raise NotRunnable(f"the locked emulators have no {platform.emulator[0]}, expected one of {known}")
        return start_script(root, SYSTEM_SET, tree, name) if lock.name.endswith(f"-{SYSTEM_SET}.toml") else path

    def _libraries(self, request: EnvironmentRequest) -> str:
        """The C library, by its digest."""
        given, among = _platform(request).sysroot, _platform(request).packages
        if among:
            return f"{among} of {self._set(among).on(TOOLS_MACHINE).layer}"
        return self._locked_libraries(request).layer if given is None else _shared_libraries(given)

    def _c_library(self, request: EnvironmentRequest) -> str:
        platform = _platform(request)
        if not _uses_sysroot(platform):
            return "in the program"
        if platform.packages:
            return f"of {self._set(platform.packages).name}"
        given = platform.sysroot
        return (
            f"glibc {self._base(request).glibc}"
            if given is None
            else f"of {given.name}, {_shared_libraries(given)[:12]}"
        )

    def _sysroot(self, request: EnvironmentRequest) -> Path:
        """The folder with the C library. Locked packages are fetched and unpacked if they are missing."""
        platform = _platform(request)
        if platform.sysroot is not None:
            return platform.sysroot
        if platform.packages:
            tree = unpack_debs(self._set(platform.packages), TOOLS_MACHINE, self.store, source=lambda: self.shop.sources)
            return tree.path / platform.packages.partition("/")[2]
        base = self._base(request)
        return unpack_debs(base, platform.machine, self.store, source=lambda: self.shop.sources).path

    def _place_libraries(self, request: EnvironmentRequest, place: Path) -> None:
        """The C library as a folder of the environment: a link, but where instructions are counted."""
        found = self._sysroot(request)
        if _plugin(_platform(request)):
            self._counter.furnish(found, place)
        else:
            _link(place, found)

    def _set(self, packages: str) -> ToolLock:
        return read_set(self.shop.images / "armv6", packages.partition("/")[0])

    def _locked_libraries(self, request: EnvironmentRequest) -> MachineBase:
        machine = _platform(request).machine
        found = next((each for each in self._base(request).machines if each.machine == machine), None)
        if found is None:
            raise EngineMissing(
                f"no C library for {machine} is locked in {self._base(request).name}",
                tip="give the target a `sysroot`, or link its runtime statically and leave {sysroot} out",
            )
        return found

    def _base(self, request: EnvironmentRequest) -> BaseLock:
        base = self.shop.bases().get(request.python)
        if base is None:
            raise EngineMissing(f"no base for Python {request.python}", tip="see wanted.toml in images/base")
        return base


def _platform(request: EnvironmentRequest) -> Platform:
    assert request.platform is not None  # the engine only asks for such environments
    return request.platform


def _uses_sysroot(platform: Platform) -> bool:
    return any(SYSROOT in word for word in platform.emulator)


def _plugin(platform: Platform) -> str:
    """The word of its argv that means a plugin, or ""."""
    return next((word for word in platform.emulator if word in PLUGINS), "")


def _is_locked(platform: Platform) -> bool:
    """Debian's names of static emulators, and those of boards; the locked ones are programs for one machine."""
    name = platform.emulator[0]
    locked = name in OTHER_EMULATORS or (name.startswith("qemu-") and name.endswith("-static"))
    return locked and not platform.program and os.uname().machine == TOOLS_MACHINE


def _on_this_machine(platform: Platform) -> Path:
    found = shutil.which(platform.program or platform.emulator[0])
    if found is None:
        raise EngineMissing(
            f"the emulator {platform.program or platform.emulator[0]} is not on this machine",
            tip=f"install it, or name a locked one: qemu-{platform.machine}-static",
        )
    return Path(found).resolve()


def _shared_libraries(sysroot: Path) -> str:
    """sha256 of the shared libraries in a user's own folder."""
    if not sysroot.is_dir():
        raise EngineMissing(f"the sysroot {sysroot} is no folder", tip="`sysroot` is relative to the spec's folder")
    found = sorted(path for folder in SYSROOT_LIBRARIES for path in sysroot.glob(f"{folder}/**/*.so*") if path.is_file())
    return digest([[path.relative_to(sysroot).as_posix(), sha256(path)] for path in found])


def _link(place: Path, target: Path) -> None:
    """A relative path within the store, so that the store can be moved."""
    inside = target.is_relative_to(place.parents[2])
    place.symlink_to(os.path.relpath(target, place.parent) if inside else target)


def _programs(root: Path) -> Iterator[tuple[str, str]]:
    """Tool -> path relative to `root`; the preferred folder comes last and wins."""
    for folder in reversed(WHEEL_FOLDERS):
        for path in sorted((root / SITE / folder).glob("*")):
            if "." not in path.name and path.is_file() and os.access(path, os.X_OK):
                yield path.name, path.relative_to(root).as_posix()


def _version(program: Path) -> str:
    """The first line of the emulator's `--version`."""
    done = processes.run([str(program), "--version"], timeout=EMULATOR_SECONDS)
    return (done.stdout.splitlines() or [program.name])[0]


def _try_machine(program: Path, platform: Platform) -> None:
    """Asks the emulator for the boards that it knows. Raises NotRunnable for another one."""
    name = platform.emulator[platform.emulator.index(MACHINE_WORD) + 1].partition(",")[0]
    done = processes.run([str(program), MACHINE_WORD, "help"], timeout=EMULATOR_SECONDS)
    known = [line.split()[0] for line in done.stdout.splitlines()[1:] if line.strip()]
    if name not in known:
        raise NotRunnable(
            f"{platform.emulator[0]} has no board {name!r}{did_you_mean(name, known)}; "
            f"`{platform.emulator[0]} {MACHINE_WORD} help` lists the {len(known)} that it has"
        )


def _try(environment: Environment, platform: Platform) -> None:
    """Starts a tool once, so that a refusal of the emulator is reported once and not for every job. Raises
    NotRunnable."""
    tool = RUNNER
    line = tool_line((*platform.emulator, tool, PROBE_OPTIONS[tool]), environment)
    done = processes.run(line, timeout=EMULATOR_SECONDS, env={"PATH": os.defpath, "LANG": "C"})
    if not done.ok:
        said = (done.output.splitlines() or [f"exit code {done.exit_code}"])[-1]
        said = f"no end after {EMULATOR_SECONDS:g} s" if done.timed_out else said.replace(str(environment.root), "")
        raise NotRunnable(
            f"{' '.join(platform.emulator)} does not run {tool}: {said}; `{platform.emulator[0]} -cpu help` lists the "
            "CPUs, `readelf -l` says which C library a program wants"
        )
