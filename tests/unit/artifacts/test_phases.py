"""The phases and passes of a compile, from what the watcher of compilers left; files that say nothing."""

from __future__ import annotations

import json

import pytest

from matrix.artifacts.compiler.phases import (
    LAST_PHASE,
    PASS_SECONDS,
    PASSED_SECONDS,
    PHASE_SECONDS,
    PHASED_SECONDS,
    pass_measurements,
    phase_measurements,
    phases_until,
)

EVENTS = [
    ["module.1.input.mlir", 0.25, 0.26],
    ["module.4.global-optimization.mlir", 10.39, 10.40],
    ["module.10.executable-targets.mlir", 15.07, 15.12],
]


def file(*rounds: dict[str, object]) -> bytes:
    return json.dumps({"format": 1, "rounds": [*rounds]}).encode()


def compiled(events: list[list[object]] = EVENTS, whole: float = 17.79) -> dict[str, object]:
    return {"status": 0, "cpu_seconds": whole, "events": events}


def test_the_writing_of_the_files_is_in_no_phase():
    found = phase_measurements(file(compiled(), compiled(whole=18.79)))
    assert found[PHASE_SECONDS] == {
        "input": [0.25, 0.25],
        "global-optimization": [10.13, 10.13],
        "executable-targets": [4.67, 4.67],
        LAST_PHASE: [2.67, 3.67],
    }
    assert found[PHASED_SECONDS] == [17.72, 18.72]
    for number, whole in enumerate(found[PHASED_SECONDS]):
        assert sum(each[number] for each in found[PHASE_SECONDS].values()) == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        file(compiled())[:-20],  # cut off
        b'{"rounds": 3}',
        b'{"rounds": []}',
        file(compiled([])),
        file(compiled(), compiled(EVENTS[:2])),  # another compile had other phases
        file(compiled([EVENTS[1], EVENTS[0]])),  # time runs backwards
        file(compiled([*EVENTS, EVENTS[2]])),
        file(compiled([["module.mlir", 1, 2]])),
        file(compiled([["module.1.input.mlir", "nan", 2]])),
        file(compiled([["module.1.input.mlir", -1, 2]])),
        file(compiled([["module.1.input.mlir", 1]])),
        b'{"rounds": [{"cpu_seconds": 1e999, "events": []}]}',
        b"[" * 100_000,
    ],
)
def test_a_file_that_is_not_whole_gives_no_number(content):
    assert phase_measurements(content) == {}


def test_the_phases_until_a_crash_are_those_of_its_last_compile():
    log = (
        "phases: round 1: module.1.input.mlir 0.900 0.910\nsome warning\n"
        "phases: round 2: module.1.input.mlir 0.250 0.260\n"
        "phases: round 2: module.4.global-optimization.mlir 10.390 10.400\nPLEASE submit a bug report\n"
    )
    assert phases_until(log) == pytest.approx({"input": 0.25, "global-optimization": 10.13})
    assert phases_until("no line of a phase\nphases: round 1: module.mlir 1 2\n") == {}
    assert phases_until("phases: round 1: module.2.abi.mlir 1..2 2\n") == {}


def test_passes_that_run_others_are_no_passes_and_waiting_is_taken_off():
    rows = {
        "CSEPass": 2.0,
        "CSE": 1.0,
        "JitGlobalsPass": 60.0,
        "TranslateExecutablesPass": 20.0,
        "ConfigureTargetExecutableVariantsPass": 20.0,
        "'func.func' Pipeline": 5.0,
        "Rest": -152.4,
        "Total": 100.0,
        "SerializeTargetExecutablesPass": 6.0,
    }
    found = pass_measurements(file({"status": 0, "seconds": 40.0, "cpu_seconds": 20.0, "passes": rows}))
    assert found[PASS_SECONDS] == {"CSE": [1.5], "SerializeTargetExecutables": [3.0]}
    assert found[PASSED_SECONDS] == [[20.0, 40.0]]


@pytest.mark.parametrize("seconds", [0, "x"])
def test_passes_of_a_damaged_file_give_no_number(seconds):
    rows = {"CSEPass": 2.0}
    assert pass_measurements(file({"seconds": seconds, "cpu_seconds": 1.0, "passes": rows})) == {}
    assert pass_measurements(file({"seconds": 1.0, "cpu_seconds": 1.0, "passes": ["CSE"]})) == {}
    assert pass_measurements(b"{") == {}
