"""What this machine can do, and what to install for the rest. Asks everything, changes nothing, raises nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from matrix import index, processes, pythons
from matrix.engines.sandbox import find_sandbox
from matrix.errors import MatrixError
from matrix.locks import COMPILER_PACKAGE, read_wanted
from matrix.nixstore import NixStore, settings

ASK_SECONDS = 10.0
PORTABILITY_BYTES = 12 * 10**9
"""What a run of the `portability` preset needs: 7.5 GB of environments, the wheels in uv's cache, artifacts."""
OLDEST_UV = (0, 8)
V3_FLAGS = ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave")
"""x86-64-v3 as /proc/cpuinfo spells it (abm is lzcnt): what the shipped x86_64 target is compiled for."""

State: TypeAlias = Literal["ok", "warning", "missing"]
Check: TypeAlias = Callable[[], "Finding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `advice` is empty where nothing is to be done."""

    name: str
    state: State
    found: str
    advice: str = ""


def examine(store: Path, *, locks: Path | None = None) -> list[Finding]:
    """All findings, in the order of a page. `locks` is the folder of `wanted.toml`."""
    from concurrent.futures import ThreadPoolExecutor

    checks: list[tuple[str, Check]] = [
        *((f"Python {python}", lambda python=python: _python(python)) for python in _wanted_pythons(locks)),
        ("uv", _uv),
        ("package index", _package_index),
        ("disk", lambda: _disk(store)),
        ("uv's cache", lambda: _cache(store)),
        ("CPU", lambda: _cpu(Path("/proc/cpuinfo"), os.uname().machine)),
        ("process isolation", _isolation),
        ("git", _git),
        ("Docker", _docker),
        ("Nix", _nix),
        ("qemu-aarch64", lambda: _qemu("aarch64")),
        ("qemu-arm", lambda: _qemu("arm")),
    ]
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda row: _guarded(*row), checks))


def _guarded(name: str, check: Check) -> Finding:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a check that fails is itself a finding; the page must appear
        return Finding(name=name, state="warning", found=f"could not be checked: {error}")


def _wanted_pythons(locks: Path | None) -> Iterable[str]:
    try:
        if locks is None:
            from matrix.catalogue import data_root

            locks = data_root() / "images" / "locks"
        return read_wanted(locks).pythons
    except Exception:  # noqa: BLE001 - `lock` and `plan` report a damaged file; here the running Python must do
        return (pythons.running().minor,)


def _python(python: str) -> Finding:
    name = f"Python {python}"
    found = list(pythons.every(python))
    if not found:
        return Finding(
            name=name,
            state="missing",
            found="not on this machine",
            advice=f"`uv python install {python}`, `pyenv install {python}` or `apt install python{python}`",
        )
    chosen, *others = found
    also = "".join(f"; also {other.version} at {other.path}" for other in others)
    return Finding(name=name, state="ok", found=f"{chosen.version} at {chosen.path}{also}")


def _uv() -> Finding:
    binary = pythons.uv_binary()
    asked = processes.run([binary, "--version"], timeout=ASK_SECONDS)
    words = asked.stdout.split()
    version = words[1] if len(words) > 1 else ""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if not asked.ok or not numbers:
        return Finding(name="uv", state="missing", found=asked.tail or "no answer", advice="python -m pip install uv")
    if numbers < OLDEST_UV:
        return Finding(name="uv", state="warning", found=f"{version}, too old", advice="python -m pip install -U uv")
    return Finding(name="uv", state="ok", found=f"{version} at {binary}")


def _package_index() -> Finding:
    asked = index.configured().answers(COMPILER_PACKAGE, timeout=ASK_SECONDS)
    if asked.ok and asked.stdout.startswith(COMPILER_PACKAGE):
        return Finding(name="package index", state="ok", found=f"answers in {asked.seconds:.1f} s")
    trouble = str(index.classified(asked, what="asked", where="nothing")).splitlines()[0]
    return Finding(name="package index", state="warning", found=trouble, advice=index.INDEX_TIP)


