"""How the files of a job get into its container and out of it: by mounts, or copied by the daemon.

`Mounted` is for a daemon whose host sees the folders of this machine: the inputs are a read-only mount, the outputs a
private folder. `Copied` is for any other: the daemon unpacks a tar of the inputs into a volume of the container, and
packs the outputs into a tar. The volume belongs to root, so a job cannot change its inputs there either.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Protocol

from matrix.core.disk import disk_errors
from matrix.core.errors import ImageFault
from matrix.core.records import Job
from matrix.engines.contract import link_inputs, outputs_in
from matrix.engines.docker.daemon import Daemon
from matrix.images.layer import BLOCK_BYTES, ENVIRONMENT
from matrix.images.layer_files import Reader

ENVIRONMENT_PYTHON = f"/{ENVIRONMENT}/bin/python"
"""The Python in the project's images."""
OPENER = """
import contextlib, os, sys
for place, folders, files in os.walk(sys.argv[1]):
    for name in (*folders, *files):
        path = os.path.join(place, name)
        with contextlib.suppress(OSError):
            if not os.path.islink(path):
                os.chmod(path, 0o777 if name in folders else 0o666)
"""
"""Makes the files in a folder readable and writable for all users; runs as the user that owns them."""
HELD = """
import os, sys
walk = os.walk(sys.argv[1])
print(sum(os.lstat(os.path.join(place, name)).st_blocks * 512 for place, _, names in walk for name in names))
"""


def opener(folder: str, python: str) -> list[str]:
    return [python, "-I", "-S", "-c", OPENER, folder]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPaths:
    """The folders of a job in its container."""

    scripts: str
    inputs: str
    outputs: str


class Exchange(Protocol):
    """The files of one container, for one job after another. `folder` is its folder on this machine.

    The container is created with `mounts` (host folder -> (path, `ro` or `rw`)) and `volumes`. `look_seconds` is the
    shortest time between two calls of `disk_bytes`.
    """

    folder: Path
    places: ContainerPaths
    look_seconds: float

    @property
    def mounts(self) -> Mapping[Path, tuple[str, str]]: ...

    @property
    def volumes(self) -> Sequence[str]: ...

    def attach(self, container: str) -> None:
        """Once, before the container starts: it gets the scripts."""

    def put_inputs(self, inputs: Mapping[str, Path]) -> None:
        """Provides the inputs of a job (name -> file of the store), and removes all files of the job before it."""

    def fetch_outputs(self, job: Job) -> None:
        """After a job: makes its output files readable on this machine."""

    def collect(self, job: Job) -> dict[str, Path]:
        """The output files (name -> path) after `fetch_outputs`."""

    def disk_bytes(self) -> int:
        """The bytes on the disk of the running job's files."""

    def clear(self) -> bool:
        """Removes the job's files. Returns whether none is left for the next job to see."""


class Mounted:
    """See `Exchange`. The user of this process may be another one than the job's, and not root."""

    places = ContainerPaths(scripts="/scripts", inputs="/in", outputs="/out")
    look_seconds = 0.5
    volumes: Sequence[str] = ()

    def __init__(self, daemon: Daemon, folder: Path, scripts: Path, *, python: str) -> None:
        self._python = python
        self._daemon, self.folder, self._scripts = daemon, folder, scripts
        self._in, self._out = folder / "in", folder / "out"
        self._container = ""
        for place, mode in ((self._in, 0o755), (self._out, 0o777)):  # independent of the umask
            place.mkdir()
            place.chmod(mode)

    @property
    def mounts(self) -> Mapping[Path, tuple[str, str]]:
        return {
            self._scripts: (self.places.scripts, "ro"),
            self._in: (self.places.inputs, "ro"),
            self._out: (self.places.outputs, "rw"),
        }

    def attach(self, container: str) -> None:
        self._container = container  # everything is mounted

    def put_inputs(self, inputs: Mapping[str, Path]) -> None:
        link_inputs(inputs, self._in)
        for name in inputs:
            (self._out / name).symlink_to(PurePosixPath(self.places.inputs) / name)

    def fetch_outputs(self, job: Job) -> None:  # noqa: ARG002 - nothing has to be brought
        if any(_closed(path) for path in self._out.iterdir()):
            self._daemon.run_in(self._container, opener(self.places.outputs, self._python))

    def collect(self, job: Job) -> dict[str, Path]:
        return outputs_in(self._out, job)

    def disk_bytes(self) -> int:
        return held_bytes(self._out)

    def clear(self) -> bool:
        return all([empty(self._in), empty(self._out)])


