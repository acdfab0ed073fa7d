"""The table and the advice are functions of the outcomes."""

from __future__ import annotations

import dataclasses

import pytest
from built_reports import built_report
from samples import result

from matrix.builds.board_programs import ProgramFacts, program_facts
from matrix.builds.linkage import BoardCell, BoardRuntime, advice, linkage_table, programs_of, row_of
from matrix.core.records import JobEnd, Outcome
from matrix.plan.backends.iree.source_builds import RUNNER
from matrix.results.run import File

ROUTES = ("vmvx", "embedded", "embedded-repaired", "system")
STATIC_LIBRARY = "static-library"


def runner(name: str, float_abi: str, size: int, *needs: str) -> BoardRuntime:
    facts = ProgramFacts(architecture="v6", floating_point="VFPv2", float_abi=float_abi, needs=needs)
    return BoardRuntime(name=name, size=size, facts=facts, routes=ROUTES)


STATIC = runner("zig-static", "hard", 1_100_000)
BIG = runner("armel-static", "softfp", 2_100_000)
DYNAMIC = runner("armel-dynamic", "softfp", 1_000_000, "libc.so.6")
RUNNERS = (BIG, DYNAMIC, STATIC)


def rows(*broken: str) -> list[BoardCell]:
    """Two models by all routes on all runners; `broken` names cells that fail."""
    made = [
        BoardCell(model=model, route=route, runner=runner.name, outcome=Outcome.PASSED)
        for model in ("matmul", "exp")
        for route in ROUTES
        for runner in RUNNERS
    ]
    return [
        row
        if row.cell not in broken and row.route not in broken
        else BoardCell(
            model=row.model, route=row.route, runner=row.runner, outcome=Outcome.FAILED, detail="elf-imports"
        )
        for row in made
    ]


def test_the_table_has_a_line_for_each_route_and_runner() -> None:
    wrong = BoardCell(
        model="exp", route="vmvx", runner="zig-static", outcome=Outcome.WRONG_OUTPUT, detail="worst at [0]: 4"
    )
    found = [wrong if row.cell == wrong.cell else row for row in rows("embedded")]
    table = {(line[0], line[3]): line for line in linkage_table(found, RUNNERS).rows}
    assert len(table) == len(ROUTES) * len(RUNNERS)
    assert table["vmvx", "zig-static"][4:6] == ("2/2", "1/2")
    assert table["embedded", "armel-dynamic"][4:] == ("0/2", "0/2", "1,000,000", "libc.so.6", "elf-imports")
    assert table["system", "armel-static"][1:3] == ("static", "softfp")


def test_programs_with_a_model_in_them_have_lines_of_their_own_and_decide_no_advice() -> None:
    program = dataclasses.replace(STATIC, size=30_000, routes=(STATIC_LIBRARY,), whole=False)
    row = BoardCell(model="exp", route=STATIC_LIBRARY, runner="zig-static", outcome=Outcome.PASSED)
    found = [*rows("embedded"), row]
    table = linkage_table(found, (*RUNNERS, program)).rows
    assert [line for line in table if line[0] == STATIC_LIBRARY] == [
        (STATIC_LIBRARY, "static", "hard", "zig-static", "1/1", "1/1", "30,000", "nothing", "")
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


def cell(outcome: Outcome, stage: str = "run", log: str = "", **end: int):
    """The run of a built runtime, and its cell whose job of a stage ended so."""
    ended = dataclasses.replace(result("run"), stage=stage, outcome=outcome)
    ended = dataclasses.replace(ended, end=JobEnd(key="k", end="exited", log=log, log_bytes=len(log), **end))
    run = built_report({("board", "3.0.0"): ended})
    (chosen,) = (each for each in run.cells if each.axes["runtime"] == "board" and each.axes["compiler"] == "3.0.0")
    return run, dataclasses.replace(chosen, axes={**chosen.axes, "route": "embedded"}, stage=stage)


IMPORTS = "elf_module.c: ELF imports one or more symbols (trying 'fmaf'); imports are not supported"


@pytest.mark.parametrize(
    ("ended", "verdict"),
    [
        (cell(Outcome.PASSED), "passed"),
        (cell(Outcome.FAILED, log=IMPORTS, exit_code=1), "failed: elf-imports"),
        (
            cell(Outcome.FAILED, "compile", log="undefined symbol: fmaxf", exit_code=1),
            "failed: compile: undefined-symbol",
        ),
        (cell(Outcome.FAILED, log="strange\n", exit_code=3), "failed: exit code 3: strange"),
        (cell(Outcome.CRASHED, log="qemu", signal=4), "crashed: SIGILL"),
        (cell(Outcome.TIMED_OUT), "timed_out"),
    ],
)
def test_a_cell_is_said_in_a_few_words(ended, verdict):
    row = row_of(*ended)
    assert (row.cell, row.verdict) == ("given embedded board", verdict)


def test_the_largest_program_of_each_runtime_counts():
    run = built_report({})
    sizes = {name: file.bytes for name, file in programs_of(run, "build").items()}
    assert sizes.keys() == {"mine", "board"}
    assert programs_of(run, "link") == {}
    job = next(job for each in run.cells for job in run.jobs_of(each) if job.stage == "build")
    ends = ((10, Outcome.PASSED), (30, Outcome.PASSED), (90, Outcome.WRONG_OUTPUT))
    linked = {
        f"{size}": dataclasses.replace(job, stage="link", artifacts={RUNNER: File(sha256="d", bytes=size)})
        for size, _ in ends
    }
    cells = tuple(
        dataclasses.replace(each, outcome=outcome, jobs=(f"{size}",))
        for each, (size, outcome) in zip(run.cells, ends, strict=False)
    )
    found = programs_of(dataclasses.replace(run, cells=cells, jobs=linked), "link")
    assert max(file.bytes for file in found.values()) == 30


def test_what_binutils_say_of_a_program_for_risc_v():
    words = "  Flags:                             0x5, RVC, double-float ABI\n"
    words += '  Tag_RISCV_arch: "rv64i2p1_m2p0_a2p1_f2p2_d2p2_c2p0_zicsr2p0_zca1p0"\n'
    facts = program_facts(words)
    assert (facts.architecture, facts.floating_point, facts.float_abi) == ("rv64imafdc", "double precision", "hard")
    assert program_facts(words.replace("double-float", "soft-float")).float_abi == "softfp"