def existing(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


def _disk(store: Path) -> Finding:
    free = shutil.disk_usage(existing(store)).free
    found = f"{free / 1e9:.0f} GB free at the store"
    if free >= PORTABILITY_BYTES:
        return Finding(name="disk", state="ok", found=found)
    advice = f"a portability run needs about {PORTABILITY_BYTES / 1e9:.0f} GB: free some, or give another --store"
    return Finding(name="disk", state="warning", found=found, advice=advice)


def _cache(store: Path) -> Finding:
    """Environments are hard links into uv's cache where both are on one disk: seconds and no space, else copies."""
    asked = processes.run([pythons.uv_binary(), "cache", "dir"], timeout=ASK_SECONDS, cwd=Path("/"))
    cache = existing(Path(asked.stdout.strip()))
    if cache.stat().st_dev == existing(store).stat().st_dev:
        return Finding(name="uv's cache", state="ok", found="on the store's disk: environments share its files")
    advice = "set UV_CACHE_DIR to a folder on the store's disk"
    found = "on another disk than the store: every environment is a copy"
    return Finding(name="uv's cache", state="warning", found=found, advice=advice)


def _cpu(cpuinfo: Path, machine: str) -> Finding:
    if machine != "x86_64":
        advice = "modules for x86_64 are compiled here but not run"
        return Finding(name="CPU", state="warning", found=machine, advice=advice)
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    lacking = [flag for flag in V3_FLAGS if flag not in flags]
    if not lacking:
        return Finding(name="CPU", state="ok", found="x86-64-v3, as the x86_64 target needs")
    found = f"below x86-64-v3: no {', '.join(lacking)}"
    advice = "modules of the x86_64 target will crash with an illegal instruction: run on another machine"
    return Finding(name="CPU", state="warning", found=found, advice=advice)


def _isolation() -> Finding:
    """A PID namespace takes all descendants of a killed worker along."""
    name = "process isolation"
    for user in ((), ("--user",)):
        argv = ["unshare", *user, "--fork", "--pid", "--kill-child", "true"]
        if processes.run(argv, timeout=ASK_SECONDS).ok:
            return Finding(name=name, state="ok", found="PID namespaces" + (" (of a user)" if user else ""))
    if shutil.which("unshare") is None:
        return Finding(name=name, state="missing", found="no unshare", advice="apt install util-linux")
    advice = "allow user namespaces; until then a killed worker may leave processes behind"
    return Finding(name=name, state="warning", found="PID namespaces are not allowed", advice=advice)


def _git() -> Finding:
    asked = processes.run(["git", "--version"], timeout=ASK_SECONDS)
    if asked.ok:
        return Finding(name="git", state="ok", found=asked.stdout.strip().removeprefix("git version "))
    return Finding(name="git", state="missing", found="not on the PATH", advice="apt install git (optional)")


def _docker() -> Finding:
    """The client and the daemon are two questions: the client is often there without the other."""
    if shutil.which("docker") is None:
        advice = "only --engine docker needs it; the default engine does not"
        return Finding(name="Docker", state="missing", found="not on the PATH", advice=advice)
    asked = processes.run(["docker", "version", "--format", "{{.Server.Version}}"], timeout=ASK_SECONDS)
    if asked.ok and asked.stdout.strip():
        return Finding(name="Docker", state="ok", found=f"daemon {asked.stdout.strip()}")
    lines = asked.output.splitlines() or ["it does not answer"]
    advice = "start the daemon or join its group; only --engine docker needs it"
    return Finding(name="Docker", state="warning", found=f"client only: {lines[0]}", advice=advice)


def _nix() -> Finding:
    """Nix, whether it builds in a sandbox, and whether jobs of its environments can be shut in."""
    try:
        found = settings()
        NixStore()
    except MatrixError as error:
        state: State = "warning" if shutil.which("nix-build") else "missing"
        return Finding(name="Nix", state=state, found=str(error), advice=f"{error.tip}; only --engine nix needs it")
    box = find_sandbox()
    said = f"{found.version}, builds {'in' if found.sandbox else 'without'} a sandbox; sandbox of jobs: {box.said}"
    if box.works:
        return Finding(name="Nix", state="ok", found=said)
    return Finding(name="Nix", state="warning", found=said, advice="apt install bubblewrap, and allow user namespaces")


def _qemu(machine: str) -> Finding:
    name = f"qemu-{machine}"
    binary = shutil.which(name) or shutil.which(f"{name}-static")
    if binary is None:
        advice = "nothing: the shipped targets bring their own; a target of one's own may name one of the PATH"
        return Finding(name=name, state="missing", found="not on the PATH", advice=advice)
    asked = processes.run([binary, "--version"], timeout=ASK_SECONDS)
    if not asked.ok:
        return Finding(name=name, state="warning", found=f"does not run: {asked.tail}", advice="reinstall qemu-user")
    return Finding(name=name, state="ok", found=asked.stdout.splitlines()[0].removeprefix(f"{name} version "))
