"""The whole way to the emulated board: the runtime from source, every route, a bundle alone in its root; twice the same
bytes; the second call from the store."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from pathlib import Path

import numpy
import pytest
from command_line import ROOT, good, matrix
from samples import spec_of

from matrix.artifacts.program_audit import audit_program, names_of_this_machine
from matrix.builds import tools
from matrix.builds.board_programs import CPU
from matrix.builds.expected import read_built
from matrix.builds.sources import source_releases
from matrix.core.data import DATA
from matrix.core.disk import store_places
from matrix.core.keys import sha256
from matrix.core.records import DEFAULT_ENGINE
from matrix.engines.choice import engine_maker
from matrix.engines.kind import workshop
from matrix.plan.backends.iree.source_builds import RUNNER, STEPS, TREES, UNSTRIPPED
from matrix.plan.question import Question
from matrix.run.planning import plan_for

pytestmark = [pytest.mark.real, pytest.mark.full]
TOOLCHAINS = tuple(name for name, each in tools.toolchains().items() if not each.bare)


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
    for path in (DATA / "modules").glob("conv.*"):
        shutil.copy(path, folder)
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
    furnisher = tools.BuildTools(shop=workshop(store_places(store)), store=store)
    shutil.copy(furnisher.packages("qemu").path / "usr" / "bin" / "qemu-arm-static", root / "qemu")
    if tools.toolchains()[toolchain].dynamic:
        library = furnisher.packages("armel").path / "usr" / "arm-linux-gnueabi" / "lib"
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


BUILD = """
[axes]
model = "linear"
runtime = "built"
target = "{target}"
[builds.built]
source = "{release}"
toolchain = "{toolchain}"
"""
TARGETS = {"arm": "armv6", "aarch64": "aarch64", "x86_64": "x86_64"}


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_a_runtime_built_twice_is_the_same_bytes(toolchain: str, store: Path, tmp_path: Path) -> None:
    """In two folders, from compilers and sources in two others; and it is the one that is locked.

    The program with debug information is for here only: zig's C library names its own folder in it, the others nothing.
    """
    release = source_releases(tools.images() / "src")[0]
    body = BUILD.format(target=TARGETS[tools.toolchains()[toolchain].machine], release=release, toolchain=toolchain)
    plan = plan_for(spec_of(body), Question(), store)
    (node,) = (node for node in plan.nodes if node.stage == "build")
    engine = engine_maker(DEFAULT_ENGINE, store_places(store), cores=1)(lambda _: None)
    root = engine.realise(node.request).root
    digests = []
    for prefix, work in (
        (root, tmp_path / "one"),
        (moved(root, tmp_path / "quite-another-name"), tmp_path / "the-other"),
    ):
        work.mkdir()
        line = [prefix / "bin" / "python", ROOT / "scripts" / STEPS, *node.flags]
        built = subprocess.run(line, cwd=work, capture_output=True, text=True, timeout=3600, check=False)
        assert built.returncode == 0, built.stdout[-3000:]
        digests.append(sha256(work / RUNNER))
        for name in (RUNNER,) if toolchain == "zig-static" else (RUNNER, UNSTRIPPED):
            audit = audit_program((work / name).read_bytes(), name, words=names_of_this_machine(store, tmp_path))
            assert not audit.leaks, name
    engine.close()
    assert digests[0] == digests[1]
    assert f"sha256:{digests[0]}" == read_built(tools.images())[release][toolchain]


def moved(root: Path, place: Path) -> Path:
    """The environment with the same trees at other places, of names of another length, and a cache of its own; cmake
    stays in its virtual environment."""
    subprocess.run([root / "bin" / "python", "-m", "venv", "--without-pip", place], check=True, timeout=60)
    (place / TREES).mkdir()
    for tree in (root / TREES).iterdir():
        if tree.name == "bin":
            (place / TREES / tree.name).symlink_to(tree.resolve())
        elif tree.name == "zig-cache":
            (place / TREES / tree.name).mkdir()
        else:
            shutil.copytree(tree.resolve(), place / TREES / tree.name, symlinks=True)
    return place
