"""What a release costs compared with another: over the committed results, and where the numbers say nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from matrix.answers.costs import CostChange, cost_changes, cost_lines
from matrix.answers.releases.issue import cost_issue
from matrix.answers.releases.report import report_lines
from matrix.answers.releases.triage import triage
from matrix.cli.main import main
from matrix.results.files import read_run
from matrix.results.formats import as_markdown, as_table
from matrix.results.run import Run
from matrix.results.times import PLACEMENT, WITHOUT_CONSTANTS, buffers_counted
from matrix.results.weights import STATISTIC_NAMES, statistics_of

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def run() -> Run:
    return read_run(ROOT / "results" / "performance.json")


def change(run: Run, before: str, after: str, model: str, measure: str) -> CostChange:
    (found,) = [
        each
        for each in cost_changes([run], "compiler", before, after)
        if (each.axes["model"], each.measure.name) == (model, measure)
    ]
    return found


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (("3.11.0", "3.12.0", "llama_2l", "latency"), "25 times faster (138 ms -> 5.76 ms)"),
        (("3.7.0", "3.8.0", "mobilenet_v2", "latency"), "3.5 times slower (51.9 ms -> 181 ms)"),
        (("3.10.0", "3.11.0", "llama_2l", "memory of the process"), "2.7 times more (79.0 MB -> 215.5 MB)"),
        (("3.12.0", "3.13.0", "mobilenet_v2", "latency"), "no difference (26.4 ms -> 26.7 ms)"),
        (("2.9.0", "3.13.0", "llama_2l", "latency"), "23 times faster (123 ms -> 5.57 ms)"),
    ],
)
def test_what_the_committed_run_shows_of_two_releases(run, place, said):
    assert change(run, *place).words == said


def test_the_other_direction_is_the_inverse(run):
    there = change(run, "3.11.0", "3.12.0", "llama_2l", "latency")
    back = change(run, "3.12.0", "3.11.0", "llama_2l", "latency")
    assert back.verdict == "slower"
    assert back.ratio == pytest.approx(1 / there.ratio)


def test_a_compile_that_failed_is_compared_with_nothing(run):
    found = cost_changes([run], "compiler", "3.8.0", "3.9.0")
    assert {each.axes["model"] for each in found} == {"llama_2l", "mobilenet_v2", "quartznet_5x5"}


def test_within_much_noise_nothing_is_called_equal(run):
    noisy = replace(run, times=tuple(replace(table, noise_floor=1.3) for table in run.times))
    assert change(noisy, "3.12.0", "3.13.0", "mobilenet_v2", "latency").verdict == "undecided"
    assert change(noisy, "3.11.0", "3.12.0", "mobilenet_v2", "latency").verdict == "faster"


def test_a_model_without_a_noise_floor_has_that_of_the_noisiest(run):
    found = change(run, "3.11.0", "3.12.0", "yolox_nano", "latency")
    assert (found.verdict, found.noise_floor) == ("faster", max(t.noise_floor for t in run.times if t.noise_floor))
    bare = replace(run, times=tuple(replace(table, noise_floor=None) for table in run.times))
    assert change(bare, "3.11.0", "3.12.0", "yolox_nano", "latency").verdict == "undecided: no noise floor"


def test_diff_says_what_releases_cost(capsys):
    assert main(["diff", "compiler", "3.11", "3.12"]) == 1
    said = capsys.readouterr().out
    assert "  llama_2l: latency 25 times faster (138 ms -> 5.76 ms)\n" in said
    assert "12 of 44 numbers did not change beyond their noise" in said
    assert "where the code lies in memory" in said


@pytest.mark.parametrize(
    "words",
    [
        ["show", "results/performance.json"],
        ["show", "results/performance.json", "--format", "markdown"],
        ["show", "results/performance.json", "--format", "html"],
        ["diff", "compiler", "3.11", "3.12"],
        ["diff", "compiler", "3.11", "3.12", "--report"],
    ],
)
def test_beside_every_verdict_of_speed_is_said_what_the_twin_cannot_see(words, capsys):
    """The twin of the baseline runs the same bytes: it cannot show what another placement of the code would cost."""
    main(words)
    said = " ".join(capsys.readouterr().out.split())
    assert "faster" in said or "slower" in said
    assert PLACEMENT in said


def test_an_issue_about_latency_says_it_too(run):
    slower = change(run, "3.7.0", "3.8.0", "mobilenet_v2", "latency")
    larger = change(run, "3.10.0", "3.11.0", "llama_2l", "memory of the process")
    assert f"Note: {PLACEMENT}." in list(cost_issue(slower, "compiler", "3.7.0", "3.8.0"))
    assert PLACEMENT not in "\n".join(cost_issue(larger, "compiler", "3.10.0", "3.11.0"))


def test_releases_without_times_say_so(run):
    assert "were not measured with both" in cost_lines(cost_changes([run], "compiler", "3.11.0", "9.9.9"))[0]


def test_buffers_of_which_one_lacks_the_constants_are_not_compared(run):
    across = change(run, "3.10.0", "3.12.0", "llama_2l", "IREE's own buffers")
    assert (across.changed, across.comparable) == (False, False)
    assert across.words == "not compared: without constants, then with constants (2.2 MB -> 74.1 MB)"
    lines = cost_lines(cost_changes([run], "compiler", "3.10.0", "3.12.0"))
    assert f"  llama_2l: IREE's own buffers {across.words}" in lines
    assert any("runtimes up to 3.10 do not count constants" in line for line in lines)
    assert not any("own buffers" in line and " more " in line for line in lines)
    report = "\n".join(report_lines("costs", triage([]), cost_changes([run], "compiler", "3.10.0", "3.12.0")))
    assert "runtimes up to 3.10 do not count constants" in report and "| IREE's own buffers |" not in report


def test_a_table_of_times_has_what_the_compiler_plans_where_it_said_so(run):
    assert "transient" not in as_table(run).split("median: latency")[0]
    figures = dict.fromkeys(STATISTIC_NAMES, 0) | {"transient_bytes": 8_876_512, "constant_bytes": 14_150_272}
    jobs = {key: replace(job, measurements=figures) if job.stage == "compile" else job for key, job in run.jobs.items()}
    (row,) = [
        line
        for line in as_markdown(replace(run, jobs=jobs)).splitlines()
        if line.startswith("| 3.10.0 ") and "183 ms" in line and "8.9 MB" in line
    ]
    assert [each.strip() for each in row.split("|")][-4:-1] == ["9.5 MB without constants", "8.9 MB", "14.2 MB"]


def test_buffers_that_are_counted_alike_are_compared(run):
    assert change(run, "3.11.0", "3.12.0", "llama_2l", "IREE's own buffers").verdict == "no difference"
    assert change(run, "3.7.0", "3.8.0", "llama_2l", "IREE's own buffers").words == "47 % less (4.1 MB -> 2.2 MB)"


@pytest.mark.parametrize("model", ["mobilenet_v2", "quartznet_5x5", "llama_2l"])
def test_the_constants_are_in_the_figure_once_from_3_11_on_and_before_not_at_all(run, model):
    """What the tables say of each runtime, held against the constants that the compiler counted in another run."""
    counted = read_run(ROOT / "results" / "cost.json")
    planned = {
        cell.axes["compiler"]: statistics_of(counted, cell)
        for cell in counted.cells
        if (cell.axes["model"], cell.axes["target"]) == (model, "x86_64")
    }
    (table,) = [table for table in run.times if table.shared["model"] == model]
    compared = 0
    for row in table.rows:
        figures = planned[row.axes["compiler"]]
        if figures and row.device_peak_bytes:
            beside = row.device_peak_bytes - figures["transient_bytes"]
            times = 0 if buffers_counted(row.axes) == WITHOUT_CONSTANTS else 1
            assert 0 <= beside - times * figures["constant_bytes"] < 1_000_000  # the inputs and outputs
            compared += 1
    assert compared == 15
