"""Systems side by side: who is faster than the baseline, what their runtimes load, and what is not claimed."""

from __future__ import annotations

from dataclasses import replace

from system_runs import TWO, made_run

from matrix.core.records import Outcome
from matrix.results.formats import FORMATS
from matrix.results.measured.figures import Verdict
from matrix.results.measured.systems import quickest_lines, standing_lines, system_rows
from matrix.site.squares import find_squares, slug_of


def test_each_system_has_its_name_what_its_runtime_loads_and_what_made_it():
    rows = system_rows(made_run(TWO))
    assert [row.system for row in rows[:3]] == ["IREE 3.13.0, host-cpu", "IREE 3.13.0, default", "ONNX Runtime 1.32.0"]
    assert {(row.artifact_bytes, row.making_cpu_seconds) for row in rows} == {(5000, 1.5)}, "no input, no record"
    assert [row.runtime_bytes for row in rows[:3]] == [30_000, 30_000, None], "an engine may not tell"
    assert [row.interval for row in rows[3:]] == [None, (4.0, 4.0), (0.25, 0.25)]


def test_who_is_faster_on_how_many_models_and_by_how_much():
    run = made_run(TWO)
    assert standing_lines(run) == (
        "IREE 3.13.0, default is faster than IREE 3.13.0, host-cpu on 0 of 2 models, slower on 1, no verdict on 1",
        "ONNX Runtime 1.32.0 is faster than IREE 3.13.0, host-cpu on 1 of 2 models, slower on 1",
    )
    assert standing_lines(run, foreign=True) == standing_lines(run)[1:]
    assert quickest_lines(run) == (
        "linear: the quickest is IREE 3.13.0, host-cpu, the baseline, 10 ms",
        "mobilenet_v2: the quickest is ONNX Runtime 1.32.0, 2.5 ms, 4 times (4 to 4) as fast as IREE 3.13.0, host-cpu",
    )


def test_a_time_of_wrong_outputs_is_no_time_of_the_model():
    run = made_run(TWO)
    wrong = [
        replace(cell, outcome=Outcome.WRONG_OUTPUT) if cell.axes["backend"] == "onnxruntime" else cell
        for cell in run.cells
    ]
    run = replace(run, cells=tuple(wrong))
    assert not [line for line in (*standing_lines(run), *quickest_lines(run)) if "ONNX" in line]
    assert quickest_lines(run)[-1] == "mobilenet_v2: the quickest is IREE 3.13.0, host-cpu, the baseline, 10 ms"


def test_a_lower_median_without_a_verdict_is_not_called_faster():
    run = made_run({"linear": {"default": Verdict.SAME, "onnx": Verdict.SAME}})
    quick = replace(run.times[0].rows[2], median_seconds=0.0099)
    run = replace(run, times=(replace(run.times[0], rows=(*run.times[0].rows[:2], quick)),))
    assert quickest_lines(run)[-1] == (
        "linear: the lowest median has ONNX Runtime 1.32.0, 9.9 ms, no difference compared with IREE 3.13.0, host-cpu"
    )


def test_a_run_of_one_system_says_nothing_of_it():
    run = made_run(TWO)
    alone = replace(run, baseline={"compiler": "3.13.0"})
    assert system_rows(alone) == () and "systems side by side" not in FORMATS["table"](alone)
    assert "systems side by side" in FORMATS["table"](run)
    assert "artifact_bytes" in FORMATS["csv"](run) and "artifact_bytes" not in FORMATS["csv"](alone)


def test_the_squares_of_a_system_have_cells_of_no_other():
    tables = find_squares(made_run(TWO))
    found = {
        (table.row_axis, table.column_axis): {cell.axes["backend"] for cell in table.cells.values()} for table in tables
    }
    assert found == {("model", "flags"): {"iree"}, ("model", "onnxruntime"): {"onnxruntime"}}
    assert len({slug_of(table) for table in tables}) == len(tables)
