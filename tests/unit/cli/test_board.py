"""The verbs of boards: what they plan, and what they make of what was found."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from matrix.builds import tools
from matrix.builds.board_programs import ProgramFacts
from matrix.builds.expected import BUILT_FILE, BoardFindings, read_expected
from matrix.builds.linkage import BoardCell, BoardRuntime
from matrix.builds.tools import emulator_set
from matrix.cli.boards import parts, smoke
from matrix.cli.boards.bundle import check_bundle
from matrix.core.data import BOARD_PRESET
from matrix.core.errors import EXIT_NO, EXIT_OK, ModelMissing, UsageError
from matrix.core.records import Outcome
from matrix.plan.backends.iree.boards import boards, newest_builds
from matrix.plan.graph import Plan
from matrix.plan.question import Question
from matrix.run.planning import load_catalogue, load_spec, plan_for

ONE = f"sha256:{'1' * 64}"
FACTS = ProgramFacts(architecture="v6", floating_point="VFPv2", float_abi="hard", needs=())
RUNNER = BoardRuntime(name="zig-static", size=1_100_000, facts=FACTS, routes=("vmvx",))
ROW = BoardCell(model="exp", route="vmvx", runner="zig-static", outcome=Outcome.PASSED)
FOUND = BoardFindings(release="3.13.0", checks={"hello": "right"}, binaries={"zig-static": ONE}, rows=(ROW,))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The committed data without what was found on the board."""
    shutil.copytree(tools.images(), tmp_path / "images" / "armv6", ignore=shutil.ignore_patterns(BUILT_FILE, "target"))
    monkeypatch.setenv("IREE_MATRIX_DATA", str(tmp_path))
    return tmp_path


def told(found: BoardFindings, *, accept: bool = False) -> int:
    path = smoke.expected_path()
    expected = read_expected(path) if path.exists() and not accept else None
    return smoke.tell(found, [RUNNER], expected, Namespace(accept=accept))


def test_what_was_accepted_is_as_expected(data, capsys):
    assert told(FOUND) == EXIT_OK
    assert "no outcomes are committed" in capsys.readouterr().out
    assert told(FOUND, accept=True) == EXIT_OK
    capsys.readouterr()
    only_exp = json.loads(smoke.expected_path().read_text())
    smoke.expected_path().write_text(json.dumps(only_exp))
    assert told(FOUND) == EXIT_OK
    out = capsys.readouterr().out
    assert "as expected: 2 checks and 1 cells" in out
    assert "Link statically" not in out
    assert "zig-static has vmvx" in out


def test_a_difference_is_named_and_is_exit_status_1(data, capsys):
    told(FOUND, accept=True)
    failed = replace(ROW, outcome=Outcome.FAILED, detail="elf-imports")
    assert told(replace(FOUND, rows=(failed,))) == EXIT_NO
    said = "1 not as expected:\n  exp vmvx zig-static: expected passed, is failed: elf-imports\n"
    assert said in capsys.readouterr().out


def smoke_plan(*models: str, source: Path | None = None) -> Plan:
    spec = parts.board_spec(BOARD_PRESET, source, models)
    words = (*spec.axes["model"], *parts.model_words(models))
    return plan_for(spec, Question(preset=BOARD_PRESET, models=words))


def test_the_preset_plans_the_cells_that_are_committed():
    plan = smoke_plan("conv2d", "mobilenet_v2")
    planned = {
        " ".join(cell.labels[axis] for axis in ("model", "route", "runtime"))
        for cell in plan.cells
        if not cell.excluded
    }
    assert planned == read_expected(smoke.expected_path())["cells"].keys()
    assert not [node.obstacle for node in plan.nodes if node.obstacle]


def test_a_static_library_is_linked_with_the_toolchain_and_waits_for_no_runtime():
    plan = smoke_plan()
    for cell in plan.cells:
        nodes = [plan.nodes[index] for index in cell.nodes]
        linked = cell.labels["route"] == "static-library"
        assert [node.stage for node in nodes] == ["compile", "link" if linked else "build", "run"]
        hard = any("armv6-linux-gnueabihf" in flag for flag in nodes[0].flags)
        assert hard == (linked and cell.labels["runtime"] == "zig-static"), "the float ABI is the toolchain's"
        beside = nodes[-1].request.platform.packages
        assert bool(beside) == (cell.labels["runtime"] == "armel-dynamic"), "only that one has a C library beside it"


