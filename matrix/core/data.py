"""Where the data that ships with the project lies: presets, models, locks; the checkout, or the copy in a wheel."""

from __future__ import annotations

import os
from pathlib import Path


def default_store() -> Path:
    """`iree-matrix` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "iree-matrix"


LOCKS = "locks"
"""The folder of locks that were resolved for models of one's own."""

PACKAGE = Path(__file__).parents[1]
DATA = PACKAGE / "data"
"""Presets, targets, sets of flags, error signatures, gates, explained differences."""


def data_root() -> Path:
    """The folder that holds `scripts/` and `images/`: the checkout, or the copy inside an installed wheel.

    IREE_MATRIX_DATA names another one, for locks of one's own.
    """
    if chosen := os.environ.get("IREE_MATRIX_DATA"):
        return Path(chosen)
    checkout = PACKAGE.parent
    return checkout if (checkout / "images" / "locks").is_dir() else PACKAGE / "_bundled"


def presets() -> tuple[str, ...]:
    """The names of the shipped specs."""
    return tuple(sorted(path.stem for path in (DATA / "presets").glob("*.toml")))


def shipped_models() -> tuple[str, ...]:
    """The names of the models in `scripts/models`, and of those that come from a package."""
    return tuple(sorted(model_files()))


def model_files(folder: str = "**") -> dict[str, Path]:
    """Name -> file of the shipped models; of those in `packaged` the architecture comes from a package, those in
    `operations` are one operation each."""
    paths = (data_root() / "scripts" / "models").glob(f"{folder}/*.py")
    return {path.stem: path for path in sorted(paths, key=lambda path: (path.parent, path.name))}
