"""The graph of a Nix store: each path, its size and its references. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

STORE_PATHS = "store_paths"
"""The key of store paths in data: those of an environment, and all those of a run, each once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePath:
    """A path of the store. `size`: bytes as an archive (NAR). `references`: the other paths that it refers to."""

    path: str
    size: int
    references: tuple[str, ...] = ()


def parse_registrations(text: str) -> tuple[StorePath, ...]:
    """Parses the output of `nix-store --dump-db`: for each path the lines path, digest, size, deriver, number of
    references, references (a path may refer to itself). Raises ValueError for anything else."""
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


def store_paths_data(paths: Iterable[StorePath]) -> dict[str, object]:
    """Path -> size and references, for JSON."""
    return {each.path: {"bytes": each.size, "references": list(each.references)} for each in paths}


def store_path_name(path: str) -> str:
    """The part after the digest, such as `iree-matrix-base-py3.11-x86_64`."""
    return path.partition("-")[2] or path


def path_closure(paths: Iterable[StorePath], start: str) -> tuple[StorePath, ...]:
    """A path and all that it refers to, breadth first. Paths that are not among `paths` are left out."""
    known = {each.path: each for each in paths}
    order = [start]
    for path in order:
        order += [each for each in known[path].references if each not in order] if path in known else []
    return tuple(known[path] for path in order if path in known)
