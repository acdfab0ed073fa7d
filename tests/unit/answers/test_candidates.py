"""`candidates`: what is counted is what the results hold, and the order follows the weights."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import geometric_mean

import pytest
from counted_runs import counted_run, timed_run
from timings import measured, timed_plan

from matrix.answers.candidates import DEFAULT_WEIGHTS, Candidate, rank_compilers
from matrix.cli.main import main
from matrix.core.records import Outcome
from matrix.results.files import parse_run, read_run
from matrix.results.formats import FORMATS
from matrix.results.measured.figures import Timed, Times
from matrix.results.run import Run
from matrix.results.speed import ratio_quartiles, timed_rows

COMMITTED = Path(__file__).parents[3] / "results" / "portability.json"


@pytest.fixture(scope="module")
def run() -> Run:
    return read_run(COMMITTED)


def by_release(run: Run, **weights: float) -> dict[str, Candidate]:
    return {each.release: each for each in rank_compilers([run], {**DEFAULT_WEIGHTS, **weights}).candidates}


def test_runtimes_are_those_that_the_file_counts(run):
    passed = Counter(
        cell["axes"]["compiler"] for cell in json.loads(COMMITTED.read_text())["cells"] if cell["outcome"] == "passed"
    )
    found = by_release(run)
    assert {release: each.measures["runtimes"].text for release, each in found.items()} == {
        release: f"{count} of 15" for release, count in passed.items()
    }


def test_a_column_without_results_is_neither_filled_nor_scored(run):
    ranking = rank_compilers([run], DEFAULT_WEIGHTS)
    assert ranking.empty == ("arm", "speed", "instructions", "memory")
    assert ranking.weights.keys() == DEFAULT_WEIGHTS.keys() - {"arm", "speed", "instructions", "memory"}
    assert all(not {"arm", "speed"} & each.measures.keys() for each in ranking.candidates)


def test_the_order_follows_the_weights(run):
    none = dict.fromkeys(DEFAULT_WEIGHTS, 0.0)
    most = [each.release for each in rank_compilers([run], none | {"runtimes": 1}).candidates]
    assert set(most[:5]) == {"2.9.0", "3.0.0", "3.1.0", "3.2.0", "3.3.0"} and set(most[-2:]) == {"3.10.0", "3.11.0"}
    smallest = rank_compilers([run], none | {"size": 1}).candidates
    assert smallest[0].measures["size"].text == "1.000" and smallest[0].score == 100
    shares = [each.measures["size"].share for each in smallest]
    assert shares == sorted(shares, reverse=True)
    assert {each.score for each in rank_compilers([run], none).candidates} == {0.0}


def test_a_patch_release_without_a_runtime_is_run_on_that_of_its_minor_release(run):
    assert by_release(run)["3.7.1"].measures["models"].text == "1 of 1"


def test_patch_releases_are_one_candidate(run):
    """The compiler has 3.7.1 and the runtime has not: some presets measure 3.7.0, others 3.7.1."""
    older = tuple(
        replace(cell, axes={**cell.axes, "compiler": "3.7.0", "model": "other"})
        for cell in run.cells
        if (cell.axes["compiler"], cell.axes["runtime"]) == ("3.7.1", "3.7.0")
    )
    found = by_release(replace(run, cells=(*run.cells, *older)))
    assert len(found) == 15
    assert found["3.7.0, 3.7.1"].measures["models"].text == "2 of 2"


def test_a_wrong_model_counts_against_its_release(run):
    own = [cell for cell in run.cells if cell.axes["compiler"] == cell.axes["runtime"]]
    other = [replace(cell, axes={**cell.axes, "model": "other"}) for cell in own]
    other = [
        replace(cell, outcome=Outcome.WRONG_OUTPUT) if cell.axes["compiler"] == "3.9.0" else cell for cell in other
    ]
    found = by_release(replace(run, cells=(*run.cells, *other)))
    assert found["3.9.0"].measures["models"].text == "1 of 2"
    assert found["3.8.0"].measures["models"].text == "2 of 2"
    assert found["3.9.0"].score < found["3.8.0"].score
    assert found["3.7.1"].measures["models"].share == 0.5  # the other model was not tried with it: no gain


def test_exporters_count_where_their_mlir_compiles(run):
    (cell,) = (cell for cell in run.cells if cell.axes["compiler"] == cell.axes["runtime"] == "3.9.0")
    more = [
        replace(cell, axes={**cell.axes, "torch": "1"}, outcome=Outcome.FAILED, stage="compile", comparison=None),
        replace(cell, axes={**cell.axes, "torch": "2"}, outcome=Outcome.FAILED, stage="run", comparison=None),
        replace(cell, axes={**cell.axes, "torch": "3"}, outcome=Outcome.FAILED, stage="export", comparison=None),
    ]
    assert by_release(replace(run, cells=(*run.cells, *more)))["3.9.0"].measures["exporters"].text == "2 of 3"


def test_to_be_tried_with_more_is_no_gain(run):
    """The newest compiler is tried with more exporters than the others; what all were tried with passes."""
    (cell,) = (cell for cell in run.cells if cell.axes["compiler"] == cell.axes["runtime"] == "3.13.0")
    more = tuple(replace(cell, axes={**cell.axes, "torch": str(number)}) for number in range(20))
    found = by_release(replace(run, cells=(*run.cells, *more)))
    assert found["3.13.0"].measures["exporters"].text == "21 of 21"
    assert found["3.13.0"].measures["exporters"].share == found["3.12.0"].measures["exporters"].share == 1.0


def test_targets_of_arm(run):
    cells = [cell for cell in run.cells if cell.axes["compiler"] == cell.axes["runtime"] == "3.9.0"]
    arm = [replace(cell, axes={**cell.axes, "target": target}) for cell in cells for target in ("aarch64", "armv6")]
    arm[1] = replace(arm[1], outcome=Outcome.CRASHED)
    found = by_release(replace(run, cells=(*run.cells, *arm)))
    assert found["3.9.0"].measures["arm"].text == "1 of 2"
    assert "arm" not in found["3.8.0"].measures


def speed(release: str, ratio: float | None, flags: str = "default") -> Timed:
    axes = {"compiler": release, "runtime": release, "flags": flags}
    return Timed(
        axes=axes,
        baseline=ratio is None,
        ratio=ratio,
    )


def test_speed_is_the_mean_of_ratios(run):
    speeds = (
        speed("3.8.0", None),
        speed("3.9.0", 0.5),
        speed("3.9.0", 2.0),
        speed("3.10.0", 0.8),
        speed("3.9.0", 9, "o3"),
    )
    found = by_release(replace(run, times=(Times(shared={}, rows=speeds),)))
    assert found["3.9.0"].measures["speed"].text == "1.000"
    assert found["3.10.0"].measures["speed"].share == 1.0
    assert "speed" not in found["3.8.0"].measures


@pytest.mark.parametrize("older", [0, 2], ids=["an older version's", "this version's"])
def test_the_published_times_of_a_preset_are_found(older):
    """As `--format json` writes them: the compiler is that of the runtime's release, so only one of the two is down."""
    body = """
stages = ["export", "compile", "run", "benchmark"]
[axes]
compiler = "= runtime"
runtime = ["3.0.0", "3.7.0"]
[benchmark]
rounds = 7
passes = 1
baseline = { compiler = "3.0.0", runtime = "3.0.0" }
"""
    report = measured(timed_plan(body), lambda runtime, number, twin: 0.2 if runtime == "3.7.0" else 0.1)
    content = json.loads(FORMATS["json"](report))
    for row in content["times"][0]["rows"][older:]:
        del row["axes"]["runtime"]
    timed = parse_run(content | {"format": 1}, source="mine")
    rounds = [row.seconds_by_round for _, row, _ in timed_rows(timed)]
    assert [ratio_quartiles(each, rounds[0]) for each in rounds] == [(1.0, 1.0), (2.0, 2.0)]
    measures = {each.release: each.measures for each in rank_compilers([timed], DEFAULT_WEIGHTS).candidates}
    assert (measures["3.0.0"]["speed"].text, measures["3.7.0"]["speed"].text) == ("1.000", "2.000")


