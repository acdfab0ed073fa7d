"""How the files of a job get into its container and out of it: by mounts, or copied by the daemon.

`Mounted` is for a daemon whose host sees the folders of this machine: the inputs are a read-only mount, the outputs a
private folder. `Copied` is for any other: the daemon unpacks a tar of the inputs into a volume of the container, and
packs the outputs into a tar. The volume belongs to root, so a job cannot change its inputs there either.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Protocol

from matrix.core.disk import disk_errors, held_below, remove_tree
from matrix.core.errors import ImageFault, MatrixError
from matrix.core.records import Job
from matrix.engines.contract import link_inputs, outputs_in
from matrix.engines.docker.daemon import Daemon
from matrix.images.layer import BLOCK_BYTES, ENVIRONMENT
from matrix.images.layer_files import Reader

ENVIRONMENT_PYTHON = f"/{ENVIRONMENT}/bin/python"
"""The Python in the project's images."""
TREES_SCRIPT = "trees.py"
"""The script for the files of a container's user, which this process may neither read nor remove if it is not root."""


def of_trees(scripts: str, python: str, verb: str, folder: str) -> list[str]:
    """The command line of `scripts/trees.py` in a container."""
    return [python, "-I", "-S", f"{scripts}/{TREES_SCRIPT}", verb, folder]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPaths:
    """The folders of a job in its container."""

    scripts: str
    inputs: str
    outputs: str


class Exchange(Protocol):
    """The files of one container, for one job after another. `folder` is its folder on this machine.

    The container is created with `mounts` (host folder -> (path, `ro` or `rw`)) and `volumes`. `look_seconds` is the
    shortest time between two calls of `held`.
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

    def held(self) -> tuple[int, int]:
        """The bytes on the disk and the number of the running job's files and folders."""

    def clear(self) -> bool:
        """Removes the job's files. Returns whether none is left for the next job to see."""


class Mounted:
    """See `Exchange`. The user of this process may be another one than the job's, and not root."""

    places = ContainerPaths(scripts="/scripts", inputs="/in", outputs="/out")
    look_seconds = 0.5
    volumes: Sequence[str] = ()

    def __init__(self, daemon: Daemon, folder: Path, scripts: Path, *, python: str, most_bytes: int) -> None:
        self._python, self._most_bytes = python, most_bytes
        self._daemon, self.folder, self._container = daemon, folder, ""
        self._in, self._out, self._scripts = folder / "in", folder / "out", folder / "scripts"
        self._in.mkdir()
        self._out.mkdir()
        shutil.copytree(scripts, self._scripts, ignore=shutil.ignore_patterns("__pycache__"))
        for place in (self._in, self._scripts, *self._scripts.rglob("*")):  # independent of the umask
            place.chmod(0o755)
        self._out.chmod(0o777)

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

    def fetch_outputs(self, job: Job) -> None:
        if any(_closed(path) for path in self._out.iterdir()):
            self._on_trees("open")
        files = outputs_in(self._out, job).values()
        total = sum(path.lstat().st_size for path in files)
        if total > self._most_bytes:  # of sparse files: they take less of the disk
            raise ImageFault(filled(total, self._most_bytes), tip="choose a smaller model")
        with disk_errors(self._out):
            for path in files:
                _take_over(path, beside=self.folder / "own")

    def collect(self, job: Job) -> dict[str, Path]:
        return outputs_in(self._out, job)

    def held(self) -> tuple[int, int]:
        try:
            return held_below(self._out)
        except PermissionError:  # the job closed a folder, and this process is not root
            return held_in(self._on_trees("held"))

    def clear(self) -> bool:
        if not empty(self._out):
            with contextlib.suppress(MatrixError):  # the container ended
                self._on_trees("empty")
        return all([empty(self._in), empty(self._out)])

    def _on_trees(self, verb: str) -> str:
        line = of_trees(self.places.scripts, self._python, verb, self.places.outputs)
        return self._daemon.run_in(self._container, line)


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

    def held(self) -> tuple[int, int]:
        line = of_trees(self.places.scripts, self._python, "held", self.places.outputs)
        return held_in(self._daemon.run_in(self._container, line))

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
    """Whether a file of another user cannot be read."""
    facts = path.lstat()
    return stat.S_ISREG(facts.st_mode) and os.geteuid() not in (0, facts.st_uid) and not os.access(path, os.R_OK)


def _take_over(path: Path, *, beside: Path) -> None:
    """Makes an output of a container's user a file of this process's user. Otherwise the store could neither close it
    to writers nor link it, and it would belong to whoever gets that number on this machine later."""
    if path.lstat().st_uid == os.geteuid():
        return
    try:
        os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)
    except PermissionError:  # not root
        copy_with_holes(path, beside)
        beside.replace(path)  # the folder is ours


def copy_with_holes(source: Path, target: Path) -> None:
    """Copies a file. What it has no blocks for takes none in the copy."""
    with source.open("rb", buffering=0) as old, target.open("wb", buffering=0) as new:
        size, at = os.fstat(old.fileno()).st_size, 0
        new.truncate(size)
        while at < size:
            try:
                at = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                return  # a hole up to the end
            end = os.lseek(old.fileno(), at, os.SEEK_HOLE)
            new.seek(at)
            while at < end and (sent := os.sendfile(new.fileno(), old.fileno(), at, end - at)):
                at += sent


def empty(folder: Path) -> bool:
    """Removes the content of a folder. Returns whether nothing is left."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            remove_tree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return not any(folder.iterdir())


def held_in(said: str) -> tuple[int, int]:
    """What `trees.py held` said; nothing, where the container ended meanwhile: others report that."""
    words = said.split()
    return (int(words[0]), int(words[1])) if len(words) == 2 and all(word.isdigit() for word in words) else (0, 0)
