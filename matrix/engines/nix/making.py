"""Builds the environments of locks in the Nix store: adds the files that a lock names, and lets Nix build."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from matrix.core.disk import disk_errors
from matrix.core.errors import HashMismatch, ImageFault
from matrix.core.records import EnvironmentRequest
from matrix.engines.nix.store import InputLacking, NixStore, NixTarget, settings
from matrix.images.image import Image
from matrix.images.layer_table import table_path
from matrix.images.nix.table import EXPRESSION, NixTables, StoreEnvironment, Wheel
from matrix.images.workshop import Workshop

NIX_ATTEMPTS = 5
"""The garbage collector may remove an added file before the build starts."""
Made = TypeVar("Made")


class Maker:
    """Builds environments for one machine. `code` is the folder with this package. Nix is used only to build."""

    def __init__(self, workshop: Workshop, machine: str, *, code: Path) -> None:
        self.workshop, self.machine, self._code = workshop, machine, code
        self._folder = workshop.images / "nix"
        self._places = NixTables(self._folder, machine)
        self._store: NixStore | None = None
        self._asking, self._basing = threading.Lock(), threading.Lock()

    @property
    def store(self) -> NixStore:
        """Raises EngineMissing where Nix does not answer."""
        with self._asking:
            if self._store is None:
                self._store = NixStore()
            return self._store

    def place(self, request: EnvironmentRequest, image: Image) -> StoreEnvironment:
        """The environment of an image, with its paths. Raises NoImage, LockFault."""
        return self._places.find(request, image)

    def own(self, python: str) -> StoreEnvironment:
        """The project's own environment."""
        return self._places.own(python)

    def make(self, place: StoreEnvironment, root: Path) -> None:
        """Builds an environment, with the garbage collector root `root`. Binary caches are used."""
        with disk_errors(root.parent):
            root.parent.mkdir(parents=True, exist_ok=True)
        with self._holding() as links:
            if not settings().asks_caches and self.store.missing([str(place.tree)]):
                self._add_inputs(place, links)
            self._with_inputs(place, links, lambda: self.store.build(self._target("programs", place), links, root))

    def check(self, place: StoreEnvironment) -> str:
        """Builds an environment and its programs again, and compares them with the store. Returns how they differ;
        empty: they are the same."""
        groups = ("environments", "programs")
        with self._holding() as links:
            self._add_inputs(place, links)
            different = (self._checked(place, links, self._target(group, place)) for group in groups)
            return next(filter(None, different), "") or self.store.changed([tree.path for tree in place.trees])

    def _checked(self, place: StoreEnvironment, links: Path, target: NixTarget) -> str:
        self._with_inputs(place, links, lambda: self.store.build(target, links))
        return self._with_inputs(place, links, lambda: self.store.check(target, links))

    @contextlib.contextmanager
    def _holding(self) -> Iterator[Path]:
        """A temporary folder for garbage collector roots of the inputs, until the build is over."""
        with disk_errors(self.workshop.scratch):
            links = tempfile.TemporaryDirectory(dir=self.workshop.scratch, prefix="inputs-")
        with links as folder:
            yield Path(folder)

    def _target(self, group: str, place: StoreEnvironment) -> NixTarget:
        return NixTarget(
            expression=self._folder / EXPRESSION,
            attribute=f"{group}.{place.environment.attribute}",
            table=table_path(self._folder, place.table.python, place.table.machine),
            code=self._code,
        )

    def _with_inputs(self, place: StoreEnvironment, links: Path, step: Callable[[], Made]) -> Made:
        """Runs a step. Where an input is missing, adds it and runs the step again."""
        for _ in range(NIX_ATTEMPTS - 1):
            with contextlib.suppress(InputLacking):
                return step()
            self._add_inputs(place, links)
        return step()

    def _add_inputs(self, place: StoreEnvironment, links: Path) -> None:
        """Adds all inputs of an environment to the store and keeps them there: each gets a root as soon as it is added,
        and is added again if the garbage collector was faster."""
        wheels = {wheel.path: wheel for wheel in (*place.environment.wheels, place.table.installer)}
        base = place.table.base.path
        for _ in range(NIX_ATTEMPTS):
            missing = self.store.missing([*wheels, base])
            lacking = [wheels[path] for path in wheels.keys() & missing]
            if missing:
                files = {wheel.file: wheel.sha256 for wheel in lacking}
                self.workshop.fetch_files(files, place.table.python, self.machine)
            with contextlib.suppress(InputLacking):
                if base in missing:
                    self._add_base(place)
                self.store.hold([base], links / "base")
                if lacking:
                    self._add({self._file(wheel): wheel.path for wheel in lacking})
                self.store.hold([*wheels], links / "wheel")
                return

    def _add_base(self, place: StoreEnvironment) -> None:
        python, base = place.table.python, place.table.base
        with self._basing:  # several environments need the same base
            if not self.store.missing([base.path]):
                return
            with disk_errors(self.workshop.scratch), self.workshop.base_tree(python, self.machine, base.name) as folder:
                self._add({folder: base.path})

    def _file(self, wheel: Wheel) -> Path:
        found = self.workshop.files.find(wheel.sha256)
        if found is None:
            raise ImageFault(
                f"{wheel.file}: not among the store's files any more", tip="run again: it is fetched again"
            )
        return found

    def _add(self, wanted: Mapping[Path, str]) -> None:
        """Adds files, or one folder, and checks their paths in the store."""
        made = self.store.add(*wanted)
        for (file, path), found in zip(wanted.items(), made, strict=True):
            if found != path:
                raise HashMismatch(
                    f"{file.name}: its path in the Nix store is {found}, and images/nix says {path}",
                    tip="the file has changed on this disk, or images/nix is stale: nox -s lock",
                )
