"""The verbs `doctor`, `lock` and `clean`: what this machine can do, new locks, and free space."""

from __future__ import annotations

import os
import shutil
from argparse import Namespace
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from matrix.core import processes
from matrix.core.disk import size_of
from matrix.core.errors import EXIT_OK, StoreUnusable
from matrix.core.text import plain_rows, say
from matrix.engines.choice import ENGINE_KINDS
from matrix.engines.confinement import examine_confinement
from matrix.engines.kind import Cleaning, Finding, workshop
from matrix.environments import interpreters
from matrix.environments.index import configured_index
from matrix.environments.index_failures import INDEX_TIP, classify_failure
from matrix.plan.stages import axes
from matrix.plan.wanted import read_wanted
from matrix.results.published.copies import Copies
from matrix.run.planning import load_spec
from matrix.run.store import Store

if TYPE_CHECKING:
    from matrix.images.workshop import Workshop
    from matrix.plan.locks import LockChange

CHECK_SECONDS = 10.0

PORTABILITY_BYTES = 12 * 10**9
"""The disk space for a run of the `portability` preset: 7.5 GB of environments, the wheels in uv's cache, artifacts."""

OLDEST_UV = (0, 8)

V3_FLAGS = ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave")
"""x86-64-v3 as in /proc/cpuinfo (abm is lzcnt): the shipped x86_64 target is compiled for it."""

Check: TypeAlias = Callable[[], Finding]


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
        ("confinement of jobs", examine_confinement),
        ("git", _git),
        *((kind.title, kind.examine) for kind in ENGINE_KINDS if kind.examine),
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
            from matrix.core.data import data_root

            locks = data_root() / "images" / "locks"
        return read_wanted(locks).pythons
    except Exception:  # noqa: BLE001 - `lock` and `plan` report a damaged file; here the running Python must do
        return (interpreters.running().minor,)


def _python(python: str) -> Finding:
    name = f"Python {python}"
    found = list(interpreters.find_all(python))
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
    binary = interpreters.uv_binary()
    asked = processes.run([binary, "--version"], timeout=CHECK_SECONDS)
    words = asked.stdout.split()
    version = words[1] if len(words) > 1 else ""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if not asked.ok or not numbers:
        return Finding(name="uv", state="missing", found=asked.tail or "no answer", advice="python -m pip install uv")
    if numbers < OLDEST_UV:
        return Finding(name="uv", state="warning", found=f"{version}, too old", advice="python -m pip install -U uv")
    return Finding(name="uv", state="ok", found=f"{version} at {binary}")


def _package_index() -> Finding:
    package = next(axis.package for axis in axes().values() if axis.package and axis.tool)
    asked = configured_index().ask(package, timeout=CHECK_SECONDS)
    if asked.ok and asked.stdout.startswith(package):
        return Finding(name="package index", state="ok", found=f"answers in {asked.seconds:.1f} s")
    trouble = str(classify_failure(asked, what="asked", where="nothing")).splitlines()[0]
    return Finding(name="package index", state="warning", found=trouble, advice=INDEX_TIP)


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
    """Environments are hard links into uv's cache if both are on one disk: this takes seconds and no space. Else they
    are copies."""
    asked = processes.run([interpreters.uv_binary(), "cache", "dir"], timeout=CHECK_SECONDS, cwd=Path("/"))
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
    """A PID namespace ends all descendants of a killed worker."""
    name = "process isolation"
    for user in ((), ("--user",)):
        argv = ["unshare", *user, "--fork", "--pid", "--kill-child", "true"]
        if processes.run(argv, timeout=CHECK_SECONDS).ok:
            return Finding(name=name, state="ok", found="PID namespaces" + (" (of a user)" if user else ""))
    if shutil.which("unshare") is None:
        return Finding(name=name, state="missing", found="no unshare", advice="apt install util-linux")
    advice = "allow user namespaces; until then a killed worker may leave processes behind"
    return Finding(name=name, state="warning", found="PID namespaces are not allowed", advice=advice)


def _git() -> Finding:
    asked = processes.run(["git", "--version"], timeout=CHECK_SECONDS)
    if asked.ok:
        return Finding(name="git", state="ok", found=asked.stdout.strip().removeprefix("git version "))
    return Finding(name="git", state="missing", found="not on the PATH", advice="apt install git (optional)")


def _qemu(machine: str) -> Finding:
    name = f"qemu-{machine}"
    binary = shutil.which(name) or shutil.which(f"{name}-static")
    if binary is None:
        advice = "nothing: the shipped targets bring their own; a target of your own may name one of the PATH"
        return Finding(name=name, state="missing", found="not on the PATH", advice=advice)
    asked = processes.run([binary, "--version"], timeout=CHECK_SECONDS)
    if not asked.ok:
        return Finding(name=name, state="warning", found=f"does not run: {asked.tail}", advice="reinstall qemu-user")
    return Finding(name=name, state="ok", found=asked.stdout.splitlines()[0].removeprefix(f"{name} version "))


