"""`images/armv6/built.toml`: the sha256 of what the locked toolchains make of IREE's pinned sources.

Locks name what goes into a build; this one names what comes out, on every machine and in every folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matrix.core.disk import atomic_write
from matrix.core.toml_reader import read_toml
from matrix.core.versions import in_order
from matrix.images.debian.lock import TOOLS

FILE = "built.toml"
FORMAT = 1
TIP = "copy the digests from a run's data, or restore the file from the repository"
HEADER = """# The sha256 of iree-run-module, stripped, by release of the pinned sources and toolchain; no options.
# `armv6-smoke --accept` writes those for the ARM1176; the others are copied from a run's data (`show --format json`).
"""

Built = Mapping[str, Mapping[str, str]]
"""Digests (`sha256:…`) by release and toolchain."""


def read_built(folder: Path) -> Built:
    """Raises LockFault with all faults of the file."""
    top = read_toml(folder / FILE, f"{TOOLS}/{FILE}", file_format=FORMAT, tip=TIP)
    found: dict[str, dict[str, str]] = {}
    for release in (key for key in top.content if key != "format"):
        row = top.table(release)
        found[release] = {name: row.text(name, required=True) for name in row.content}
        for name, text in found[release].items():
            if text and not text.startswith("sha256:"):
                row.fault(name, f"read {text!r}, expected sha256:…")
    top.raise_faults(f"{TOOLS}/{FILE}", tip=TIP)
    return found


def write_built(folder: Path, release: str, digests: Mapping[str, str]) -> None:
    """Takes the digests of one release in; the others stay."""
    before = read_built(folder) if (folder / FILE).exists() else {}
    path = folder / FILE
    with atomic_write(path, what=f"{TOOLS}/{FILE}") as file:
        file.write(built_text({**before, release: {**before.get(release, {}), **digests}}).encode())


def built_text(built: Built) -> str:
    """The same text for the same digests."""
    lines = [f"format = {FORMAT}"]
    for release in in_order(built):
        lines += ["", f'["{release}"]', *(f'{name} = "{text}"' for name, text in sorted(built[release].items()))]
    return HEADER + "\n".join(lines) + "\n"
