"""Makes images from files: fetches the files of a lock, unpacks them into layers, and checks every digest.

No code of a package runs. A layer is streamed from its files to its reader, so memory holds no more than a block of a
file.
"""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from packaging.utils import parse_wheel_filename

from matrix.core.disk import atomic_write
from matrix.core.errors import ImageFault
from matrix.core.records import EnvironmentRequest, Lock
from matrix.environments.index import PackageIndex
from matrix.environments.user_tools import WHEEL_FOLDERS
from matrix.environments.wheels import FetchedFiles, fetch_wheels
from matrix.images.debian.base_locking import fetch_base
from matrix.images.debian.layer import write_base_layer
from matrix.images.debian.lock import BaseLock, load_bases
from matrix.images.debian.mirror import Sources
from matrix.images.image import Image, ImageLayer
from matrix.images.layer import BLOCK_BYTES, Layer, skeleton_tree, write_tree
from matrix.images.layer_table import (
    LayerTable,
    TableWish,
    WheelLayer,
    compute_image,
    layer_table_text,
    read_layer_table,
    read_table_wishes,
    table_path,
)
from matrix.images.wheel_layer import wheel_tree
from matrix.plan.locks import LockChange, LockOutcome, PinnedPackage, load_locks, pinned_packages

Write = Callable[[BinaryIO | None], Layer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What makes layers and images. `images` is the folder of the committed data, `files` are the fetched files."""

    images: Path
    files: FetchedFiles
    scratch: Path
    index: PackageIndex
    sources: Sources

    def bases(self) -> dict[str, BaseLock]:
        """The locked bases by Python."""
        return {base.python: base for base in load_bases(self.images / "base")}

    def image(self, request: EnvironmentRequest, machine: str) -> Image:
        """The image of an environment, computed from the committed tables. Raises NoImage."""
        table = read_layer_table(self.images / "layers", request.python, machine)
        return compute_image(request, table, self.bases().get(request.python))

    # -- the committed tables

    def make_table(self, wish: TableWish, locks: Iterable[Lock], previous: LayerTable | None) -> LayerTable:
        """The layers of all wanted locks. Wheels that the previous table has are not unpacked again."""
        base = self.bases()[wish.python]
        known = {wheel.sha256: wheel for wheel in previous.wheels} if previous else {}
        wanted: dict[str, WheelLayer] = {}
        for lock in locks:
            if lock.refusal or not wish.wants(lock.name):
                continue
            packages = pinned_packages(lock, python=wish.python, machine=wish.machine)
            new = [package for package in packages if not package.hashes & (known.keys() | wanted.keys())]
            for wheel in self._layers_of(new, wish, base.glibc):
                wanted[wheel.sha256] = wheel
            wanted |= {digest: known[digest] for package in packages for digest in package.hashes & known.keys()}
        fetch_base(base, wish.machine, self.files.folder, source=self.sources)
        return LayerTable(
            python=wish.python,
            machine=wish.machine,
            base=self._write_base(base, wish.machine)(None),
            skeleton=self._write_skeleton(wish.python)(None),
            wheels=tuple(wanted.values()),
        )

    def _layers_of(self, packages: Sequence[PinnedPackage], wish: TableWish, glibc: str) -> Iterator[WheelLayer]:
        if not packages:
            return
        versions = {package.name: package.version for package in packages}
        found = fetch_wheels(
            packages, python=wish.python, machine=wish.machine, glibc=glibc, index=self.index, files=self.files
        )
        for wheel in found:
            path = self.files.find(wheel.sha256)
            assert path is not None  # it was just fetched
            yield WheelLayer(
                name=wheel.name,
                version=versions[wheel.name],
                file=wheel.file,
                sha256=wheel.sha256,
                size=wheel.size,
                layer=self._write_wheel(path, wish.python)(None),
                tools=tools_in(path),
            )

    # -- layers

    def fetch(self, request: EnvironmentRequest, machine: str, image: Image) -> None:
        """Fetches every file of an image into the store. Needs no network for those that are there."""
        base = self.bases()[request.python]
        fetch_base(base, machine, self.files.folder, source=self.sources)
        missing = {each.source for each in image.layers[2:] if self.files.find(each.source) is None}
        packages = [
            package
            for package in pinned_packages(request.lock, python=request.python, machine=machine)
            if package.hashes & missing
        ]
        if packages:
            fetch_wheels(
                packages,
                python=request.python,
                machine=machine,
                glibc=base.glibc,
                index=self.index,
                files=self.files,
            )

    def fetch_files(self, wheels: Mapping[str, str], python: str, machine: str) -> None:
        """Fetches a base and wheels (file name -> sha256) into the store, without a lock."""
        base = self.bases()[python]
        fetch_base(base, machine, self.files.folder, source=self.sources)
        packages = []
        for file, digest in wheels.items():
            if self.files.find(digest) is None:
                name, version, _, _ = parse_wheel_filename(file)
                packages.append(PinnedPackage(name=name, version=str(version), hashes=frozenset((digest,))))
        if packages:
            fetch_wheels(packages, python=python, machine=machine, glibc=base.glibc, index=self.index, files=self.files)

    @contextmanager
    def base_tree(self, python: str, machine: str, name: str) -> Iterator[Path]:
        """A temporary folder with this name and the layer of a base, from files in the store.

        Raises ImageFault where the files make another layer than the one in the lock.
        """
        base = self.bases()[python]
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix="base-") as scratch:
            archive, folder = Path(scratch) / "layer.tar", Path(scratch) / name
            with archive.open("wb") as file:
                made = self._write_base(base, machine)(file)
            if f"sha256:{made.digest}" != base.on(machine).layer:
                raise ImageFault(
                    f"{base.name}: its packages make the layer {made.short}, not the one that it names",
                    tip="run `nox -s lock` and look at the difference",
                )
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="tar")
            yield folder

    def writer(self, request: EnvironmentRequest, machine: str, part: ImageLayer) -> Write:
        """The function that streams a layer of an image."""
        if part.made_of == "base":
            return self._write_base(self.bases()[request.python], machine)
        if part.made_of == "skeleton":
            return self._write_skeleton(request.python)
        path = self.files.find(part.source)
        if path is None:
            raise ImageFault(f"{part.made_of}: not in the store", tip="`python -m matrix image build` fetches it")
        return self._write_wheel(path, request.python)

    def _write_base(self, base: BaseLock, machine: str) -> Write:
        def write(out: BinaryIO | None) -> Layer:
            return write_base_layer(base, machine, self.files.folder, out)

        return write

    def _write_skeleton(self, python: str) -> Write:
        def write(out: BinaryIO | None) -> Layer:
            with skeleton_tree(python=python, scratch=self.scratch) as tree:
                return write_tree(tree, out)

        return write

    def _write_wheel(self, wheel: Path, python: str) -> Write:
        def write(out: BinaryIO | None) -> Layer:
            with wheel_tree(wheel, python=python, scratch=self.scratch) as tree:
                return write_tree(tree, out)

        return write

    # -- images

    def archive(
        self, request: EnvironmentRequest, machine: str, image: Image, *, tag: str, skip: int = 0
    ) -> Iterator[bytes]:
        """Streams a `docker load` archive without the lowest `skip` layers, which the daemon has already.

        Raises ImageFault where a layer differs from the committed table.
        """
        names = [f"{each.layer.digest}.tar" for each in image.layers]
        manifest = [{"Config": f"{image.digest}.json", "RepoTags": [tag], "Layers": names}]
        yield from _member("manifest.json", json.dumps(manifest).encode())
        yield from _member(f"{image.digest}.json", image.config)
        for name, part in zip(names[skip:], image.layers[skip:], strict=True):
            yield _header(name, part.layer.size)
            yield from self.checked(request, machine, part)
            yield b"\0" * (-part.layer.size % tarfile.BLOCKSIZE)
        yield b"\0" * (2 * tarfile.BLOCKSIZE)

    def checked(self, request: EnvironmentRequest, machine: str, part: ImageLayer) -> Iterator[bytes]:
        """The bytes of a layer. Raises ImageFault at the end if their digest is not the committed one."""
        streamed = Streamed(self.writer(request, machine, part))
        yield from streamed
        layer = streamed.layer
        assert layer is not None  # all bytes were read
        if layer != part.layer:
            raise ImageFault(
                f"the layer of {part.made_of} is {layer.short}, and images/layers says {part.layer.short}",
                tip="run `nox -s lock` and look at the difference; the unpacking code or the wheel has changed",
            )


class Streamed:
    """The bytes that a function writes, as an iterator; `layer` is its result, once all bytes are read."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.layer: Layer | None = None
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        inlet, outlet = os.pipe()

        def produce() -> None:
            try:
                with os.fdopen(outlet, "wb", buffering=BLOCK_BYTES) as out:
                    self.layer = self._write(out)
            except BaseException as error:  # noqa: BLE001 - the reader raises it
                self._error = error

        thread = threading.Thread(target=produce, daemon=True)
        thread.start()
        try:
            with os.fdopen(inlet, "rb", buffering=0) as read:
                while block := read.read(BLOCK_BYTES):
                    yield block
        finally:
            thread.join()
        if self._error is not None:
            raise self._error


def tools_in(wheel: Path) -> tuple[str, ...]:
    """The programs in a wheel: executable files without a suffix, in IREE's folders for programs."""
    with zipfile.ZipFile(wheel) as archive:
        found = {
            info.filename
            for info in archive.infolist()
            if info.filename.rpartition("/")[0] in WHEEL_FOLDERS
            and "." not in info.filename.rpartition("/")[2]
            and (info.external_attr >> 16) & 0o111
        }
    folders = {folder: rank for rank, folder in enumerate(WHEEL_FOLDERS)}
    return tuple(sorted(found, key=lambda name: (folders[name.rpartition("/")[0]], name)))


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield _header(name, len(content))
    yield content + b"\0" * (-len(content) % tarfile.BLOCKSIZE)


def shared_layers(images: Iterable[Sequence[str]], layers: Sequence[str]) -> int:
    """How many of the lowest layers an image of the daemon already has, in the same order."""
    best = 0
    for other in images:
        same = 0
        with suppress(IndexError):
            while layers[same] == other[same]:
                same += 1
        best = max(best, same)
    return best


def lock_layers(workshop: Workshop, progress: Callable[[str], None]) -> tuple[LockChange, ...]:
    """Writes the tables of `images/layers/wanted.toml`, from the current locks and bases.

    A Python without a base is skipped. Wheels that are in no table yet are fetched; the errors of fetching are raised
    before the table is written.
    """
    folder = workshop.images / "layers"
    locks = load_locks(workshop.images / "locks").locks

    def text(wish: TableWish) -> str:
        there = table_path(folder, wish.python, wish.machine).is_file()
        previous = read_layer_table(folder, wish.python, wish.machine) if there else None
        return layer_table_text(workshop.make_table(wish, locks, previous))

    return lock_tables(workshop, "layers", text, progress)


def lock_tables(
    workshop: Workshop, kind: str, text: Callable[[TableWish], str], progress: Callable[[str], None]
) -> tuple[LockChange, ...]:
    """Writes `images/KIND`: a table for each Python and machine of `images/layers/wanted.toml` that has a base."""
    changes = []
    for wish in read_table_wishes(workshop.images / "layers"):
        name = f"{kind}/{wish.python}-{wish.machine}"
        progress(name)
        if wish.python not in workshop.bases():
            changes.append(
                LockChange(name=name, change=LockOutcome.SKIPPED, detail=f"no base for Python {wish.python}")
            )
            continue
        path = table_path(workshop.images / kind, wish.python, wish.machine)
        changes.append(write_locked(path, name, text(wish)))
    return tuple(changes)


def write_locked(path: Path, name: str, text: str) -> LockChange:
    """Writes a file, unless it has this text already."""
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    if text == before:
        return LockChange(name=name, change=LockOutcome.UNCHANGED)
    with atomic_write(path, what=name) as file:
        file.write(text.encode())
    return LockChange(name=name, change=LockOutcome.CHANGED if before else LockOutcome.ADDED)