def clean_store(store: Store, *, older_than_days: float, max_bytes: int | None, environments: bool) -> dict[str, int]:
    """Removes older results that no table shows, blobs that no result names, and unneeded data of engines; then, if
    asked or while the store is larger than `max_bytes`, environments, which are made again when needed. Copies of
    published results go where they are older; `--results` fetches them again.

    Returns the bytes freed by part. Raises StoreUnusable while a run uses the store.
    """
    if not store.claims.take_store(alone=True):
        raise StoreUnusable(f"{store.folder}: a run is using it", tip="clean when it is over")
    before = (datetime.now(UTC) - timedelta(days=older_than_days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    store.remove_results(older_than=before)
    freed = {"blobs": store.remove_unreferenced_blobs()}
    if (copies := Copies(store.folder)).folder.is_dir():
        freed["copies of published results"] = copies.remove_older(than=before)
    cleaning = Cleaning(
        places=store.places,
        needed=frozenset(store.environments_of_results()),
        environments=environments,
        excess_bytes=0 if max_bytes is None else max(0, size_of(store.folder) - max_bytes),
    )
    for kind in ENGINE_KINDS:
        freed |= kind.clean(cleaning) if kind.clean else {}
    return freed


def do_doctor(options: Namespace) -> int:
    """Checks the machine and prints what to install for the rest."""
    findings = examine(options.store)
    if options.spec:
        from matrix.engines.ssh.examining import boards_of, examine_boards

        spec = load_spec(options.spec)
        findings += examine_boards(boards_of(spec.targets, spec.base).values(), options.store)
    rows = [[finding.state, finding.name, finding.found, finding.advice] for finding in findings]
    print(plain_rows(rows, headers=("state", "what", "found", "what to do")))
    return EXIT_OK


def do_lock(options: Namespace) -> int:
    """Writes the locks, the bases, and the tables of layers and store paths again; the difference reads as an
    upgrade."""
    from matrix.environments.locking import lock_all
    from matrix.plan.locks import LockOutcome

    with Store(options.store) as store:
        shop = workshop(store.places)
        changes: list[LockChange] = []
        if not options.nix_only:
            changes += lock_all(shop.images / "locks", shop.index, upgrade=options.upgrade, progress=say)
        if not options.wheels_only:
            changes += _lock_images(shop, upgrade=options.upgrade, nix_only=options.nix_only)
    for change in changes:
        if change.change is not LockOutcome.UNCHANGED:
            print(f"{change.change:10} {change.name}  {change.detail}".rstrip())
    same = sum(1 for change in changes if change.change is LockOutcome.UNCHANGED)
    print(f"{len(changes)} locks, {same} as they were")
    return EXIT_OK


def _lock_images(shop: Workshop, *, upgrade: bool, nix_only: bool) -> list[LockChange]:
    """Locks what depends on the locks of wheels: bases, layers, store paths, and the tools; `nix_only`: the store paths
    alone."""
    from matrix.images.debian.base_locking import lock_all_bases
    from matrix.images.debian.tool_locking import lock_sets, lock_tools
    from matrix.images.nix.locking import lock_nix
    from matrix.images.workshop import lock_layers

    files, with_tools = shop.files.folder, [shop.images / name for name in ("armv6", "checkers")]
    files.mkdir(exist_ok=True)
    if nix_only:
        return list(lock_nix(shop, say, upgrade=upgrade))
    changes = [*lock_all_bases(shop.images / "base", files=files, source=shop.sources, progress=say)]
    changes += lock_layers(shop, say)
    changes += lock_nix(shop, say, upgrade=upgrade)
    for folder in (*with_tools, shop.images / "drivers"):
        changes += lock_sets(folder, files=files, source=shop.sources, progress=say)
    return [*changes, *(lock_tools(folder, shop.index, upgrade=upgrade) for folder in with_tools)]


def do_clean(options: Namespace) -> int:
    """Frees space, and keeps what a shown table needs."""
    with Store(options.store, create=False) as store:
        freed = clean_store(
            store,
            older_than_days=options.older_than,
            max_bytes=None if options.max_size is None else int(options.max_size * 1e9),
            environments=options.environments,
        )
        damage = store.shown_damage
    print(plain_rows([[part, f"{size / 1e6:.1f} MB"] for part, size in freed.items()], headers=("removed", "freed")))
    if damage:
        say(f"no result was removed: {damage}; run your tables again (finished jobs are reused), then clean")
    return EXIT_OK