class Copied:
    """See `Exchange`. One tar both removes the files of the last job and provides the inputs of the next one: when the
    daemon unpacks it, a file replaces a whole folder, and then a folder replaces the file."""

    look_seconds = 5.0
    _top = "/job"
    places = ContainerPaths(scripts="/job/scripts", inputs="/job/in", outputs="/job/out")
    mounts: Mapping[Path, tuple[str, str]] = {}
    volumes: Sequence[str] = (_top,)

    def __init__(self, daemon: Daemon, folder: Path, scripts: Path, *, python: str, most_bytes: int) -> None:
        self._python = python
        self._daemon, self.folder, self._scripts = daemon, folder, scripts
        self._most_bytes, self._container = most_bytes, ""
        self._out = folder / "out"
        self._out.mkdir()

    def attach(self, container: str) -> None:
        self._container = container
        files = {
            f"scripts/{path.relative_to(self._scripts)}": path
            for path in sorted(self._scripts.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }
        folders = {str(parent): 0o755 for name in files for parent in PurePosixPath(name).parents if parent.name}
        self._daemon.put(self._container, self._top, _tar(sorted(folders.items()), files, {}))

    def put_inputs(self, inputs: Mapping[str, Path]) -> None:
        links = {f"out/{name}": f"{self.places.inputs}/{name}" for name in inputs}
        files = {f"in/{name}": blob for name, blob in inputs.items()}
        self._daemon.put(self._container, self._top, _tar([("in", 0o755), ("out", 0o777)], files, links))

    def fetch_outputs(self, job: Job) -> None:
        self._daemon.get(self._container, self.places.outputs, lambda archive: self._unpack(archive, job))

    def _unpack(self, archive: Iterator[bytes], job: Job) -> None:
        """Extracts the regular files directly in the folder that match the job's patterns. Follows no link."""
        stream = io.BufferedReader(Reader(self._bounded(archive)), BLOCK_BYTES)
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for member in tar:
                    folder, _, name = member.name.rpartition("/")
                    wanted = any(fnmatchcase(name, pattern) for pattern in job.outputs)
                    if member.isreg() and folder == PurePosixPath(self.places.outputs).name and wanted:
                        content = tar.extractfile(member)
                        assert content is not None  # it is a regular file
                        with disk_errors(self._out):
                            out = (self._out / name).open("xb")
                        with out:
                            while block := content.read(BLOCK_BYTES):
                                with disk_errors(self._out):
                                    out.write(block)
        except tarfile.TarError as error:
            raise ImageFault(f"the job's output files cannot be read: {error}", tip="run it again") from None

    def _bounded(self, archive: Iterator[bytes]) -> Iterator[bytes]:
        total = 0
        for block in archive:
            total += len(block)
            if total > self._most_bytes:
                raise ImageFault(filled(total, self._most_bytes), tip="choose a smaller model")
            yield block

    def collect(self, job: Job) -> dict[str, Path]:
        return outputs_in(self._out, job)

    def disk_bytes(self) -> int:
        said = self._daemon.run_in(self._container, [self._python, "-I", "-S", "-c", HELD, self.places.outputs]).strip()
        return int(said) if said.isdigit() else 0  # a file vanished meanwhile; the next call will tell

    def clear(self) -> bool:
        return empty(self._out)


def _tar(folders: Sequence[tuple[str, int]], files: Mapping[str, Path], links: Mapping[str, str]) -> Iterator[bytes]:
    """Streams a tar. Each folder in it replaces an existing one, with all its files."""
    for name, mode in folders:
        yield tarfile.TarInfo(name).tobuf()
        yield _entry(name, kind=tarfile.DIRTYPE, mode=mode)
    for name, path in files.items():
        with disk_errors(path):
            file = path.open("rb")
        with file:
            size = os.fstat(file.fileno()).st_size
            yield _entry(name, size=size)
            while block := file.read(BLOCK_BYTES):
                yield block
            yield b"\0" * (-size % tarfile.BLOCKSIZE)
    for name, target in links.items():
        yield _entry(name, kind=tarfile.SYMTYPE, mode=0o777, target=target)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _entry(name: str, *, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, size: int = 0, target: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.size, member.linkname = kind, mode, size, target
    return member.tobuf(tarfile.GNU_FORMAT)


def filled(held: int, most: int) -> str:
    return f"the job filled its folder: {held >> 20} MiB, at most {most >> 20}"


def _closed(path: Path) -> bool:
    """Whether a path of another user cannot be read, or its content cannot be removed."""
    facts = path.lstat()
    if os.geteuid() in (0, facts.st_uid) or path.is_symlink():
        return False
    return path.is_dir() or not os.access(path, os.R_OK)


def empty(folder: Path) -> bool:
    """Removes the content of a folder. Returns whether nothing is left."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return not any(folder.iterdir())


def held_bytes(folder: Path) -> int:
    """The bytes on the disk of the files below a folder."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118 - a job may make thousands
    return total
