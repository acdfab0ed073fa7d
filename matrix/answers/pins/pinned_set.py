"""What a file pins: requirements (also of `pip freeze`), a lock of uv, or a pylock.toml. Reads files only."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from matrix.core.errors import FileFault
from matrix.core.text import mark_controls
from matrix.core.versions import is_version
from matrix.plan.locks import marker_environment

BIGGEST_BYTES = 20_000_000
DEEPEST_INCLUDE = 8
A_SET = "expected requirements, or a lock as TOML: [[package]] or [[packages]] with name, version"
INCLUDES = {"-r": False, "--requirement": False, "-c": True, "--constraint": True}
"""Options that name another file -> whether it only constrains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedSet:
    """Package -> its versions, in the order of the file: more than one is a contradiction. `open` has the packages that
    are named without an exact version, with what the file says of them."""

    source: str
    versions: Mapping[str, tuple[str, ...]]
    open: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    name: str
    version: str
    words: str
    constrains: bool = False


def read_pinned_set(path: Path, *, python: str, machine: str) -> PinnedSet:
    """What a file pins for a Python (`3.11`) and a machine: its markers are evaluated. Raises FileFault."""
    target = marker_environment(python, machine)
    text = _text_of(path)
    lines = list(_of_toml(text, path, target) if _is_toml(path, text) else _of_requirements(text, path, target, 0))
    versions: dict[str, tuple[str, ...]] = {}
    named = {line.name for line in lines if not line.constrains}
    for line in lines:
        if line.version and line.name in named and line.version not in versions.get(line.name, ()):
            versions[line.name] = (*versions.get(line.name, ()), line.version)
    left = {line.name: line.words for line in lines if line.name in named and line.name not in versions}
    return PinnedSet(source=str(path), versions=versions, open=left)


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(BIGGEST_BYTES + 1)
    except OSError as error:
        raise FileFault(f"{path}: read nothing ({error.strerror}), {A_SET}", tip="name a file that exists") from None
    if len(content) > BIGGEST_BYTES:
        raise FileFault(f"{path}: read more than {BIGGEST_BYTES} bytes, expected fewer", tip="name a smaller file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FileFault(f"{path}: read bytes that are no text, {A_SET}", tip="`pip freeze > set.txt`") from None


def _is_toml(path: Path, text: str) -> bool:
    return path.suffix in (".toml", ".lock") or "\n[[package" in f"\n{text}"


# -- requirements


def _of_requirements(text: str, path: Path, target: Mapping[str, str], depth: int) -> Iterator[_Line]:
    for number, line in enumerate(text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines(), 1):
        words = line.split(" #")[0].strip()
        if not words or words.startswith("#"):
            continue
        option, _, rest = words.replace("=", " ", 1).partition(" ")
        if option in INCLUDES:
            yield from _included(path.parent / rest.strip(), option, target, depth, f"{path}:{number}")
        elif not words.startswith("-") and (found := _of_line(words, f"{path}:{number}", target)):
            yield found


def _included(path: Path, option: str, target: Mapping[str, str], depth: int, place: str) -> Iterator[_Line]:
    if depth == DEEPEST_INCLUDE:
        said = f"{place}: read more than {DEEPEST_INCLUDE} files in each other, expected fewer"
        raise FileFault(said, tip="a file may include itself")
    for line in _of_requirements(_text_of(path), path, target, depth + 1):
        constrains = INCLUDES[option] or line.constrains
        yield _Line(name=line.name, version=line.version, words=line.words, constrains=constrains)


def _of_line(words: str, place: str, target: Mapping[str, str]) -> _Line | None:
    """None where its marker excludes it, or where it names a file and no package."""
    text = words.split(" --", maxsplit=1)[0].strip()
    if wheel := _of_wheel(text.partition("#")[0]):
        return wheel
    try:
        read = Requirement(text)
    except InvalidRequirement as error:
        if "/" in text or text.endswith((".whl", ".gz", ".zip")):  # a folder or an archive, as pip takes it
            return None
        said = mark_controls(str(error).splitlines()[0], 200)
        raise FileFault(f"{place}: {said}; {A_SET}", tip="correct the line") from None
    if read.marker is not None and not read.marker.evaluate(dict(target)):
        return None
    if read.url:
        return _of_wheel(read.url.partition("#")[0]) or _Line(name=canonicalize_name(read.name), version="", words=text)
    exact = [each.version for each in read.specifier if each.operator in ("==", "===") and is_version(each.version)]
    return _Line(name=canonicalize_name(read.name), version=exact[0] if exact else "", words=text)


def _of_wheel(address: str) -> _Line | None:
    try:
        name, version, _, _ = parse_wheel_filename(address.rpartition("/")[2].replace("%2B", "+"))
    except InvalidWheelFilename:
        return None
    return _Line(name=name, version=str(version), words=address)


# -- locks as TOML


def _of_toml(text: str, path: Path, target: Mapping[str, str]) -> Iterator[_Line]:
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise FileFault(f"{path}: no TOML: {mark_controls(str(error), 200)}", tip="write the lock again") from None
    rows = content.get("packages", content.get("package"))
    if not isinstance(rows, list):
        raise FileFault(f"{path}: read no [[package]] and no [[packages]], {A_SET}", tip="name the lock itself")
    for row in rows:
        name, version = (row.get(key) if isinstance(row, dict) else None for key in ("name", "version"))
        if isinstance(name, str) and _meant(row, target):
            exact = version if isinstance(version, str) and is_version(version) else ""
            yield _Line(name=canonicalize_name(name), version=exact, words=f"{name} {version or 'without a version'}")


def _meant(row: Mapping[str, Any], target: Mapping[str, str]) -> bool:
    """uv writes several versions of a package with the markers for which each is."""
    markers = row.get("resolution-markers", [row["marker"]] if "marker" in row else [])
    return not markers or any(_holds(each, target) for each in markers)


def _holds(marker: object, target: Mapping[str, str]) -> bool:
    try:
        return Marker(str(marker)).evaluate(dict(target))
    except (InvalidMarker, ValueError):
        return True


# -- several files, one after the other, into one environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """A pin of one file that a later one replaces: pip does it without a word."""

    package: str
    before: str
    after: str
    by: str


def install_in_order(sets: Iterable[PinnedSet]) -> tuple[dict[str, str], list[Replaced]]:
    """Package -> version in an environment into which each set is installed after the one before, and what was replaced
    then. Of a contradiction in one set, the last version counts."""
    standing: dict[str, str] = {}
    replaced = []
    for each in sets:
        for package, versions in each.versions.items():
            before = standing.get(package, versions[0])
            if Version(before) != Version(versions[-1]):
                replaced.append(Replaced(package=package, before=before, after=versions[-1], by=each.source))
            standing[package] = versions[-1]
    return standing, replaced
