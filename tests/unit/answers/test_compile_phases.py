"""Which phase of a compile got longer, beyond what noise makes; and what is said of a compiler that crashed."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

from compile_phases import BEFORE, cells_of, phased_run, times

from matrix.answers.compiling.figures import figure_of
from matrix.answers.compiling.phase_tables import phases_csv, phases_markdown
from matrix.answers.compiling.phases import (
    CompilePhases,
    comparison_of_phases,
    phases_document,
    phases_lines,
)
from matrix.answers.compiling.published import phase_change_lines
from matrix.answers.differences import release_pairs, run_pairs
from matrix.results.files import parse_run
from matrix.results.measured.compiles import SecondsSpread, beyond_noise, phase_times
from matrix.results.written.json_text import run_json

LONGER = {"input": (0.3, 0.31, 0.32), "global-optimization": (9.9, 10.1, 10.5), "executable-targets": (4.4, 4.5, 4.6)}


def compiles(release: str, phases: dict[str, tuple[float, ...]], **more: object) -> CompilePhases:
    return CompilePhases(axes={"model": "m", "compiler": release, "target": "x86_64"}, times=times(phases), **more)


def test_a_difference_needs_compiles_that_do_not_overlap_and_a_size():
    calm = SecondsSpread(values=(3.0, 3.1, 3.2))
    assert beyond_noise(calm, SecondsSpread(values=(4.4, 4.5, 4.6)), whole=20)
    assert not beyond_noise(calm, SecondsSpread(values=(3.15, 4.5, 4.6)), whole=20)  # one compile took no longer
    assert not beyond_noise(calm, SecondsSpread(values=(3.5, 3.6, 3.7)), whole=20)  # less than a quarter
    assert not beyond_noise(calm, SecondsSpread(values=(4.4, 4.5, 4.6)), whole=100)  # little of the whole
    assert not beyond_noise(SecondsSpread(values=(0.1, 0.1, 0.1)), SecondsSpread(values=(0.3, 0.3, 0.3)), whole=1)
    assert not beyond_noise(
        SecondsSpread(values=(3.0,)), SecondsSpread(values=(9.0,)), whole=20
    )  # one compile proves nothing


def test_a_difference_of_compiles_that_took_turns_has_one_sign_in_each_turn():
    drifting = SecondsSpread(values=(3.0, 3.1, 4.6, 5.0, 5.2))  # a load that rose
    longer = SecondsSpread(values=(4.1, 4.3, 6.2, 6.6, 6.9))
    assert beyond_noise(drifting, longer, whole=20, in_turns=True)
    assert not beyond_noise(drifting, longer, whole=20), "they overlap, and without turns that is all one knows"
    once = SecondsSpread(values=(4.1, 4.3, 4.5, 6.6, 6.9))
    assert not beyond_noise(drifting, once, whole=20, in_turns=True)
    assert not beyond_noise(drifting, longer, whole=200, in_turns=True)
    few = (SecondsSpread(values=each.values[:4]) for each in (drifting, longer))
    assert not beyond_noise(*few, whole=20, in_turns=True)


TURNS = {name: (*each, each[0], each[2]) for name, each in BEFORE.items()}
TURNS_LONGER = {name: (*each, each[0], each[2]) for name, each in LONGER.items()}


def test_compiles_of_one_run_that_took_turns_are_one_series():
    run = phased_run({"3.8.0": TURNS, "3.13.0": TURNS_LONGER}, turns=True)
    assert phase_times(*cells_of(run)["3.8.0"]) == times(TURNS, turns=True)
    told = "\n".join(phase_change_lines(release_pairs([run], "compiler", "3.8.0", "3.13.0")))
    assert "executable-targets: longer" in told and "the compiles took turns" in told
    later = phased_run({"3.8.0": TURNS_LONGER}, turns=True)
    later = replace(later, jobs={key: replace(job, key=f"later {key}") for key, job in later.jobs.items()})
    told = "\n".join(phase_change_lines(run_pairs(run, later)))
    assert "they did not take turns" in told and "the compiles took turns" not in told


def test_a_comparison_as_markdown_and_as_csv():
    sides = [
        CompilePhases(axes={"model": "m", "compiler": release}, times=times(phases, turns=True), passes=passes)
        for release, phases, passes in (
            ("3.8.0", TURNS, {"CSE": SecondsSpread(values=(0.1, 0.1, 0.1, 0.1, 0.1))}),
            ("3.13.0", TURNS_LONGER, {}),
        )
    ]
    text = phases_markdown(sides)
    assert text.startswith("## m, compiler 3.8.0, then m, compiler 3.13.0\n\n- the whole compile: ")
    assert "| executable-targets  | 3.00 s (2.90 to 3.10)" in text and "| longer |" in text
    assert "| phase" in phases_markdown(sides[:1]) and "| CSE" in phases_markdown(sides[:1])
    rows = [*csv.DictReader(io.StringIO(phases_csv(sides)))]
    assert [*rows[0]] == ["model", "compiler", "what", "name", "turn", "seconds"]
    assert len(rows) == 2 * 5 * (1 + 3) + 5
    chosen = [row for row in rows if row["compiler"] == "3.13.0" and row["name"] == "executable-targets"]
    assert [float(row["seconds"]) for row in chosen] == [*TURNS_LONGER["executable-targets"]]
    ended = CompilePhases(axes={"model": "m", "compiler": "=1"}, times=None, ended="crashed", until={"input": 0.25})
    assert "'=1,phase,input,1,0.250000" in phases_csv([ended])
    assert "the compiler ended behind the phase input: crashed" in phases_markdown([ended, sides[1]])


def test_two_releases_are_compared_by_phase():
    lines = comparison_of_phases(compiles("3.8.0", BEFORE), compiles("3.13.0", LONGER))
    assert lines[0] == "m, target x86_64"
    assert "executable-targets: longer, 3.00 s -> 4.50 s (+1.50 s)" in lines
    assert not any(line.startswith("global-optimization: ") for line in lines)  # 10.1 is within the noise of 10.0
    document = phases_document([compiles("3.8.0", BEFORE), compiles("3.13.0", LONGER)])
    assert [each["name"] for each in document["phases"] if each["changed"]] == ["executable-targets"]
    assert json.loads(json.dumps(document))["compiles"][0]["phases"]["input"] == [0.3, 0.3, 0.3]


def test_nothing_is_longer_than_itself():
    lines = comparison_of_phases(compiles("3.8.0", BEFORE), compiles("3.13.0", BEFORE))
    assert "no phase differs by this rule" in lines
    assert "the whole compile: no difference by this rule (medians: 1.00 times)" in lines


def test_a_phase_that_one_release_lacks_took_no_time_there():
    more = {**BEFORE, "new-phase": (2.0, 2.0, 2.1)}
    assert "new-phase: longer, 0.00 s -> 2.00 s (+2.00 s)" in comparison_of_phases(
        compiles("3.8.0", BEFORE), compiles("3.13.0", more)
    )


def test_a_compiler_that_crashed_has_its_phases_until_there():
    found = CompilePhases(
        axes={"model": "m", "compiler": "3.4.0"}, times=None, ended="crashed, signalled 11", until={"input": 0.25}
    )
    assert phases_lines(found) == [
        "m, compiler 3.4.0",
        "the compiler ended behind the phase input: crashed, signalled 11",
        "",
        "phase    CPU time",
        "input    0.25 s",
    ]
    both = comparison_of_phases(found, compiles("3.13.0", BEFORE))
    assert "the compiler ended behind the phase input: crashed, signalled 11" in both
    assert any(line.startswith("global-optimization") for line in both)


def test_passes_say_that_the_machine_was_busy():
    passes = {"CSE": SecondsSpread(values=(1.0, 1.1, 1.2))}
    lines = phases_lines(compiles("3.8.0", BEFORE, passes=passes, waited=3.0))
    assert any(line.startswith("CSE") for line in lines)
    assert "3.0 times its CPU time" in lines[-1]
    assert "busy" not in "\n".join(phases_lines(compiles("3.8.0", BEFORE, passes=passes, waited=1.01)))


def test_published_runs_are_compared_once_for_a_compile_and_only_on_one_class_of_machine():
    run = phased_run({"3.8.0": BEFORE, "3.13.0": LONGER})
    assert phase_times(*cells_of(run)["3.8.0"]) == times(BEFORE)
    assert parse_run(json.loads(run_json(run)), source="it").jobs == run.jobs
    told = "\n".join(phase_change_lines(release_pairs([run], "compiler", "3.8.0", "3.13.0")))
    assert "m: executable-targets: longer, 3.00 s -> 4.50 s (+1.50 s)" in told
    other = phased_run({"3.8.0": BEFORE, "3.13.0": LONGER}, machines={"3.13.0": "another"})
    told = "\n".join(phase_change_lines(release_pairs([other], "compiler", "3.8.0", "3.13.0")))
    assert "longer" not in told and "machines of two classes" in told
    assert phase_change_lines([]) == []


def test_a_figure_with_noise_is_like_the_end_that_it_is_nearer_to():
    figure = figure_of("phase:executable-targets")
    assert figure is not None
    middle = {**BEFORE, "executable-targets": (4.0, 4.2, 4.3)}
    order = ("3.8.0", "3.10.0", "3.13.0")
    cells = cells_of(phased_run({"3.8.0": BEFORE, "3.10.0": middle, "3.13.0": LONGER}))
    assert figure.compared(cells, order) == {"3.8.0": "3.8.0", "3.10.0": "3.13.0", "3.13.0": "3.13.0"}
    assert figure.differ(cells["3.8.0"], cells["3.10.0"])
    assert not figure.differ(cells["3.10.0"], cells["3.13.0"])
    assert "4.20 s (4.00 to 4.30)" in figure.shown(*cells["3.10.0"])
    alike = cells_of(phased_run(dict.fromkeys(order, BEFORE)))
    assert len({*figure.compared(alike, order).values()}) == 1
    unknown = figure_of("phase:no-such-phase")
    assert unknown is not None and unknown.shown(*cells["3.8.0"]) == ""


def test_words_of_figures():
    assert figure_of("dispatches") and figure_of("compile-cpu")
    assert figure_of("phase:") is None and figure_of("speed") is None and figure_of("") is None
