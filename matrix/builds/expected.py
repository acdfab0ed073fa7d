"""The expected results of `armv6-smoke`: the outcomes in `results/armv6`, and the sha256 of the runtimes in
`images/armv6/built.toml`. Locks name the inputs of a build; that file names its output, which is the same on every
machine and in every folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from matrix.artifacts.json_reader import read_json
from matrix.builds.linkage import BoardCell
from matrix.core.disk import atomic_write
from matrix.core.errors import LockFault
from matrix.core.toml_reader import read_toml
from matrix.core.versions import releases_first
from matrix.images.debian.lock import TOOLS

BUILT_FILE = "built.toml"
BUILT_FORMAT = 1
BUILT_TIP = "copy the digests from a run's data, or restore the file from the repository"
BUILT_HEADER = """# The sha256 of iree-run-module, stripped, by release of the pinned sources and toolchain; no options.
# `armv6-smoke --accept` writes those for the ARM1176; the others are copied from a run's data (`show --format json`).
"""

BuiltDigests = Mapping[str, Mapping[str, str]]
"""Digests (`sha256:…`) by release and toolchain."""
Outcomes = Mapping[str, Mapping[str, str]]
"""The committed results in `results/armv6`: `checks` by name, `cells` by model, route and runtime."""


def read_built(folder: Path) -> BuiltDigests:
    """Raises LockFault with all faults of the file."""
    top = read_toml(folder / BUILT_FILE, f"{TOOLS}/{BUILT_FILE}", file_format=BUILT_FORMAT, tip=BUILT_TIP)
    found: dict[str, dict[str, str]] = {}
    for release in (key for key in top.content if key != "format"):
        row = top.table(release)
        found[release] = {name: row.text(name, required=True) for name in row.content}
        for name, text in found[release].items():
            if text and not text.startswith("sha256:"):
                row.fault(name, f"read {text!r}, expected sha256:…")
    top.raise_faults(f"{TOOLS}/{BUILT_FILE}", tip=BUILT_TIP)
    return found


def write_built(folder: Path, release: str, digests: Mapping[str, str]) -> None:
    """Adds the digests of one release; the others stay."""
    before = read_built(folder) if (folder / BUILT_FILE).exists() else {}
    path = folder / BUILT_FILE
    with atomic_write(path, what=f"{TOOLS}/{BUILT_FILE}") as file:
        file.write(built_text({**before, release: {**before.get(release, {}), **digests}}).encode())


def built_text(built: BuiltDigests) -> str:
    """The same text for the same digests."""
    lines = [f"format = {BUILT_FORMAT}"]
    for release in releases_first(built):
        lines += ["", f'["{release}"]', *(f'{name} = "{text}"' for name, text in sorted(built[release].items()))]
    return BUILT_HEADER + "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFindings:
    """The results on the emulated board: checks by name, digests (`sha256:…`) of runtimes by toolchain ("": it was not
    built), cells.

    `release` is that of the pinned sources. It is "" for a user's own sources: no bytes are expected of those.
    """

    release: str
    checks: Mapping[str, str]
    binaries: Mapping[str, str]
    rows: tuple[BoardCell, ...]

    @property
    def models(self) -> set[str]:
        return {row.model for row in self.rows}

    @property
    def expected(self) -> Outcomes:
        """What is committed of the results."""
        return {"checks": dict(sorted(self.checks.items())), "cells": {row.cell: row.verdict for row in self.rows}}


def read_expected(path: Path) -> Outcomes:
    """Raises LockFault."""
    try:
        read = read_json(path.read_bytes())
        return {"checks": dict(read["checks"]), "cells": dict(read["cells"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LockFault(f"{path.name} cannot be read: {error}", tip="write it again: armv6-smoke --accept") from error


def accept(found: BoardFindings, path: Path, images: Path) -> None:
    """Writes the results; the cells of models that were not measured stay as they are."""
    if found.release:
        write_built(images, found.release, {name: text for name, text in found.binaries.items() if text})
    before = read_expected(path)["cells"] if path.exists() else {}
    kept = {cell: text for cell, text in before.items() if cell.split()[0] not in found.models}
    new = found.expected
    whole = {"format": BUILT_FORMAT, "checks": new["checks"], "cells": dict(sorted({**kept, **new["cells"]}.items()))}
    with atomic_write(path, what=f"results/armv6/{path.name}") as file:
        file.write((json.dumps(whole, indent=1) + "\n").encode())


def differences(found: BoardFindings, expected: Outcomes, built: BuiltDigests, models: Iterable[str]) -> list[str]:
    """The differences from the expectation, one per line: `exp embedded zig-static: expected failed: …, is passed`.

    Cells of other models than `models` are not expected, unless they were measured.
    """
    new, details = found.expected, {row.cell: row.detail for row in found.rows}
    among = {*models, *found.models}
    cells = {cell: text for cell, text in expected["cells"].items() if cell.split()[0] in among}
    checks, made = dict(expected["checks"]), dict(new["checks"])
    if found.release:
        locked = built.get(found.release, {})
        checks |= {f"binary {name}": locked[name] for name in found.binaries if name in locked}
        made |= {f"binary {name}": text for name, text in found.binaries.items() if text}
    return _unlike(cells, new["cells"], details) + _unlike(checks, made, {})


def _unlike(was: Mapping[str, str], now: Mapping[str, str], details: Mapping[str, str]) -> list[str]:
    lines = []
    for name in sorted(was.keys() | now.keys()):
        before, after = was.get(name, "nothing"), now.get(name, "not measured")
        if before != after:
            detail = details.get(name, "")
            beside = f" ({detail})" if detail and detail not in after else ""
            lines.append(f"{name}: expected {before}, is {after}{beside}")
    return lines