def test_the_verb_states_its_weights(capsys):
    assert main(["candidates", "--results", str(COMMITTED), "--weight", "runtimes=4", "--weight", "size=0"]) == 0
    out = capsys.readouterr().out
    assert "weights models=3, runtimes=4, exporters=1, size=0;" in out
    assert "not in these results, so not in the score: arm, speed, instructions, memory" in out
    row = next(line.split() for line in out.splitlines() if line.startswith("3.9.0"))
    assert row[2:] == ["1", "of", "1", "2", "of", "15", "1", "of", "1", "-", "-", "-", "1.026", "-"]


@pytest.mark.parametrize("word", ["runtime=2", "runtimes", "runtimes=x", "runtimes=-1", "runtimes=nan"])
def test_a_weight_that_is_none(capsys, word):
    assert main(["candidates", "--weight", word]) == 2
    assert f"--weight: read '{word}'" in capsys.readouterr().err


def test_memory_is_what_the_compiler_plans_where_a_run_has_it():
    """The figures of the published counts, added up by hand."""
    document = json.loads(COMMITTED.with_name("cost.json").read_text())
    planned: dict[tuple[str, str], dict[str, int]] = {}
    for cell in document["cells"]:
        for job in (document["jobs"][key] for key in cell["evidence"]["jobs"]):
            figures = job.get("measurements", {})
            if job["stage"] == "compile" and "transient_bytes" in figures:
                place = planned.setdefault((cell["axes"]["model"], cell["axes"]["target"]), {})
                place[cell["axes"]["compiler"]] = figures["transient_bytes"] + figures["constant_bytes"]
    assert len(planned) == 8 and all("3.13.0" in each for each in planned.values())
    beside = [each["3.13.0"] / min(each.values()) for each in planned.values()]
    published = read_run(COMMITTED.with_name("cost.json"))
    found = by_release(published)
    assert found["3.13.0"].measures["memory"].text == f"{geometric_mean(beside):.3f}"
    none = dict.fromkeys(DEFAULT_WEIGHTS, 0.0)
    ranked = rank_compilers([published], none | {"memory": 1}).candidates
    assert ranked[0].measures["memory"].share == 1.0
    jobs = {key: replace(job, measurements={}) for key, job in published.jobs.items()}
    assert "memory" in rank_compilers([replace(published, jobs=jobs)], DEFAULT_WEIGHTS).empty


