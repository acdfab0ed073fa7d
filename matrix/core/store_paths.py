"""The graph of a Nix store, as its database and as results have it: each path, its size, what it refers to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

STORE_PATHS = "store_paths"
"""What data calls them: of an environment, and of a run in which each stands once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePath:
    """A path of the store. `size`: bytes as an archive (NAR). `references`: the other paths that it names."""

    path: str
    size: int
    references: tuple[str, ...] = ()


def registered(text: str) -> tuple[StorePath, ...]:
    """What `nix-store --dump-db` says: of each path a line with itself, its digest, size and derivation, how many paths
    it refers to, and these; itself among them, where it names itself. Raises ValueError for anything else."""
    lines = iter(text.splitlines())
    found = []
    for path in lines:
        _, size, _, count = islice(lines, 4)
        references = tuple(islice(lines, int(count)))
        if len(references) != int(count):
            raise ValueError(f"{path}: read {len(references)} references, expected {count}")
        others = tuple(each for each in references if each != path)
        found.append(StorePath(path=path, size=int(size), references=others))
    return tuple(found)


def as_data(paths: Iterable[StorePath]) -> dict[str, object]:
    """Path -> its facts, for JSON."""
    return {each.path: {"bytes": each.size, "references": list(each.references)} for each in paths}


def name_of(path: str) -> str:
    """What stands after the digest: `iree-matrix-base-py3.11-x86_64`."""
    return path.partition("-")[2] or path


def closure(paths: Iterable[StorePath], start: str) -> tuple[StorePath, ...]:
    """A path, then all that it needs, the nearest first; what is not among `paths` is left out."""
    known = {each.path: each for each in paths}
    order = [start]
    for path in order:
        order += [each for each in known[path].references if each not in order] if path in known else []
    return tuple(known[path] for path in order if path in known)
