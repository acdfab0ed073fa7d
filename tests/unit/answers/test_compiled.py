"""What two releases make of the same models, by figures that were counted in the modules."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_runs import finished_job, run_of

from matrix.answers.compiled import module_lines
from matrix.answers.differences import release_pairs, run_pairs
from matrix.cli.main import main
from matrix.core.records import Outcome
from matrix.results.files import read_run
from matrix.results.formats import as_csv, as_table
from matrix.results.run import Cell, Run
from matrix.results.weights import STATISTIC_NAMES
from matrix.results.written.json_text import run_json

COST = Path(__file__).parents[3] / "results" / "cost.json"
ZERO = dict.fromkeys(STATISTIC_NAMES, 0)
OLD = {**ZERO, "dispatch_count": 72, "transient_bytes": 7402912, "fill_count": 0}
NEW = {**ZERO, "dispatch_count": 55, "transient_bytes": 8876512, "fill_count": 3}
RELEASES = ("3.8.0", "3.11.0")


def sample(figures: dict[tuple[str, str], dict[str, Any]]) -> Run:
    """A run with a compile for each (model, release), and each module on both runtimes."""
    jobs = [finished_job(f"{model} {release}", "compile", each) for (model, release), each in figures.items()]
    cells = [
        Cell(
            axes={"model": model, "compiler": release, "runtime": runtime},
            outcome=Outcome.PASSED,
            stage="run",
            jobs=(f"{model} {release}",),
        )
        for model, release in figures
        for runtime in RELEASES
    ]
    axes = {"model": (model for model, _ in figures), "compiler": RELEASES, "runtime": RELEASES}
    return run_of(cells, jobs, axes, ("compile", "run"))


RUN = sample({("m", "3.8.0"): OLD, ("m", "3.11.0"): NEW, ("n", "3.8.0"): OLD, ("n", "3.11.0"): OLD})


def lines(run: Run, axis: str = "compiler") -> list[str]:
    return module_lines(release_pairs([run], axis, *RELEASES))


def test_each_module_is_told_once_with_its_exact_figures():
    assert lines(RUN)[2:] == [
        "  m: dispatches 72 -> 55, transient bytes 7,402,912 -> 8,876,512 (+20 %), fills 0 -> 3",
        "  1 of 2 modules have the same figures",
    ]


def test_models_that_change_alike_share_a_line_and_another_place_is_told_apart():
    both = sample(
        {(model, release): each for model in "mno" for release, each in zip(RELEASES, (OLD, NEW), strict=True)}
    )
    assert lines(both)[2].startswith("  model m, n, o: dispatches 72 -> 55")
    apart = {**{("m", release): OLD for release in RELEASES}, ("n", "3.8.0"): OLD, ("n", "3.11.0"): NEW}
    apart |= {("o", "3.8.0"): NEW, ("o", "3.11.0"): OLD}
    assert [line.split(":")[0] for line in lines(sample(apart))[2:4]] == ["  model n", "  model o"]


def test_one_model_that_changes_on_several_targets_is_named():
    said = module_lines(release_pairs([read_run(COST)], "compiler", "3.8.0", "3.9.0"))
    assert said[2].startswith("  mobilenet_v2, target x86_64, aarch64: dispatches 72 -> 55, ")
    assert "transient bytes 7,402,912 -> 8,876,512 (+20 %)" in said[2]


def test_another_runtime_has_the_same_modules_so_nothing_is_said():
    assert lines(RUN, "runtime") == []


@pytest.mark.parametrize("figures", [{}, {"dispatch_count": "many"}, {"dispatch_count": True}, {"seconds": 1}])
def test_a_side_without_figures_is_not_compared(figures):
    assert lines(sample({("m", "3.8.0"): OLD, ("m", "3.11.0"): figures})) == []


def test_diff_of_two_runs_compares_them_too(tmp_path, capsys):
    before = sample({("m", "3.8.0"): OLD})
    after = sample({("m", "3.8.0"): NEW})
    assert module_lines(run_pairs(before, after))[2].startswith("  m: dispatches 72 -> 55")
    for name, run in (("a", before), ("b", after)):
        (tmp_path / f"{name}.json").write_text(run_json(run, ()))
    assert main(["diff", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    assert "  m: dispatches 72 -> 55, transient bytes 7,402,912 -> 8,876,512 (+20 %)" in capsys.readouterr().out


def test_csv_has_a_column_a_figure_and_the_table_says_nothing():
    rows = list(csv.DictReader(io.StringIO(as_csv(RUN))))
    assert [row["dispatch_count"] for row in rows] == ["72", "72", "55", "55", "72", "72", "72", "72"]
    assert {row["transient_bytes"] for row in rows if row["model"] == "n"} == {"7402912"}
    assert "dispatch" not in as_table(RUN)
    bare = replace(RUN, jobs={key: replace(job, measurements={}) for key, job in RUN.jobs.items()})
    assert "dispatch_count" not in as_csv(bare)


def test_json_keeps_them_with_the_compile():
    jobs = json.loads(run_json(RUN, ()))["jobs"]
    assert jobs["m 3.11.0"]["measurements"] == NEW
