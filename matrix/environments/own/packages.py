"""A user's own packages: a wheel, an sdist or a folder with a pyproject.toml, named as a requirement with its digest.

The wheel lies in the store, in a folder with the name of that digest. So another content is another requirement,
another lock and another environment.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, canonicalize_name, parse_sdist_filename
from packaging.utils import parse_wheel_filename as parse_wheel
from packaging.version import InvalidVersion

from matrix.core.errors import ModelUnusable
from matrix.core.keys import digest, sha256
from matrix.environments.locking import Resolver
from matrix.plan.user_inputs import fault_of

ENDINGS = (".whl", ".tar.gz", ".zip")
DIGEST = "#sha256="
NOT_CONTENT = (".git", ".venv", "venv", "build", "dist")
"""Folders at the top of a package's folder that tools make."""
MOST_CONTENT = 10_000


def is_own(word: str) -> bool:
    """Whether a word of PACKAGES is a path, and not a requirement."""
    return "://" not in word and "@" not in word and ("/" in word or word.startswith(".") or word.endswith(ENDINGS))


def own_requirement(word: str, base: Path) -> tuple[str, str]:
    """`name @ file:///path#sha256=…` for a path relative to `base`; and what is wrong with it, empty if nothing is."""
    path = (base / word).resolve()
    if not path.exists():
        return "", f"read {word!r}, expected a wheel, an sdist or a folder, and there is none at {path}"
    try:
        name = _name_of(path)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion, OSError, ValueError, KeyError, TypeError):
        kind = (
            "a folder whose pyproject.toml has a name in [project]" if path.is_dir() else "a name such as my-1.0.tar.gz"
        )
        return "", f"read {word!r}, expected {kind}, or that of a wheel"
    if fault := fault_of(name):
        return "", fault
    try:
        return f"{name} @ {path.as_uri()}{DIGEST}{content_digest(path)}", ""
    except (OSError, ValueError) as error:
        return "", f"read {word!r}, expected a folder of at most {MOST_CONTENT} files that can be read: {error}"


def _name_of(path: Path) -> str:
    if path.is_dir():
        return canonicalize_name(str(tomllib.loads((path / "pyproject.toml").read_text("utf-8"))["project"]["name"]))
    return parse_wheel(path.name)[0] if path.suffix == ".whl" else parse_sdist_filename(path.name)[0]


def content_digest(path: Path) -> str:
    """sha256 of a file, or of the files of a folder with their names. Raises OSError, ValueError."""
    if path.is_file():
        return sha256(path)
    files = dict(_content(path))
    if len(files) > MOST_CONTENT:
        raise ValueError(f"it has {len(files)}")
    return digest({name: sha256(file) for name, file in sorted(files.items())})


def _content(folder: Path) -> Iterator[tuple[str, Path]]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - _left_out(place, folders, top=str(folder)))
        for name in sorted(set(files) - _left_out(place, files, top=str(folder))):
            path = Path(place) / name
            yield path.relative_to(folder).as_posix(), path


def _left_out(place: str, names: Iterable[str], *, top: str) -> set[str]:
    made = {name for name in names if name == "__pycache__" or name.endswith((".egg-info", ".pyc"))}
    return made | ({*NOT_CONTENT} if place == top else set())


def pinned_own(
    packages: Iterable[str], folder: Path, index: Resolver, python: Path
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """The requirements with own packages as exact versions, whose wheels lie below `folder` from here on; and the
    sha256 of these wheels, by package. Raises ModelUnusable."""
    words: list[str] = []
    digests: dict[str, str] = {}
    for word in packages:
        requirement = Requirement(word)
        if not requirement.url:
            words.append(word)
            continue
        wheel = _wheel_of(requirement, folder, index, python)
        name, version, *_ = parse_wheel(wheel.name)
        words.append(f"{name}=={version}")
        digests[name] = sha256(wheel)
    return tuple(words), digests


def _wheel_of(requirement: Requirement, folder: Path, index: Resolver, python: Path) -> Path:
    """The wheel of an own package, built if there is none yet."""
    address, _, wanted = str(requirement.url).partition(DIGEST)
    source, place = Path(unquote(urlsplit(address).path)), folder / wanted
    if not place.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="making-") as scratch:
            copied, made = Path(scratch) / source.name, Path(scratch) / "made"
            made.mkdir()
            _copy(source, copied)
            if content_digest(copied) != wanted:
                raise ModelUnusable(f"{source}: it was changed since this run began", tip="run again")
            if copied.suffix == ".whl":
                copied.rename(made / copied.name)
            else:
                index.build_wheel(copied, made, python, what=str(source))
            try:
                made.rename(place)
            except OSError:
                if not place.is_dir():  # else another run was quicker
                    raise
    wheel = next(place.glob("*.whl"))
    if parse_wheel(wheel.name)[0] != canonicalize_name(requirement.name):
        raise ModelUnusable(f"{source}: read a wheel of {wheel.name}, expected {requirement.name}", tip="rename it")
    return wheel


def _copy(source: Path, target: Path) -> None:
    """A build writes into its folder, so it gets a copy."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=lambda place, names: _left_out(place, names, top=str(source)))
    else:
        shutil.copyfile(source, target)


def only_own(text: str, digests: Mapping[str, str]) -> str:
    """The text of a lock in which own packages have the hash of their wheel alone: an index may have others of that
    name and version."""
    lines, own = [], ""
    for line in text.splitlines(keepends=True):
        if line[:1].isalnum():
            own = digests.get(canonicalize_name(Requirement(line.rstrip(" \\\n")).name), "")
            lines.append(line)
            lines += [f"    --hash=sha256:{own}\n"] if own else []
        elif not (own and line.lstrip().startswith("--hash=")):
            lines.append(line)
    return "".join(lines)
