"""The boards that `bundle` makes folders for, and well-known microcontrollers: `boards.toml`, `microcontrollers.toml`.
Pure."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from matrix.core.data import DATA
from matrix.plan.user_inputs import UserBuild


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedBoard:
    """A board: its `target`, the `preset` whose parts a bundle takes, its `name` in a title and `board` in a sentence,
    its memory in MiB, the toolchains that build a runtime for it, and the route that a bundle has if none is asked
    for."""

    target: str
    preset: str
    name: str
    board: str
    memory_mib: int
    toolchains: tuple[str, ...]
    """The first is the one that a bundle has if none is asked for."""
    route: str


@functools.cache
def boards() -> Mapping[str, ShippedBoard]:
    """All of `boards.toml`, by target."""
    tables = tomllib.loads((DATA / "boards.toml").read_text(encoding="utf-8"))
    return {
        target: ShippedBoard(target=target, **{**table, "toolchains": tuple(table["toolchains"])})
        for target, table in tables.items()
    }


def newest_builds(builds: Mapping[str, UserBuild]) -> dict[str, str]:
    """Toolchain -> the runtime of a preset that it builds; of several, the preset's last one."""
    return {build.toolchain: name for name, build in builds.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Microcontroller:
    """A row of `microcontrollers.toml`; `why` it cannot run a program for a Cortex-M4F, "" if it can."""

    name: str
    chip: str
    flash_kib: int
    ram_kib: int
    why: str = ""


@functools.cache
def microcontrollers() -> tuple[Microcontroller, ...]:
    """All of `microcontrollers.toml`, in its order."""
    tables = tomllib.loads((DATA / "microcontrollers.toml").read_text(encoding="utf-8"))
    return tuple(Microcontroller(**table) for table in tables.values())
