"""The report on a release as Markdown: what to look at first, with what shows that it is no chance. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matrix.answers.causes import orders
from matrix.answers.costs import OWN_BUFFERS, OWN_BUFFERS_COUNTED, CostChange
from matrix.answers.differences import axis_words
from matrix.answers.releases.triage import Triage, Triaged, TriageGroup, significance, significant
from matrix.core.text import counted
from matrix.results.measured.figures import Verdict
from matrix.results.run import Cell, Run
from matrix.results.times import PLACEMENT

KIND_MEANS = {
    Triage.NEW: "passed before",
    Triage.DIFFERENT: "failed before too, at another stage or with another signature",
    Triage.FLAKY: "two attempts at one of the ends differ: no verdict, nothing is accused",
    Triage.REPAIRED: "failed before",
    Triage.STILL: "failed before, in the same way",
}
MOST_CAUSES = 3


def report_lines(title: str, found: Triaged, costs: Sequence[CostChange]) -> Iterator[str]:
    """The whole report."""
    counts = ", ".join(f"{found.count(kind)} {kind}" for kind in Triage)
    yield f"# {title}"
    yield ""
    yield f"{counts}; {found.passing} pass with both; {found.alone} were measured with one of them only."
    for kind in Triage:
        if groups := found.of(kind):
            yield ""
            yield f"## {str(kind).capitalize()}"
            yield ""
            yield f"{counted(found.count(kind), 'cell')}: {KIND_MEANS[kind]}."
            for group in groups:
                yield from _group_lines(group)
    yield from _cost_lines(costs)


def _group_lines(group: TriageGroup) -> Iterator[str]:
    cells = [each.after for each in group.cells]
    order = orders(cells, dict.fromkeys(axis for cell in cells for axis in cell.axes))
    yield ""
    yield f"### {group.stage}: {group.before} -> {group.after}"
    yield ""
    yield f"- cells: {len(cells)} ({axis_words(cells, order)})"
    if group.gate:
        yield f"- gate: {group.gate}"
    for text in group.causes[:MOST_CAUSES]:
        yield f"- cause: {text}"
    if len(group.causes) > MOST_CAUSES:
        yield f"- and {len(group.causes) - MOST_CAUSES} more causes"
    if group.kind in (Triage.NEW, Triage.DIFFERENT):
        yield f"- {confirmed_words(group)}"
    if group.kind is not Triage.STILL:
        yield f"- {baseline_words(group)}"


def confirmed_words(group: TriageGroup) -> str:
    """Whether its cells are confirmed, by what, and the command that measures one again that is not."""
    whys = dict.fromkeys(each.why for each in group.cells)
    sure = "confirmed" if group.confirmed == len(group.cells) else f"{group.confirmed} of {len(group.cells)} confirmed"
    again = next((each.after.reproduce for each in group.cells if not each.confirmed), "")
    return f"{sure}: {'; '.join(whys)}" + (f" (`{again} --again`)" if again else "")


def baseline_words(group: TriageGroup) -> str:
    """Whether both ends were measured in one run, and when."""
    count = sum(each.together for each in group.cells)
    days = [_days([(each.before_run, each.before) for each in group.cells])]
    days.append(_days([(each.run, each.after) for each in group.cells]))
    if count == len(group.cells):
        measured = f"measured {days[0]}" if days[0] == days[1] else f"the baseline measured {days[0]}, it {days[1]}"
        return f"both ends are of one run on one machine, {measured}"
    return f"both ends are of one run on one machine for {count} of {len(group.cells)} cells: measure the rest so"


def _days(cells: Sequence[tuple[Run, Cell]]) -> str:
    """When their last jobs ended; `2026-11-21 to 2026-11-22`."""
    found = sorted({run.jobs[cell.jobs[-1]].finished_at[:10] for run, cell in cells if cell.jobs} - {""})
    return " to ".join(dict.fromkeys((found[0], found[-1]))) if found else "on no known day"


def _cost_lines(costs: Sequence[CostChange]) -> Iterator[str]:
    yield ""
    yield "## Costs"
    yield ""
    if not costs:
        yield "Latency, compile time, memory and size were not measured with both in one run."
        return
    shown = significant(costs)
    if shown:
        yield "The most significant first: how many times its noise a number changed."
        yield ""
        yield "| times its noise | where | what | change |"
        yield "|---:|---|---|---|"
        for change in shown:
            yield f"| {significance(change):.1f} | {change.place} | {change.measure.name} | {change.words} |"
        yield ""
    told = [*shown, *(change for change in costs if not change.comparable)]
    if any(change.measure.name == OWN_BUFFERS for change in told):
        yield f"{OWN_BUFFERS_COUNTED}."
        yield ""
    open_ones = sum(change.verdict not in (Verdict.SAME, Verdict.SAME_BYTES) for change in costs) - len(shown)
    undecided = f", {open_ones} of them are not decided" if open_ones else ""
    rest = len(costs) - len(shown)
    yield f"{rest} of {len(costs)} numbers did not change beyond their noise{undecided}; {PLACEMENT}."
