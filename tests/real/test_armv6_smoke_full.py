"""The whole way to the emulated board: the runtime from source, every route, a bundle alone in its root; twice the same
bytes; the second call from the store."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from command_line import ROOT, good, matrix

from matrix.artifacts.program_audit import audit_program, names_of_this_machine
from matrix.builds import tools
from matrix.builds.board_models import smoke_models
from matrix.builds.digests import read_built
from matrix.builds.sources import source_releases
from matrix.builds.tasks import Tasks, Tree
from matrix.builds.toolchain_tasks import CPU, host_tools_task, runtime_task
from matrix.core.keys import sha256
from matrix.plan.source_builds import NATIVE, RUNNER, UNSTRIPPED

pytestmark = [pytest.mark.real, pytest.mark.full]
TOOLCHAINS = tuple(tools.toolchains())
STAY = ("bin", "zig-cache")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("armv6") / "store"


def test_the_smoke_test_finds_what_is_committed(store: Path) -> None:
    first = matrix("armv6-smoke", "--store", store, timeout=5400)
    assert first.status == 0, first.out[-4000:] + first.err[-2000:]
    again = matrix("armv6-smoke", "--store", store, timeout=300)
    assert again.status == 0
    assert again.seconds < 60
    assert again.out.partition("route ")[2] == first.out.partition("route ")[2]


@pytest.fixture(scope="module")
def conv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model as `export --arrays` leaves it."""
    folder = tmp_path_factory.mktemp("conv")
    (model,) = (found for found in smoke_models(tools.images() / "smoke", folder) if found.name == "conv")
    for kind, paths in (("input", model.inputs), ("expected", model.expected)):
        for index, path in enumerate(paths):
            path.rename(folder / f"conv.{kind}_{index}.npy")
    shutil.copy(model.mlir, folder)
    return folder / "conv.mlir"


@pytest.mark.parametrize(
    ("toolchain", "route"), [("zig-static", "embedded-repaired"), ("armel-dynamic", "system"), ("armel-static", "vmvx")]
)
def test_a_bundle_runs_with_nothing_else_in_its_root(
    toolchain: str, route: str, store: Path, conv: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    good(
        "bundle", "armv6", conv, "-o", root, "--toolchain", toolchain, "--route", route, "--store", store, timeout=3600
    )
    refuse_traces(root, store)
    if toolchain == "zig-static":
        assert (root / RUNNER).stat().st_size < 1_200_000
    trees = tools.tool_trees(store)
    shutil.copy(trees["qemu"].path / "usr" / "bin" / "qemu-arm-static", root / "qemu")
    if tools.toolchains()[toolchain].dynamic:
        library = trees["armel"].path / "usr" / "arm-linux-gnueabi" / "lib"
        (root / "lib").mkdir()
        for name in ("ld-linux.so.3", "libc.so.6", "libm.so.6", "libgcc_s.so.1"):
            assert name in (root / "README.md").read_text(), "the README names what the board must have"
            shutil.copy(library / name, root / "lib")
    passed = run_alone(root)
    assert passed.returncode == 0, passed.stderr
    assert passed.stdout.startswith("pass in ")
    expected = numpy.load(root / "expected_0.npy")
    numpy.save(root / "expected_0.npy", expected + 1)
    failed = run_alone(root)
    assert failed.returncode == 1
    assert failed.stdout.startswith("fail in ")


def refuse_traces(root: Path, *folders: Path) -> None:
    """Looked for in every file without the product's own audit: folders, host, user, version control."""
    names = [socket.gethostname(), str(Path.home()), str(ROOT), *map(str, folders), getpass.getuser()]
    traces = [name.encode() for name in names if len(name) > 4] + [b".git/", b"git@", b"/home/", b"/build/"]
    for path in root.iterdir():
        content = path.read_bytes()
        assert not [trace for trace in traces if trace in content], path.name


def run_alone(root: Path) -> subprocess.CompletedProcess[str]:
    """`run.sh` by this machine's shell, the program in a root of its own: it sees the bundle and nothing else."""
    own_root = ["chroot", str(root)] if os.geteuid() == 0 else ["unshare", "-r", "chroot", str(root)]
    emulator = " ".join([*own_root, "/qemu", "-cpu", CPU])
    env = {"PATH": os.environ["PATH"], "EMULATOR": emulator}
    return subprocess.run([root / "run.sh"], env=env, capture_output=True, text=True, timeout=600, check=False)


def test_a_bundle_into_a_folder_that_holds_something_is_refused_before_any_work(conv: Path, tmp_path: Path) -> None:
    ran = matrix("bundle", "armv6", conv, "-o", conv.parent, "--store", tmp_path / "none")
    assert ran.status == 2 and "is not empty" in ran.err
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def elsewhere(store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tree]:
    """The same trees at other places, of names of another length; cmake stays in its virtual environment."""
    folder = tmp_path_factory.mktemp("a-folder-with-quite-another-name")
    trees = all_trees(store)
    return {name: moved(tree, folder / name) for name, tree in trees.items() if name not in STAY} | {
        "bin": trees["bin"],
        "zig-cache": Tree(path=fresh(folder / "zig-cache"), digest=""),
    }


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second store, for what is built from `elsewhere`."""
    return tmp_path_factory.mktemp("another")


def all_trees(store: Path) -> dict[str, Tree]:
    trees = {"aarch": tools.package_tree("aarch", store), "source": tools.source_tree(None)}
    return tools.tool_trees(store) | trees


def moved(tree: Tree, place: Path) -> Tree:
    shutil.copytree(tree.path, place, symlinks=True)
    return replace(tree, path=place)


def fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_a_runtime_built_twice_is_the_same_bytes(
    toolchain: str, store: Path, elsewhere: Mapping[str, Tree], another: Path
) -> None:
    """In two folders, from compilers and sources in two others; and it is the one that is locked.

    The program with debug information is for here only: zig's C library names its own folder in it, the others nothing.
    """
    digests = []
    for place, trees in ((store, all_trees(store)), (another, elsewhere)):
        tasks = Tasks(place)
        host = tasks.run(host_tools_task(tools.toolchains()[NATIVE], trees))
        assert host.passed, host.log[-3000:]
        built = tasks.run(runtime_task(tools.toolchains()[toolchain], {**trees, "host": host.tree}))
        assert built.passed, built.log[-3000:]
        digests.append(sha256(built.output(RUNNER)))
        for name in (RUNNER,) if toolchain == "zig-static" else (RUNNER, UNSTRIPPED):
            audit = audit_program(built.output(name).read_bytes(), name, words=names_of_this_machine(place))
            assert not audit.leaks, name
    assert digests[0] == digests[1]
    locked = read_built(tools.images())[source_releases(tools.images() / "src")[0]]
    assert f"sha256:{digests[0]}" == locked[toolchain]
