"""Where the data of the project lies (presets, models, locks): in the checkout, or in the copy inside a wheel."""

from __future__ import annotations

import os
from pathlib import Path


def default_store() -> Path:
    """`iree-matrix` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "iree-matrix"


STORE_LOCKS = "locks"
"""The store's folder of locks that were resolved for users' models."""

PACKAGE_FOLDER = Path(__file__).parents[1]
DATA = PACKAGE_FOLDER / "data"
"""Presets, targets, flag sets, error signatures, gates, explained differences."""


def data_root() -> Path:
    """The folder that holds `scripts/` and `images/`: the checkout, or the copy inside an installed wheel.

    IREE_MATRIX_DATA names another one, for a user's own locks.
    """
    if chosen := os.environ.get("IREE_MATRIX_DATA"):
        return Path(chosen)
    checkout = PACKAGE_FOLDER.parent
    return checkout if (checkout / "images" / "locks").is_dir() else PACKAGE_FOLDER / "_bundled"


BOARD_PRESET = "armv6-smoke"
"""The preset that the smoke test runs."""


def presets() -> tuple[str, ...]:
    """The names of the shipped presets."""
    return tuple(sorted(path.stem for path in (DATA / "presets").glob("*.toml")))


def shipped_models() -> tuple[str, ...]:
    """The names of the models in `scripts/models`."""
    return tuple(sorted(model_files()))


def model_files(folder: str = "**") -> dict[str, Path]:
    """Name -> file of the shipped models. The architectures of those in `packaged` come from packages; those in
    `operations` are one operation each."""
    paths = (data_root() / "scripts" / "models").glob(f"{folder}/*.py")
    return {path.stem: path for path in sorted(paths, key=lambda path: (path.parent, path.name))}