ARRAY = (Path(__file__).parents[2] / "data" / "linear_input.npy").read_bytes()


def exported(folder: Path, name: str, *, size: int = 10, inputs: int = 1) -> Path:
    """What `export --arrays` leaves."""
    (folder / f"{name}.mlir").write_bytes(bytes(size))
    for array in ("expected_0", *(f"input_{index}" for index in range(inputs))):
        (folder / f"{name}.{array}.npy").write_bytes(ARRAY)
    return folder / f"{name}.mlir"


def test_a_large_model_is_interpreted_on_the_smallest_static_runner_only(tmp_path):
    plan = smoke_plan(str(exported(tmp_path, "net", size=parts.WHOLE + 1)), str(exported(tmp_path, "small")))
    interpreted = {
        (cell.labels["model"], cell.labels["runtime"])
        for cell in plan.cells
        if cell.labels["route"] == "vmvx" and not cell.excluded
    }
    assert {runtime for model, runtime in interpreted if model == "net"} == {"zig-static"}
    assert len({runtime for model, runtime in interpreted if model == "small"}) == 3


def test_sources_of_ones_own_are_those_of_every_runtime(tmp_path):
    (tmp_path / "runtime" / "src" / "iree").mkdir(parents=True)
    plan = smoke_plan(source=tmp_path)
    builds = [request.build for request in plan.environments() if request.build]
    assert [(build.release, build.tree) for build in builds] == [("", tmp_path)] * 3


def test_a_model_without_its_arrays_says_how_to_make_them(tmp_path):
    (tmp_path / "m.mlir").touch()
    with pytest.raises(ModelMissing, match=r"read '.*expected_0\.npy', expected a file") as raised:
        parts.exported_model(tmp_path / "m.mlir")
    assert "--arrays" in raised.value.tip


def test_inputs_of_a_model_are_in_the_order_of_their_numbers(tmp_path):
    model = parts.exported_model(exported(tmp_path, "m", inputs=12))
    assert [Path(path).name for path in model.inputs] == [f"m.input_{index}.npy" for index in range(12)]


@pytest.mark.parametrize(
    ("target", "option", "value", "said"),
    [
        (
            "armv6",
            "toolchain",
            "zig",
            "--toolchain: read 'zig', expected one of zig-static, armel-static, armel-dynamic",
        ),
        ("armv6", "route", "static-library", "--route: read 'static-library', expected one of vmvx, embedded"),
        ("armv7", "toolchain", "zig-static", "--toolchain: read 'zig-static', expected one of zig-armv7-static"),
        ("riscv64", "route", "system", "--route: read 'system', expected one of embedded-repaired, embedded, vmvx"),
    ],
)
def test_a_bundle_of_an_unknown_toolchain_or_route_is_refused_before_any_work(target, option, value, said, tmp_path):
    options = {"target": target, "toolchain": "", "route": "", "output": tmp_path / "out", option: value}
    with pytest.raises(UsageError) as raised:
        check_bundle(Namespace(**options))
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize("board", boards().values(), ids=lambda board: board.target)
def test_each_board_has_its_runtimes_routes_and_emulator(board):
    """In the shipped presets: what `bundle` takes by itself builds for the machine of the target."""
    spec = load_spec(board.preset)
    target = load_catalogue(spec).targets[board.target]
    assert set(board.toolchains) <= newest_builds(spec.builds).keys()
    assert {tools.toolchains()[name].machine for name in board.toolchains} == {target.machine}
    assert board.route in spec.own_axes["route"]
    chosen = emulator_set(target.emulator[0])[0]
    assert ("-cpu" in target.emulator) == (chosen in ("qemu", "newer-qemu"))
    assert ("-M" in target.emulator) == (chosen == "system-qemu")


def test_the_newest_of_several_runtimes_is_bundled():
    assert newest_builds(load_spec("boards").builds) == {
        "zig-armv7-static": "armv7_3.13",
        "zig-riscv64-static": "riscv64_3.13",
    }
