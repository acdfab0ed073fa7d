"""The work of `nox -s lock`: a lock for every release that `wanted.toml` allows, and for every exporter in it.

Only changed files are written. Versions of other packages in a lock are kept if they still fit: a new numpy must not
change every environment, and with it every job. `upgrade` takes the newest versions instead.
"""

from __future__ import annotations

import datetime
import itertools
import json
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from packaging.version import Version

from matrix.core import processes
from matrix.core.errors import IndexUnreachable, LockFault, ResolutionRefused
from matrix.core.versions import SelectorFault, ascending, select
from matrix.plan.locks import DATES, REFUSED, LockChange, LockOutcome, header, lock_name, normal, release_dates
from matrix.plan.stages import environments
from matrix.plan.wanted import WANTED, CombinedWish, PackageWish, Wanted, axis_packages, read_wanted

RESOLUTIONS_AT_ONCE = 4
DATES_HEAD = """\
# The day (UTC) on which the package index got each release: its first wheel. Written by `nox -s lock`.
format = 1
"""
PYTHON_FROM = "# python: "
BECAUSE_OF_PYTHON = re.compile(r"Python ?[<>=!~]|Python version|Python (?:implementation |ABI )?tag", re.IGNORECASE)
"""Marks a resolver's reason that another Python may solve."""


