"""Profiles in a run's JSON: written in a line each, read as they were, and what is damaged is named by its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from profiled_runs import MLIR, Place, profiled_run

from matrix.core.errors import ResultsFault
from matrix.results.files import parse_run
from matrix.results.formats import FORMATS, run_as_json
from matrix.results.kept.archive import keep_run, read_kept
from matrix.results.measured.profiles import least_named, profiled_cells

CONV, RELU = "torch.aten.conv2d", "torch.aten.relu"
PLACES: dict[Place, dict[str, dict[str, int]]] = {
    ("conv", "x86_64", "3.8.0"): {"dispatch_0_conv": {CONV: 900, RELU: 10}, "dispatch_1": {RELU: 50}},
    ("conv", "x86_64", "3.13.0"): {"dispatch_0_conv": {CONV: 300}},
}
RUN = profiled_run(PLACES, unnamed=3)
KEY = "count conv x86_64 3.8.0"


def document() -> Any:
    return json.loads(run_as_json(RUN))


def test_what_was_written_is_read_also_from_the_archive(tmp_path):
    read = parse_run(document(), source="mine")
    assert (read.profiles, read.profiled_models) == (RUN.profiles, RUN.profiled_models)
    kept, new = keep_run(read, tmp_path)
    assert new and read_kept(kept).profiles == RUN.profiles
    first = profiled_cells(read)[RUN.cells[0].name]
    conv = first.code.dispatches[0]
    operation = first.main_operation(conv)
    assert operation and (operation.line, operation.name, operation.result) == (10, CONV, "4x8xf32")
    assert first.code.dispatches[1].folded == ("main$async_dispatch_9",)


def test_each_profile_is_one_line_of_the_file():
    lines = run_as_json(RUN).splitlines()
    (at,) = [number for number, line in enumerate(lines) if line == ' "profiles": {']
    assert json.loads("{" + lines[at + 1].rstrip(",") + "}").keys() == {KEY}
    assert lines[at + 3] == " },"
    assert len(lines[at + 1]) < 400


def test_a_run_without_profiles_has_no_such_table():
    without = parse_run({**document(), "profiles": {}, "profiled_models": {}}, source="it")
    assert not json.loads(run_as_json(without)).keys() & {"profiles", "profiled_models"}


def cut(found: Any) -> None:
    found["profiles"][KEY]["dispatches"][0]["operations"]["10"] -= 1


def unknown_line(found: Any) -> None:
    found["profiles"][KEY]["dispatches"][0]["operations"] = {"77": 910}


def no_job(found: Any) -> None:
    found["profiles"]["x" * 8] = found["profiles"].pop(KEY)


def no_model(found: Any) -> None:
    del found["profiled_models"][MLIR]


def too_few(found: Any) -> None:
    found["profiles"][KEY]["instructions"] = 900


def no_number(found: Any) -> None:
    found["profiles"][KEY]["dispatches"][0]["calls"] = "many"


def no_table(found: Any) -> None:
    found["profiles"][KEY] = 7


DAMAGE = {
    cut: f"profiles.{KEY}.dispatches[0].operations: read 909 instructions in all, expected 910 of the dispatch",
    unknown_line: f"profiles.{KEY}.dispatches[0].operations: read the line '77', expected one of its model",
    no_job: "profiles: read 'xxxxxxxx', expected a key of `jobs`",
    no_model: f"profiles.{KEY}.mlir: read '{MLIR}', expected a key of `profiled_models`",
    too_few: f"profiles.{KEY}.instructions: read 900, expected at least the 963 of the module",
    no_number: f"profiles.{KEY}.dispatches[0].calls: read 'many', expected a whole number",
    no_table: f"profiles.{KEY}: read 7, expected a table",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda each: each.__name__)
def test_what_is_damaged_is_named_by_its_place(damage):
    found = document()
    damage(found)
    with pytest.raises(ResultsFault) as fault:
        parse_run(found, source="mine.json")
    assert str(fault.value).startswith("mine.json: not a run of format")
    assert DAMAGE[damage] in str(fault.value)


def test_the_tables_have_each_kind_of_operation_and_the_least_named_part():
    text = FORMATS["markdown"](RUN)
    assert "| compiler   | instructions   |   dispatches |" in text.replace("|   instructions |", "| instructions   |")
    assert "they say nothing of how long each takes" in text
    row = next(line for line in text.splitlines() if "3.8.0" in line)
    assert [part.strip() for part in row.strip("|").split("|")][1:] == [
        "1,013",
        "2",
        "88.8 %",
        "5.9 %",
        "0.3 %",
        "4.9 %",
    ]
    least = least_named(RUN)
    assert least and least[0] == 300 / 303
    assert "at least 99.00 % of the module's instructions are in named dispatches; the least: 3.13.0." in text
    assert "In each cell all instructions of the module are in named dispatches." in FORMATS["table"](
        profiled_run(PLACES)
    )
