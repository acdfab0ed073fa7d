"""Verdicts on times: the rule by itself, on real rounds of a busy machine, and on noise."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from samples import catalogue, spec_of
from timings import SPEC, measured, timed_plan

from matrix.artifacts.vmfb_audit import Leak, VmfbAudit
from matrix.core.records import Outcome
from matrix.plan.catalogue import Model
from matrix.plan.graph import make_plan
from matrix.plan.rounds import with_repeats
from matrix.results.formats import FORMATS
from matrix.results.measured.figures import Timed, Times, Verdict
from matrix.results.run import Cell, FinishedJob, Run
from matrix.results.speed import (
    LEAST_FLOOR,
    Repeat,
    Subject,
    median_interval,
    noise_floor,
    times_of,
    verdict_of,
)
from matrix.results.times import COLUMNS, amount, caption, duration, miscounted, repeat_agreement

BUSY = {
    "3.7.0": (
        *(0.2365, 0.2579, 0.3052, 0.2589, 0.2392, 0.2027, 0.2024),
        *(0.2164, 0.2409, 0.2479, 0.2201, 0.4166, 0.4184, 0.2955),
    ),
    "3.10.0": (
        *(0.2759, 0.2763, 0.2753, 0.2796, 0.2140, 0.1980, 0.1966),
        *(0.1878, 0.2565, 0.2782, 0.2437, 0.3676, 0.4031, 0.3672),
    ),
    "fast": (
        *(0.005072, 0.008021, 0.00603, 0.005406, 0.00439, 0.005246, 0.003984),
        *(0.004679, 0.004791, 0.005285, 0.007317, 0.006824, 0.008595, 0.004954),
    ),
}
"""Seconds a call of two matmuls by IREE 3.8, 3.10 and 3.13, two passes of seven rounds, on two cores under a load of
10 to 16: 3.8 and 3.10 cost the same (0.037 s of CPU time each), 3.13 a fortieth of it."""


def logs(these, those):
    return [math.log(one / other) for one, other in zip(these, those, strict=True)]


def test_of_seven_rounds_the_second_and_the_sixth():
    assert median_interval([7, 1, 2, 6, 3, 5, 4]) == (2, 6)
    assert median_interval([1, 2, 3]) is None
    assert median_interval([]) is None
    assert median_interval([4, 1, 3, 2]) == (1, 4)


def test_the_interval_holds_the_median_as_often_as_it_says():
    chance = random.Random(1)
    for count in (4, 7, 9, 14):
        held = 0
        for _ in range(2000):
            low, high = median_interval([chance.expovariate(1) for _ in range(count)])
            held += low <= math.log(2) <= high
        assert held / 2000 > 0.83, count


def test_the_noise_floor_is_that_of_the_worst_pass():
    quiet, loud = [0.001] * 7, [-0.2, -0.05, 0.0, 0.01, 0.02, 0.03, 0.4]
    assert noise_floor([quiet]) == pytest.approx(math.log1p(LEAST_FLOOR))
    assert noise_floor([quiet, loud]) == 0.05
    assert noise_floor([[0.1] * 3]) is None


@pytest.mark.parametrize(
    ("ratios", "floor", "expected"),
    [
        ([1.5] * 7, 0.1, Verdict.SLOWER),
        ([0.5] * 7, 0.1, Verdict.FASTER),
        ([1.05] * 7, 0.1, Verdict.SAME),
        ([1.5] * 6 + [0.2], 0.1, Verdict.SLOWER),
        ([1.5] * 5 + [0.2] * 2, 0.1, Verdict.SAME),
        ([1.5] * 3, 0.1, Verdict.TOO_FEW),
        ([1.5] * 7, None, Verdict.TOO_FEW),
    ],
)
def test_the_rule(ratios, floor, expected):
    assert verdict_of([math.log(ratio) for ratio in ratios], floor) is expected


def test_noise_is_called_a_difference_less_than_once_in_a_hundred():
    """Two passes of seven rounds; noise as on a shared machine: it only ever adds, sometimes much."""
    chance = random.Random(7)

    def rounds():
        return [math.log(1 + chance.expovariate(20) + (chance.random() < 0.1) * chance.random()) for _ in range(7)]

    false = 0
    for _ in range(2000):
        passes = [(rounds(), rounds(), rounds()) for _ in range(2)]
        floor = noise_floor([[b - a for a, b in zip(base, twin, strict=True)] for base, twin, _ in passes])
        verdicts = {verdict_of([x - a for x, a in zip(x, base, strict=True)], floor) for base, _, x in passes}
        false += verdicts in ({Verdict.FASTER}, {Verdict.SLOWER})
    assert false < 20


def test_a_difference_of_a_tenth_is_seen_through_one_percent_of_noise():
    chance = random.Random(7)

    def rounds(level):
        return [math.log(level) + chance.gauss(0, 0.01) for _ in range(7)]

    seen = 0
    for _ in range(500):
        passes = [(rounds(1), rounds(1), rounds(1.1)) for _ in range(2)]
        floor = noise_floor([[b - a for a, b in zip(base, twin, strict=True)] for base, twin, _ in passes])
        verdicts = {verdict_of([x - a for x, a in zip(x, base, strict=True)], floor) for base, _, x in passes}
        seen += verdicts == {Verdict.SLOWER}
    assert seen > 495


def test_real_rounds_of_a_busy_machine():
    for name, expected in (("3.10.0", Verdict.SAME), ("fast", Verdict.FASTER)):
        ratios = logs(BUSY[name], BUSY["3.7.0"])
        assert {verdict_of(ratios[:7], math.log(1.228)), verdict_of(ratios[7:], math.log(1.228))} == {expected}


# -- from a plan to the table


def busy(runtime: str, number: int, twin: bool) -> float:
    return BUSY[runtime][number - 1] * (1.01 if twin else 1.0)


def test_a_table_for_each_baseline():
    (table,) = measured(timed_plan(), busy).times
    base, other = table.rows
    assert (base.baseline, base.verdicts, base.ratio) == (True, (), 1.0)
    assert other.verdicts == (Verdict.SAME, Verdict.SAME)
    assert other.ratio == pytest.approx(1.02, abs=0.005)
    assert base.median_seconds == pytest.approx(0.245, abs=0.001)
    assert table.axes == ("runtime",)
    assert table.noise_floor == pytest.approx(1.01)
    assert "baseline runtime 3.7.0: 244 ms, noise floor 1.0 %" in caption(table)
    assert caption(replace(table, highest_load=8.06)).endswith(
        "(it, twice, the same bytes), load of the machine up to 8.1"
    )


def test_passes_that_disagree_are_named():
    def seconds(runtime, number, twin):
        return 1.5 if runtime == "3.10.0" and number <= 7 else 1.0

    report = measured(timed_plan(), seconds)
    tables = report.times
    assert tables[0].rows[1].verdict is Verdict.UNSETTLED
    assert repeat_agreement(tables) == (
        "2 complete passes agree on 0 of 1 verdicts\n  not on runtime 3.10.0: slower, then no difference"
    )
    assert "unsettled" in FORMATS["table"](report)


def test_a_benchmark_that_fails_leaves_the_outcome_and_gives_its_reason():
    report = measured(timed_plan(), busy, failed=("3.10.0",))
    assert [cell.outcome for cell in report.cells] == [Outcome.PASSED] * 2
    (table,) = report.times
    assert table.rows[1].median_seconds is None
    assert table.rows[1].reason.startswith("failed at benchmark: ")
    assert "failed at benchmark" in FORMATS["table"](report)


def test_without_a_baseline_there_are_times_and_no_verdicts():
    report = measured(timed_plan(), busy, failed=("3.7.0",))
    (table,) = report.times
    assert table.noise_floor is None
    assert (table.rows[1].verdicts, table.rows[1].ratio) == ((), None)
    assert table.rows[1].median_seconds is not None
    assert "no baseline: failed at benchmark" in caption(table)
    (glance,) = [line for line in FORMATS["table"](report).splitlines() if line.startswith("2.9 ")]
    assert duration(table.rows[1].median_seconds) in glance


def test_the_quickest_of_repeated_compiles_is_shown():
    run = measured(timed_plan(SPEC + "[repeat]\ncompile = 2\n"), busy)
    assert [row.modules for row in run.compiled_again] == [1]
    cell = run.cells[0]
    first = next(job for job in run.jobs_of(cell) if job.stage == "compile")

    def shown(compiled: FinishedJob | None, again: FinishedJob | None) -> float | None:
        subject = Subject(cell=cell, compiled=compiled, repeats=(Repeat(again=True, job=again),))
        return times_of([subject], {"runtime": "3.7.0"}, (), 7, 2)[0].rows[0].compile_seconds

    assert shown(first, replace(first, seconds=0.01)) == 0.01
    assert shown(first, replace(first, seconds=0.01, outcome=Outcome.FAILED)) == first.seconds
    assert shown(replace(first, outcome=Outcome.FAILED), None) is None
    assert shown(first, None) == first.seconds
    assert shown(None, None) is None


def test_an_emulated_target_has_no_times():
    plan = timed_plan(SPEC.replace('model = "linear"', 'model = "linear"\ntarget = "aarch64"'))
    measured(plan, busy)
    rounds = [node for node in plan.nodes if node.stage == "benchmark"]
    assert rounds
    assert {node.obstacle[0] for node in rounds} == {Outcome.UNTESTED}
    assert "an emulator's times are not the machine's" in rounds[0].obstacle[1]


def test_every_format_holds_the_times():
    report = measured(timed_plan(), busy)
    for name in ("table", "markdown", "html"):
        text = FORMATS[name](report)
        for word in (
            "244 ms",
            "no difference",
            "noise floor 1.0 %",
            "agree on 1 of 1 verdicts",
            "same bytes measured twice",
        ):
            assert word in text, (name, word)
    header, first, second = FORMATS["csv"](report).splitlines()
    assert header.endswith("mlir_bytes,peak_bytes,device_peak_bytes,device_peak_counted")
    assert len(first.split(",")) == len(header.split(","))
    assert "no difference" in second
    (document,) = json.loads(FORMATS["json"](report))["times"]
    assert document["noise_floor"] == pytest.approx(1.01)
    assert [len(row["seconds_by_round"]) for row in document["rows"]] == [14, 14]
    assert len(document["twin_seconds_by_round"]) == 14


def test_sets_of_flags_stand_in_one_table_where_an_axis_is_tied():
    body = """