class Resolver(Protocol):
    """The part of the package index that locking needs."""

    def releases(self, package: str, *, pythons: Sequence[str]) -> list[str]: ...

    def uploaded(self, requirement: str) -> datetime.date | None: ...

    def resolve(
        self, requirements: Sequence[str], *, lowest_python: str, variant: str = "cuda", previous: str = ""
    ) -> str: ...

    def at(self, places: tuple[str, ...]) -> Resolver: ...

    def build_wheel(self, source: Path, folder: Path, python: Path, *, what: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One lock to make. `pins` are those of the axes and further packages, `requirements` are all exact ones. A new
    lock keeps versions of the lock that it `extends`."""

    name: str
    pins: tuple[tuple[str, str], ...]
    requirements: tuple[str, ...]
    lowest_python: str
    variant: str
    extends: str = ""


def lock_all(
    folder: Path,
    index: Resolver,
    *,
    upgrade: bool = False,
    progress: Callable[[str], None] | None = None,
) -> tuple[LockChange, ...]:
    """Writes the locks that `wanted.toml` in `folder` asks for. Returns what changed, by name.

    `progress` is called with the name of every finished lock. Raises IndexUnreachable, LockFault or MatrixError before
    anything is written: locks are written only when all are resolved.
    """
    wanted = read_wanted(folder)
    pythons = wanted.pythons
    packages = {wish.package for wish in (*wanted.packages.values(), *wanted.older.values())}
    for kind in {wish.kind for wish in wanted.combined}:
        packages |= {*axis_packages(kind).values(), *environments()[kind].beside}
    found = {package: index.releases(package, pythons=pythons) for package in sorted(packages)}
    todo = tasks(wanted, found)
    before = {name: _text(folder, name) for name in _present(folder)}
    days = _days(release_dates(folder), index, {pin for task in todo for pin in task.pins})
    resolved = _resolve_all(todo, pythons, index, {} if upgrade else before, progress)
    changes = [
        LockChange(name=name, change=LockOutcome.SKIPPED, detail="torch's CPU index is not reached")
        if text is None
        else _write(folder, name, before.get(name), text)
        for name, text in resolved.items()
    ]
    for name in sorted(before.keys() - resolved.keys()):
        _path(folder, name).unlink()
        changes.append(LockChange(name=name, change=LockOutcome.REMOVED))
    return (*changes, *_write_dates(folder / DATES, days))


def tasks(wanted: Wanted, releases: Mapping[str, Sequence[str]]) -> tuple[Task, ...]:
    """The wanted locks, given the releases of each package. Pure.

    Raises LockFault with every selector of `wanted.toml` that selects nothing.
    """
    found = [
        _package_task(kind, wish, version)
        for kind, wish in (*wanted.packages.items(), *wanted.older.items())
        for version in select(wish.specifier, releases[wish.package])
    ]
    found += [
        _package_task(kind.name, wish, version, extra=kind.extra)
        for kind in environments().values()
        if (wish := wanted.packages.get(kind.follows))
        for version in select(wish.specifier, releases[wish.package])
    ]
    named = {
        task.name: task for task in reversed(_combined_tasks(wanted, releases))
    }  # of two rows, the first one counts
    return (*found, *reversed(named.values()))


def _combined_tasks(wanted: Wanted, releases: Mapping[str, Sequence[str]]) -> list[Task]:
    faults: list[str] = []
    found = []
    for wish in wanted.combined:
        packages = axis_packages(wish.kind)
        meant = [
            _meant(wish.terms[axis], releases[packages[axis]], f"{wish.place}.{axis}", faults) for axis in packages
        ]
        *_, last = packages
        for version in meant.pop():
            beside = wanted.beside.get(version) or _of_its_minor(version, environments()[wish.kind].beside, releases)
            if beside is None:
                first = environments()[wish.kind].beside[0]
                faults.append(
                    f"{wish.place}.{last}: no {first} of the minor release of {last} {version}, "
                    f'expected a table [beside."{version}"]'
                )
                continue
            found += [
                _combined_task(wish, dict(zip(packages.values(), (*others, version), strict=True)), beside, variant)
                for others in itertools.product(*meant)
                for variant in wish.variants
            ]
    if faults:
        raise LockFault("\n".join(f"{WANTED}: {fault}" for fault in dict.fromkeys(faults)), tip="correct the file")
    return found


def _meant(terms: Sequence[str], releases: Sequence[str], place: str, faults: list[str]) -> tuple[str, ...]:
    """The releases that a row's selectors select."""
    versions: list[str] = []
    for term in terms:
        try:
            versions += select(term, releases)
        except SelectorFault as fault:
            faults.append(f"{place}: {fault}")
    return ascending(versions)


def _of_its_minor(
    version: str, packages: Sequence[str], releases: Mapping[str, Sequence[str]]
) -> dict[str, str] | None:
    """For each package, the newest release with the same minor release as a version; None if one has none."""
    minor = Version(version).release[:2]
    found = {}
    for package in packages:
        same = [release for release in releases[package] if Version(release).release[:2] == minor]
        if not same:
            return None
        found[package] = ascending(same)[-1]
    return found


def _package_task(kind: str, wish: PackageWish, version: str, *, extra: str = "") -> Task:
    pins = ((wish.package, version),)
    beside = (word for selector, words in wish.beside if select(selector, [version]) for word in words)
    return Task(
        name=lock_name(kind, dict(pins)),
        pins=pins,
        requirements=(f"{wish.package}{extra}=={version}", *beside),
        lowest_python=wish.lowest_python,
        variant="",
    )


def _combined_task(wish: CombinedWish, axes: Mapping[str, str], beside: Mapping[str, str], variant: str) -> Task:
    further = tuple((normal(name), version) for name, _, version in (word.partition("==") for word in wish.packages))
    pins = (*axes.items(), *further)
    return Task(
        name=lock_name(wish.kind, dict(pins), variant),
        pins=pins,
        requirements=tuple(f"{package}=={version}" for package, version in (*pins, *beside.items())),
        lowest_python=wish.lowest_python,
        variant=variant,
        extends=lock_name(wish.kind, axes, variant) if further else "",
    )


def _resolve_all(
    todo: Sequence[Task],
    pythons: Sequence[str],
    index: Resolver,
    before: Mapping[str, str],
    progress: Callable[[str], None] | None,
) -> dict[str, str | None]:
    """The text of each task's lock; None for a CPU variant whose index does not answer."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    pool = ThreadPoolExecutor(RESOLUTIONS_AT_ONCE)
    try:
        running = {pool.submit(resolve, task, pythons, index, _previous(task, before)): task for task in todo}
        texts: dict[str, str | None] = {}
        for future in as_completed(running):
            task = running[future]
            try:
                texts[task.name] = future.result()
            except IndexUnreachable:
                if task.variant != "cpu":
                    raise
                texts[task.name] = None
            if progress:
                progress(task.name)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        processes.kill_all()
        raise
    pool.shutdown()
    return {task.name: texts[task.name] for task in todo}


def _previous(task: Task, before: Mapping[str, str]) -> str:
    return before.get(task.name) or before.get(task.extends, "")


def resolve(task: Task, pythons: Sequence[str], index: Resolver, previous: str) -> str:
    """The whole text of a lock. If the lowest Python is refused because it is too old, the next ones are tried."""
    head = header(task.pins)
    first_reason = ""
    for python in _from(task.lowest_python, pythons):
        try:
            text = index.resolve(
                task.requirements, lowest_python=python, variant=task.variant or "cuda", previous=previous
            )
        except ResolutionRefused as refused:
            reason = refused.tip
            first_reason = first_reason or reason
            if not BECAUSE_OF_PYTHON.search(reason):
                break
        else:
            note = "" if python == task.lowest_python else f"{PYTHON_FROM}{python} and newer\n"
            return head + note + text
    return f"{head}{REFUSED}{first_reason}\n"


def _from(lowest: str, pythons: Sequence[str]) -> list[str]:
    def key(python: str) -> tuple[int, ...]:
        return tuple(int(part) for part in python.split("."))

    return [lowest, *(python for python in pythons if key(python) > key(lowest))]


def _write(folder: Path, name: str, before: str | None, text: str) -> LockChange:
    refused = next((line.removeprefix(REFUSED) for line in text.splitlines() if line.startswith(REFUSED)), "")
    if before != text:
        path = _path(folder, name)
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(f".partial-{os.getpid()}")
        partial.write_text(text, encoding="utf-8", newline="\n")
        partial.replace(path)
    if refused:
        return LockChange(name=name, change=LockOutcome.REFUSED, detail=refused)
    if before == text:
        return LockChange(name=name, change=LockOutcome.UNCHANGED)
    if before is None:
        return LockChange(name=name, change=LockOutcome.ADDED)
    return LockChange(name=name, change=LockOutcome.CHANGED, detail=_difference(before, text))


def _days(
    known: Mapping[str, Mapping[str, datetime.date]], index: Resolver, pins: Collection[tuple[str, str]]
) -> dict[tuple[str, str], datetime.date]:
    """The day on which each package and version was uploaded. What is known is not asked again: an upload has one day
    for ever. A release whose day the index does not say has none. Raises IndexUnreachable, DiskFull."""
    from concurrent.futures import ThreadPoolExecutor

    days = {(package, version): known.get(package, {}).get(version) for package, version in sorted(pins)}
    unknown = [pin for pin, day in days.items() if day is None]
    with ThreadPoolExecutor(RESOLUTIONS_AT_ONCE) as pool:
        answers = list(pool.map(lambda pin: index.uploaded("==".join(pin)), unknown))
    return {pin: day for pin, day in (days | dict(zip(unknown, answers, strict=True))).items() if day}


def _write_dates(path: Path, days: Mapping[tuple[str, str], datetime.date]) -> list[LockChange]:
    """The change, if there is any."""
    lines = [DATES_HEAD]
    for package in sorted({package for package, _ in days}):
        lines.append(f"\n[{package}]\n")
        versions = ascending(version for name, version in days if name == package)
        lines += [f"{json.dumps(version)} = {days[package, version].isoformat()}\n" for version in versions]
    text = "".join(lines)
    before = path.read_text(encoding="utf-8") if path.exists() else None
    if before == text:
        return []
    partial = path.with_suffix(f".partial-{os.getpid()}")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)
    return [LockChange(name=path.stem, change=LockOutcome.ADDED if before is None else LockOutcome.CHANGED)]


def _difference(before: str, text: str) -> str:
    """`numpy 2.3.4 -> 2.4.6`, for every package with a new version; `hashes` if only these changed."""
    old, new = _versions(before), _versions(text)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    words = [f"{name} {'/'.join(old.get(name, ['-']))} -> {'/'.join(new.get(name, ['-']))}" for name in names]
    return ", ".join(words) or "hashes"


def _versions(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, equal, rest = line.partition("==")
        if equal and not line.startswith((" ", "#")):
            found.setdefault(name, []).append(rest.split()[0])
    return found


def _present(folder: Path) -> list[str]:
    paths = (path for kind in environments() for path in (folder / kind).glob("*.txt"))
    return [path.relative_to(folder).with_suffix("").as_posix() for path in paths]


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.txt"


def _text(folder: Path, name: str) -> str:
    return _path(folder, name).read_text(encoding="utf-8", errors="replace")
