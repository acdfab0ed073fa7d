"""An environment as one folder: the skeleton and all wheels, merged like the layers of its image. No code runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from matrix.images.layer import skeleton_tree
from matrix.images.wheel_layer import wheel_tree


def write_environment(wheels: Sequence[Path], out: Path, *, python: str) -> None:
    """Fills `out` with the files that a container has in the layers of these wheels, lowest first, below `opt/env`.

    Everything but times and owners is the same on every machine. Raises ImageFault, DiskFull.
    """
    out.mkdir(mode=0o755)
    scratch = out / "unpacking"  # on the same disk: files are renamed, not copied
    scratch.mkdir()
    with ExitStack() as stack:
        _merge(stack.enter_context(skeleton_tree(python=python, scratch=scratch)), out)
        for wheel in wheels:
            with wheel_tree(wheel, python=python, scratch=scratch) as tree:
                _merge(tree, out)
    scratch.rmdir()


def _merge(tree: Path, out: Path) -> None:
    """Moves the content of a folder into another one. A file replaces one that is there, as in a higher layer."""
    for place, folders, names in os.walk(tree):
        target = out / Path(place).relative_to(tree)
        target.mkdir(exist_ok=True)
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in (*names, *links):
            (Path(place) / name).replace(target / name)
