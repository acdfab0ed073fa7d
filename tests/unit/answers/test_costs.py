"""What a release costs compared with another: over the committed results, and where the numbers say nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from matrix.answers.costs import CostChange, cost_changes, cost_lines
from matrix.answers.releases.issue import cost_issue
from matrix.cli.main import main
from matrix.results.files import read_run
from matrix.results.run import Run
from matrix.results.times import PLACEMENT

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
    assert "8 of 28 numbers did not change beyond their noise" in said
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


def test_a_jump_of_the_buffers_is_told_with_how_releases_count_them(run):
    told = "runtimes up to 3.10 do not count constants, 3.11 counts them twice, later ones once"
    across, within = (
        cost_lines(cost_changes([run], "compiler", *ends)) for ends in (("3.10.0", "3.11.0"), ("3.12.0", "3.13.0"))
    )
    assert any(told in line for line in across)
    assert any("IREE's own buffers" in line for line in within) == any(told in line for line in within)
