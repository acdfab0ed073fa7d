"""A store whose environments are realised once from the committed locks, and stores for single tests beside it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import good, new_store, standing, write_spec
from engine_contract import request_for
from nix_here import let_go, nix_or_skip, stored
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from matrix.builds.board_programs import BoardTools
from matrix.builds.tools import BuildTools, toolchains
from matrix.core.disk import store_places
from matrix.core.records import Environment
from matrix.engines.kind import workshop
from matrix.engines.nix.store import NixStore


class ByFile(LoadScopeScheduling):
    """For `-n 2 --dist loadfile`: a file stays on one process, and all that uses the container daemon on the same one.

    Tests remove images, kill containers and stop daemons: none may do that under another. (`--dist loadgroup` of
    xdist 3.8 has no effect under pytest 9.2: it renames nodes by a field that is no longer read.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "daemon" if "daemon_or_skip" in (self.config.rootpath / file).read_text(encoding="utf-8") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)


STORED_BEFORE = "nix-store-before"
OF_THE_SESSION = ("shared", "unpacked", "published", STORED_BEFORE)


@pytest.fixture(scope="module", autouse=True)
def nothing_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests of a file made goes with its last test: an environment with torch takes gigabytes."""
    base = tmp_path_factory.getbasetemp()
    before = set(base.iterdir())
    yield
    for folder in set(base.iterdir()) - before:
        if not folder.name.startswith(OF_THE_SESSION):
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which three compilers and three runtimes stand. Tests look at it and never write to it."""
    folder = tmp_path_factory.mktemp("shared")
    good("run", write_spec(folder / "spec"), "--store", folder / "store")
    assert len(standing(folder / "store")) == 6
    return folder / "store"


@pytest.fixture(scope="session")
def unpacked(together: Path) -> Path:
    """A store's folder for compilers, emulators and C libraries: 370 MB of qemu are unpacked once, by whichever of
    several processes comes first."""
    folder = together / "unpacked"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def furnisher(unpacked: Path) -> BuildTools:
    return BuildTools(shop=workshop(store_places(unpacked)), store=unpacked)


@pytest.fixture(scope="module")
def arm_board(furnisher: BuildTools, tmp_path_factory: pytest.TempPathFactory) -> BoardTools:
    """The locked compiler and emulator for 32-bit Arm, fetched and unpacked: a minute."""
    trees = tmp_path_factory.mktemp("trees")
    (trees / "armel").symlink_to(furnisher.packages("armel").path)
    qemu = furnisher.emulator("qemu-arm-static")
    return BoardTools(toolchain=toolchains()["armel-static"], trees=trees, qemu=qemu)


@pytest.fixture(scope="module")
def nix(tmp_path_factory: pytest.TempPathFactory, together: Path) -> Iterator[NixStore]:
    """This machine's Nix store, or a loud skip. What the file's tests put into it is gone when the file is over, or,
    where another process of the session uses it, with that one's file; what was there before stays."""
    found = nix_or_skip()
    listed = together / STORED_BEFORE
    with contextlib.suppress(FileExistsError), listed.open("x") as file:
        file.write("\n".join(stored()))
    yield found
    let_go(found, listed.read_text().splitlines(), tmp_path_factory.getbasetemp())


@pytest.fixture
def store(tmp_path: Path, shared: Path) -> Path:
    """An empty store that finds the shared environments standing."""
    return new_store(tmp_path / "store", shared)


@pytest.fixture(scope="class")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an engine under contract keeps everything."""
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="class")
def made(request: pytest.FixtureRequest, place: Path) -> tuple[Environment, Environment]:
    """A compiler and a runtime of one release, realised once by the engine whose contract is tested."""
    engine = request.cls.new(place, lambda event: None)
    return engine.realise(request_for("compiler", "3.8.0")), engine.realise(request_for("runtime", "3.8.0"))


@pytest.fixture
def another_nix(tmp_path: Path) -> Path:
    """An empty folder for a store of Nix of its own."""
    folder = tmp_path / "nix"
    folder.mkdir()
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A function that mounts a disk of some size, or gives it another size. Needs root; a skip is not a pass."""
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = False

    def size(text: str) -> Path:
        nonlocal mounted
        options = f"size={text}" + (",remount" if mounted else "")
        argv = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"NOT TESTED: a full disk needs the right to mount: {done.stderr.strip()}")
        mounted = True
        return disk

    yield size
    if mounted:
        subprocess.run(["umount", str(disk)], check=True)