def test_a_build_is_no_further_runtime_of_a_candidate():
    (best, *_) = rank_compilers([read_run(COMMITTED.with_name("armv6.json"))], DEFAULT_WEIGHTS).candidates
    assert best.measures["runtimes"].text.endswith(" of 2"), "the wheels of 3.11 and 3.13, and none of the builds"


def test_instructions_count_where_times_decide_nothing():
    places = [(model, "x86_64", release) for model in ("one", "two") for release in ("3.8.0", "3.9.0")]
    counts = counted_run(dict(zip(places, (200, 100, 30_000, 10_000), strict=True)))
    alone = {each.release: each.measures for each in rank_compilers([counts], DEFAULT_WEIGHTS).candidates}
    assert (alone["3.8.0"]["instructions"].text, alone["3.9.0"]["instructions"].text) == ("2.449", "1.000")
    times = timed_run({place: (1.0, "slower" if place[0] == "two" else "undecided") for place in places})
    both = {each.release: each.measures for each in rank_compilers([counts, times], DEFAULT_WEIGHTS).candidates}
    assert both["3.8.0"]["instructions"].text == "2.000", "of model one alone: the times of two have a verdict"
    decided = timed_run({place: (1.0, "slower") for place in places})
    assert "instructions" in rank_compilers([counts, decided], DEFAULT_WEIGHTS).empty