stages = ["export", "compile", "run", "benchmark"]
[axes]
compiler = "= runtime"
runtime = ["3.0.0", "3.7.0"]
flags = ["default", "o3"]
[benchmark]
rounds = 4
passes = 1
baseline = { flags = "default" }
[table]
rows = "compiler"
columns = "flags"
"""
    report = measured(timed_plan(body), lambda runtime, number, twin: 0.1)
    text = FORMATS["table"](report)
    assert text.count("latency as a ratio to flags default; compiler down, flags across;") == 1
    assert [line.split() for line in text.splitlines() if line.startswith(("3.0 ", "3.7 "))] == [
        ["3.0", "base", "="],
        ["3.7", "base", "="],
    ]


def test_each_table_of_a_spec_has_its_ratios():
    body = """
[[table]]
rows = "model"
columns = "runtime"
where = { model = "linear" }
[[table]]
rows = "runtime"
columns = "model"
"""
    both = SPEC.replace('"linear"', '["linear", "given"]')
    text = FORMATS["table"](measured(timed_plan(both + body), busy))
    assert "; model down, runtime across; python 3.11" in text
    assert "; runtime down, model across; python 3.11" in text
    assert [line.split() for line in text.splitlines() if line.startswith("linear ")] == [["linear", "base", "="]]


def test_words_for_numbers():
    assert [duration(value) for value in (2.5, 0.2445, 0.005072, 3.2e-6)] == ["2.5 s", "244 ms", "5.07 ms", "3.2 us"]
    assert [amount(value) for value in (None, 631, 10_200, 14_000_000)] == ["", "0.6 kB", "10.2 kB", "14.0 MB"]


def audit(clean: str) -> Callable[[str], VmfbAudit]:
    """Every module holds file names, but those that the flag was given for."""

    def audited(digest: str) -> VmfbAudit:
        leak = Leak(kind="file name", count=3, distinct=1, examples=("m.mlir",), places=("VM debug",))
        parts = (("code", 400), ("constants", 2000), ("VM debug", 600), ("rest", 1000))
        leaks = () if clean in digest else (leak,)
        return VmfbAudit(size=4000, parts=parts, debug_database=True, leaks=leaks, unscanned=0)

    return audited


def test_the_recipe_is_what_the_bytes_say():
    body = SPEC.replace('model = "linear"', 'model = "linear"\nflags = ["default", "o3"]').replace(
        '["3.7.0", "3.10.0"]', '"3.7.0"'
    )
    plan = timed_plan(body)
    for clean, said in (
        ("-O3", "file names: flags o3 leave none in any module; default do"),
        ("none", "file names: none of the flags default, o3 removes them from all modules"),
    ):
        text = FORMATS["table"](measured(plan, busy, audit=audit(clean)))
        assert said in text
        assert "absolute paths: in no module, whatever the flags" in text
    rows = json.loads(FORMATS["json"](measured(plan, busy, audit=audit("-O3"))))["modules"]
    assert [row["axes"]["flags"] for row in rows] == ["default", "o3"]
    assert [row["strings"]["file name"] for row in rows] == [3, 0]
    assert all(sum(row["parts"].values()) == row["bytes"] for row in rows)


def test_a_vmfb_of_one_s_own_is_timed_and_audited():
    given = tuple((name, Path(name), name) for name in ("module.vmfb", "input_0.npy", "expected_0.npy"))
    old = Model(name="old", form="vmfb", artifacts=given, function="main")
    known = replace(catalogue(), models={"old": old})
    plan = with_repeats(make_plan(spec_of(SPEC.replace('"linear"', '"old"')), known), known)
    report = measured(plan, busy, audit=audit("none"))
    assert [row["axes"]["compiler"] for row in json.loads(FORMATS["json"](report))["modules"]] == ["-"]
    assert "244 ms" in FORMATS["table"](report)


def test_a_pass_that_is_not_over_contradicts_nothing():
    speed = replace(measured(timed_plan(), busy).times[0].rows[1], verdicts=(Verdict.SAME, Verdict.TOO_FEW))
    table = replace(measured(timed_plan(), busy).times[0], rows=(speed,))
    assert speed.verdict is Verdict.TOO_FEW
    assert repeat_agreement([table]) == ""


@pytest.mark.parametrize(("release", "wrong"), [
    ("20241104.1068", "without constants"), ("2.9.0", "without constants"), ("3.10.0", "without constants"),
    ("3.11.0", "and constants in host buffers"), ("3.12.0", ""), ("3.13.0", ""), ("my-build", ""),
])  # fmt: skip
def test_a_table_says_which_releases_miscount_their_buffers(release, wrong):
    assert miscounted(release) == wrong
    row = Timed(axes={"runtime": release}, median_seconds=1.0, device_peak_bytes=8_800_000)
    run = Run(preset="times", cells=(), times=(Times(shared={}, axes=("runtime",), rows=(row,)),))
    (shown,) = {column.shown((run.times[0], row)) for column in COLUMNS if column.title == "buffers"}
    assert shown == f"8.8 MB {wrong}".strip()


def test_an_axis_that_another_one_determines_is_no_column_of_a_table_of_several_backends():
    def columns(*places: tuple[str, str, str]) -> tuple[str, ...]:
        names = ("backend", "compiler", "onnxruntime")
        cells = [
            Cell(axes={"model": "m", **dict(zip(names, place, strict=True))}, outcome=Outcome.PASSED)
            for place in places
        ]
        baseline = {"backend": "iree", "compiler": "3.13.0"}
        (table,) = times_of([Subject(cell=cell) for cell in cells], baseline, ("onnxruntime",), 7, 2)
        assert table.shared == {"model": "m"} and [row.baseline for row in table.rows][:2] == [True, False]
        return table.axes

    iree, older, onnx = ("iree", "3.13.0", "-"), ("iree", "3.8.0", "-"), ("onnxruntime", "-", "1.32.0")
    assert columns(iree, older, onnx) == ("backend", "compiler")
    assert columns(iree, onnx, ("onnxruntime", "-", "1.20.1")) == ("backend", "compiler", "onnxruntime")
