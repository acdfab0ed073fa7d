"""The verb `diff`: what changed between two runs, releases or modules, and the report or issue that follows."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from matrix.answers import advice, differences
from matrix.answers.causes import cells_of
from matrix.answers.compiled import module_lines, release_module_lines
from matrix.answers.compiling.published import phase_change_lines
from matrix.answers.costs import CostChange, cost_changes, cost_lines
from matrix.answers.dated.changes import unprompted_lines
from matrix.answers.profiled.published import profile_change_lines
from matrix.artifacts.vmfb_archive import is_container, open_file
from matrix.cli.answer import runs_of
from matrix.core.disk import write_output
from matrix.core.errors import EXIT_NO, EXIT_OK, UsageError
from matrix.core.text import escape_controls, say
from matrix.core.versions import are_versions, releases_first
from matrix.plan.stages import axes as axis_rows
from matrix.results.kept.archive import read_dated
from matrix.results.run import Run

if TYPE_CHECKING:
    from matrix.answers.releases.triage import Triaged, TriageGroup

PREVIOUS = "previous"  # the release before the other one


def do_diff(options: Namespace) -> int:
    """Prints what changed between two runs, releases or modules. Status 1: something is worse, or modules differ."""
    if len(options.what) == 2 and all(map(_is_module, options.what)):
        return _diff_modules(*options.what, as_json=options.format == "json")
    if options.format == "json":
        raise UsageError(
            f"--format: read 'json' with {' '.join(options.what)}, expected it with two modules",
            tip="a built site has what a release changed as JSON: api/v1/releases/",
        )
    if options.report or options.issue:
        return _triage(options)
    if _are_files(options.what):
        first, second = (read_dated(word, options.archive) for word in options.what)
        found = differences.diff_runs(first, second)
        pairs = differences.run_pairs(first, second)
        lines = [*module_lines(pairs), *profile_change_lines(pairs), *phase_change_lines(pairs)]
        lines += unprompted_lines(first, second)
    elif len(options.what) == 3 and options.what[0] in axis_rows():
        runs = runs_of(options)
        axis, *ends = _two_releases(runs, *options.what)
        found = differences.diff_releases(runs, axis, *ends)
        lines = ["", *cost_lines(cost_changes(runs, axis, *ends)), *release_module_lines(runs, axis, *ends)]
        lines += profile_change_lines(differences.release_pairs(runs, axis, *ends))
        lines += phase_change_lines(differences.release_pairs(runs, axis, *ends))
    else:
        raise _not_two(options.what)
    print(escape_controls("\n".join([*differences.difference_lines(found), *lines])))
    return EXIT_NO if found.worse else EXIT_OK


def _are_files(words: Sequence[str]) -> bool:
    return len(words) == 2 and not (words[0] in axis_rows() and not Path(words[0]).exists())


def _not_two(words: Sequence[str]) -> UsageError:
    return UsageError(
        f"diff: read {' '.join(words)}, expected two files, or an axis and two of its values",
        tip="such as before.json after.json, before.vmfb after.vmfb, quick@2026-05 quick@latest, compiler 3.8.0 3.9.0",
    )


def _triage(options: Namespace) -> int:
    """Prints the report on a release, or one issue of it, as Markdown."""
    from matrix.answers.releases import report
    from matrix.answers.releases.triage import Triage, triage

    if _are_files(options.what):
        first, second = (read_dated(word, options.archive) for word in options.what)
        pairs = differences.run_pairs(first, second)
        costs: tuple[CostChange, ...] = ()  # numbers of two runs may be of two machines
        ends = "the run", f"of {first.date}", f"of {second.date}"
    elif len(options.what) == 3 and options.what[0] in axis_rows():
        runs = runs_of(options)
        ends = _two_releases(runs, *options.what)
        pairs, costs = differences.release_pairs(runs, *ends), cost_changes(runs, *ends)
    else:
        raise _not_two(options.what)
    found = triage(pairs)
    axis, before, after = ends
    if options.issue:
        lines = _issue(found, costs, ends, options)
    else:
        found = _accused_again(found, options) if options.again else found
        lines = list(report.report_lines(f"{axis} {after}, compared with {axis} {before}", found, costs))
    print(escape_controls("\n".join(lines)))
    return EXIT_NO if found.count(Triage.NEW) else EXIT_OK


def _accused_again(found: Triaged, options: Namespace) -> Triaged:
    """The same with the new failures that are accused measured again."""
    from matrix.cli.triaging.again import accused_again

    accused = found.accused
    again = iter(accused_again(accused, options))
    return replace(found, groups=tuple(next(again) if group in accused else group for group in found.groups))


def _issue(found: Triaged, costs: Sequence[CostChange], ends: tuple[str, str, str], options: Namespace) -> list[str]:
    """The lines of one issue: first the confirmed new failures, then what costs more."""
    from matrix.answers.releases.issue import cost_issue
    from matrix.answers.releases.triage import significant

    number = options.issue
    worse = [change for change in significant(costs) if change.verdict == change.measure.more]
    count = len(found.accused) + len(worse)
    if not count:
        return ["nothing to report: no new failure is confirmed, and nothing costs more beyond its noise"]
    if number > count:
        raise UsageError(
            f"--issue: read {number}, expected 1 to {count}", tip="`--report` lists what changed, in the same order"
        )
    if number <= len(found.accused):
        lines = _failure(found.accused[number - 1], ends, options)
    else:
        lines = list(cost_issue(worse[number - 1 - len(found.accused)], *ends))
    return [*lines, *([f"<!-- issue {number} of {count}: --issue N prints another one -->"] if count > 1 else [])]


def _failure(group: TriageGroup, ends: tuple[str, str, str], options: Namespace) -> list[str]:
    """The issue of a new failure; if asked, only after both ends were measured again, and with a small module."""
    from matrix.answers.releases.issue import failure_issue, shown_cell

    if not (options.again or options.reduce):
        return list(failure_issue(group, *ends))
    from matrix.cli.triaging.again import group_again, made_small

    group = group_again(group, options)
    if not group.confirmed:
        return [f"nothing to report: {group.cells[0].why}"]
    if not options.reduce:
        return list(failure_issue(group, *ends))
    small = made_small(shown_cell(group), options)
    if isinstance(small, str):
        say(f"NOTE --reduce: no smaller module: {small}")
        return list(failure_issue(group, *ends))
    write_output(options.reduce, small.text)
    return list(failure_issue(group, *ends, replace(small, path=str(options.reduce))))


def _is_module(word: str) -> bool:
    """Whether it is a file that begins as a module does, whatever its name."""
    if not Path(word).is_file():
        return False
    with open_file(Path(word)) as file:
        return is_container(file.read(12))


def _diff_modules(before: str, after: str, *, as_json: bool) -> int:
    from matrix.answers.modules.comparison import compare_modules, comparison_json, comparison_text

    found = compare_modules(Path(before), Path(after))
    sys.stdout.write((comparison_json if as_json else comparison_text)(before, after, found))
    return EXIT_OK if found.differing == (0, 0) else EXIT_NO


def _two_releases(runs: Sequence[Run], axis: str, before: str, after: str) -> tuple[str, str, str]:
    """The axis, and the newest measured release that each term means."""
    cells = cells_of(runs)
    labels = releases_first(cell.axes[axis] for cell in cells if axis in cell.axes)
    newer = _release(axis, after, labels)
    if before != PREVIOUS:
        return axis, _release(axis, before, labels), newer
    older = labels[: labels.index(newer)]
    if not older or not are_versions((*older, newer)):
        raise UsageError(f"{axis}: read {PREVIOUS!r}, and no release before {newer}", tip="name one of the results")
    return axis, older[-1], newer


def _release(axis: str, term: str, labels: Sequence[str]) -> str:
    meant = releases_first(advice.meant_by(term, labels))
    if not meant:
        raise UsageError(
            f"{axis}: read {term!r}, which no result has, expected one of {', '.join(labels)}",
            tip="give other results with --results",
        )
    return meant[-1]
