"""The table, the differences and the advice are functions of the outcomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from matrix.builds import tools
from matrix.builds.board_cells import Board, planned
from matrix.builds.board_models import SmokeModel
from matrix.builds.program import program_facts
from matrix.builds.routes import (
    ROUTES,
    STATIC_LIBRARY,
    Row,
    Runner,
    advice,
    differences,
    library_query,
    linkage_table,
)
from matrix.builds.tasks import Tasks
from matrix.core.records import Outcome

STATIC = Runner(name="zig-static", float_abi="hard", dynamic=False, size=1_100_000, needs=())
BIG = Runner(name="armel-static", float_abi="softfp", dynamic=False, size=2_100_000, needs=())
DYNAMIC = Runner(name="armel-dynamic", float_abi="softfp", dynamic=True, size=1_000_000, needs=("libc.so.6",))
RUNNERS = (BIG, DYNAMIC, STATIC)


def rows(*broken: str) -> list[Row]:
    """Two models by all routes on all runners; `broken` names cells that fail."""
    made = [
        Row(model=model, route=route, runner=runner.name, outcome=Outcome.PASSED, detail="")
        for model in ("matmul", "exp")
        for route in ROUTES
        for runner in RUNNERS
    ]
    return [
        row
        if row.cell not in broken and row.route not in broken
        else Row(model=row.model, route=row.route, runner=row.runner, outcome=Outcome.FAILED, detail="elf-imports")
        for row in made
    ]


def test_nothing_differs_from_itself() -> None:
    found = rows("exp embedded zig-static")
    assert differences(found, {row.cell: row.verdict for row in found}) == []


def test_every_kind_of_difference_is_named() -> None:
    expected = {row.cell: row.verdict for row in rows()}
    expected["gone vmvx zig-static"] = "passed"
    del expected["matmul vmvx zig-static"]
    assert differences(rows("exp embedded zig-static"), expected) == [
        "exp embedded zig-static: expected passed, is failed: elf-imports",
        "gone vmvx zig-static: expected passed, is not measured",
        "matmul vmvx zig-static: expected nothing, is passed",
    ]


def test_the_table_has_a_line_for_each_route_and_runner() -> None:
    wrong = Row(model="exp", route="vmvx", runner="zig-static", outcome=Outcome.WRONG_OUTPUT, detail="worst at [0]: 4")
    found = [wrong if row.cell == wrong.cell else row for row in rows("embedded")]
    table = {(line[0], line[3]): line for line in linkage_table(found, RUNNERS)}
    assert len(table) == len(ROUTES) * len(RUNNERS)
    assert table["vmvx", "zig-static"][4:6] == ["2/2", "1/2"]
    assert table["embedded", "armel-dynamic"][4:] == ["0/2", "0/2", "1,000,000", "libc.so.6", "elf-imports"]
    assert table["system", "armel-static"][1:3] == ["static", "softfp"]


HEADER = """
const iree_hal_executable_library_header_t**
main_dispatch_0_library_query(
iree_hal_executable_library_version_t max_version, const iree_hal_executable_environment_v0_t* environment);
"""
"""Of the header that iree-compile 3.13.0 writes beside a static library."""


def test_the_function_that_a_static_library_exports_is_read_from_its_header() -> None:
    assert library_query(HEADER) == "main_dispatch_0_library_query"
    assert library_query(HEADER.replace("main_", "main$async_")) == "main$async_dispatch_0_library_query"
    assert library_query("// nothing") == ""


def test_programs_with_a_model_in_them_have_lines_of_their_own_and_decide_no_advice() -> None:
    program = Runner(
        name="zig-static", float_abi="hard", dynamic=False, size=30_000, needs=(), routes=(STATIC_LIBRARY,)
    )
    row = Row(model="exp", route=STATIC_LIBRARY, runner="zig-static", outcome=Outcome.PASSED, detail="")
    found = [*rows("embedded"), row]
    table = linkage_table(found, (*RUNNERS, program))
    assert [line for line in table if line[0] == STATIC_LIBRARY] == [
        [STATIC_LIBRARY, "static", "hard", "zig-static", "1/1", "1/1", "30,000", "nothing", ""]
    ]
    assert advice(found, (*RUNNERS, program)) == advice(rows("embedded"), RUNNERS)


def test_the_smallest_static_runner_that_is_whole_is_advised() -> None:
    first, second = advice(rows("embedded"), RUNNERS)
    assert first.startswith("Link statically: the static runner zig-static (1.1 MB, hard float ABI) needs nothing else")
    assert "embedded-repaired" in first
    assert "(armel-dynamic needs libc.so.6 on the board)" in second


def test_advice_follows_the_outcomes() -> None:
    first, _ = advice(rows("embedded", "exp embedded-repaired zig-static"), RUNNERS)
    assert "armel-static" in first
    first, _ = advice(rows("embedded", "embedded-repaired"), RUNNERS)
    assert first.startswith("No runner")
    _, second = advice(rows("embedded", "vmvx", "system"), RUNNERS)
    assert second.count("no route") == 3


READELF = """
  Flags:                             0x5000200, Version5 EABI, soft-float ABI
      [Requesting program interpreter: /lib/ld-linux.so.3]
 0x00000001 (NEEDED)                     Shared library: [libm.so.6]
 0x00000001 (NEEDED)                     Shared library: [libc.so.6]
  Tag_CPU_name: "ARM1176JZF-S"
  Tag_CPU_arch: v6KZ
  Tag_FP_arch: VFPv2
"""
"""Lines of binutils 2.40 about a dynamic program of Debian's armel compiler."""


def test_facts_of_a_dynamic_program() -> None:
    facts = program_facts(READELF)
    assert (facts.architecture, facts.floating_point, facts.float_abi) == ("v6KZ", "VFPv2", "softfp")
    assert facts.needs == ("ld-linux.so.3", "libm.so.6", "libc.so.6")


def test_facts_of_a_hard_float_program_without_libraries() -> None:
    facts = program_facts("  Tag_CPU_arch: v6\n  Tag_FP_arch: VFPv2\n  Tag_ABI_VFP_args: VFP registers\n")
    assert (facts.architecture, facts.float_abi, facts.needs) == ("v6", "hard", ())


def test_a_whole_model_is_interpreted_on_the_smallest_static_runner_only(tmp_path: Path) -> None:
    known = tools.board_toolchains()
    binaries = {name: tmp_path / name for name in known}
    for name, path in binaries.items():
        path.write_bytes(bytes({"armel-dynamic": 10, "zig-static": 20, "armel-static": 30}[name]))
    support = (tmp_path, tmp_path)
    board = Board(
        tasks=Tasks(tmp_path), trees={}, toolchains=known, binaries=binaries, support=support, scratch=tmp_path
    )
    small = SmokeModel(name="exp", mlir=tmp_path, inputs=(), expected=())
    models = (small, replace(small, name="net", whole=True))
    cells = {(model.name, route, name) for model, route, name in planned(board, models)}
    assert len(cells) == 2 * 3 * (len(ROUTES) + 1) - 2
    assert not {("net", "vmvx", "armel-dynamic"), ("net", "vmvx", "armel-static")} & cells
    assert {
        ("net", "vmvx", "zig-static"),
        ("exp", "vmvx", "armel-dynamic"),
        ("net", STATIC_LIBRARY, "armel-static"),
    } <= cells
