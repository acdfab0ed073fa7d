"""What is committed for 32-bit Arm can be read, names no place, and its faults are named together."""

from __future__ import annotations

import re
from pathlib import Path

import numpy
import pytest

from matrix.builds import tools
from matrix.builds.board_models import REFERENCES, SHAPES, exported_model, smoke_models
from matrix.builds.linker import helpers_task
from matrix.builds.routes import ROUTES, compile_task, static_compile_task
from matrix.builds.tasks import Tree, task_key
from matrix.builds.toolchain_tasks import host_tools_task, program_task, runtime_task
from matrix.core.errors import LockFault, ModelMissing
from matrix.images.debian.tool_locking import set_text
from matrix.images.debian.unpacked import HOST, read_set
from matrix.images.debian.wanted import read_tool_wishes
from matrix.plan.source_builds import NATIVE, read_toolchains

NAMES = ("armel", "native", "qemu", "bin", "zig", "zig-cache", "source", "host", "compiler", "link")
TREES = {name: Tree(path=Path(f"/{name}"), digest=name) for name in NAMES}


def test_every_set_that_is_wanted_is_locked() -> None:
    wanted = read_tool_wishes(tools.images())
    for row in wanted.sets:
        lock = read_set(tools.images(), row.name)
        names = [deb.package for deb in lock.on(HOST).debs]
        assert set(row.packages) <= set(names)
        assert not set(row.exclude) & set(names)
        assert set_text(lock) == (tools.images() / f"debian-{row.name}.toml").read_text()


def test_a_set_that_no_command_could_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wanted.toml").write_text('format = 1\nsuite = "bookworm"\n[[set]]\nname = "arm64"\npackages = []\n')
    with pytest.raises(LockFault, match=r"set\[0\]\.name: read 'arm64', expected small letters"):
        read_tool_wishes(tmp_path)


def test_the_tools_are_locked_with_hashes() -> None:
    text = (tools.images() / "tools.txt").read_text()
    for requirement in read_tool_wishes(tools.images()).tools:
        name = re.split(r"[<>=]", requirement)[0]
        assert re.search(rf"^{name}==\S+ \\\n    --hash=sha256:", text, re.M)


def test_all_faults_of_a_lock_are_named_together(tmp_path: Path) -> None:
    (tmp_path / "debian-x.toml").write_text('format = 2\nsuite = 1\nwhat = "?"\n')
    with pytest.raises(LockFault) as raised:
        read_set(tmp_path, "x")
    for word in ("format: read 2", "suite: read 1", "what: unknown key", "released: is missing", "x86_64.layer"):
        assert word in str(raised.value)


def test_a_lock_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(LockFault, match=r"debian-x\.toml cannot be read") as raised:
        read_set(tmp_path, "x")
    assert "nox -s lock" in raised.value.tip


def test_every_tree_that_a_task_names_is_given(tmp_path: Path) -> None:
    """A placeholder that nobody fills would reach a command line as it is."""
    toolchains = tools.board_toolchains()
    mlir = tools.images() / "smoke" / "exp.mlir"
    tasks = [helpers_task(tools.images() / "link", TREES), host_tools_task(tools.toolchains()[NATIVE], TREES)]
    for toolchain in toolchains.values():
        tasks += [runtime_task(toolchain, TREES), program_task(toolchain, mlir, TREES)]
        tasks += [static_compile_task("exp", mlir, toolchain.float_abi, TREES)]
    tasks += [compile_task("exp", mlir, route, TREES) for route in ROUTES]
    for task in tasks:
        words = [word for command in task.commands for word in command] + [value for _, value in task.environment]
        named = set(re.findall(r"\{([\w-]+)\}", " ".join(words)))
        assert named <= TREES.keys() | {"here"}, task.label
    assert len({task_key(task) for task in tasks}) == len(tasks) - 1  # two toolchains share the soft float ABI


def test_a_toolchain_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "toolchains.toml").write_text('[mine]\ncc = ["cc"]\nfloat_abi = "softer"\nlnik = []\n')
    with pytest.raises(LockFault) as raised:
        read_toolchains(tmp_path / "toolchains.toml")
    assert "mine.lnik" in str(raised.value)
    assert "mine.float_abi" in str(raised.value)


def test_a_tree_that_is_not_iree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LockFault, match="no IREE source tree"):
        tools.source_tree(tmp_path)


def test_an_unknown_compiler_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(LockFault, match=r"only for .*3\.13\.0"):
        tools.compiler_environment("9.9.9", tmp_path)


def test_every_model_has_a_reference_and_an_mlir_file(tmp_path: Path) -> None:
    models = smoke_models(tools.images() / "smoke", tmp_path)
    assert [model.name for model in models] == list(SHAPES) == list(REFERENCES)
    for model in models:
        assert model.mlir.is_file()
        assert numpy.isfinite(numpy.load(model.expected[0])).all()
        assert len(numpy.unique(numpy.load(model.expected[0]))) > 3


def test_the_convolution_is_the_one_by_its_definition(tmp_path: Path) -> None:
    (model,) = (found for found in smoke_models(tmp_path, tmp_path) if found.name == "conv")
    image, weights, bias = (numpy.load(path).astype(float) for path in model.inputs)
    got = numpy.load(model.expected[0])
    for o, y, x in ((0, 0, 0), (7, 15, 15), (3, 4, 9)):
        total = bias[o] + sum(
            image[0, c, y + i, x + j] * weights[o, c, i, j] for c in range(3) for i in range(3) for j in range(3)
        )
        assert got[0, o, y, x] == pytest.approx(min(max(total, 0.0), 6.0), abs=1e-5)


def test_a_model_without_its_arrays_says_how_to_make_them(tmp_path: Path) -> None:
    (tmp_path / "m.mlir").touch()
    with pytest.raises(ModelMissing, match=r"expected_0\.npy does not exist") as raised:
        exported_model(tmp_path / "m.mlir")
    assert "--arrays" in raised.value.tip


def test_inputs_of_a_model_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("m.mlir", "m.expected_0.npy", *(f"m.input_{index}.npy" for index in range(12))):
        (tmp_path / name).touch()
    model = exported_model(tmp_path / "m.mlir")
    assert [path.name for path in model.inputs] == [f"m.input_{index}.npy" for index in range(12)]
