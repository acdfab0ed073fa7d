"""Plans of few cells, in view of what a store has measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from matrix.core.records import Outcome
from matrix.engines.choice import lookup_engine
from matrix.engines.contract import Engine
from matrix.plan.covering.densify import find_denser
from matrix.plan.covering.space import Labels, Options, Space
from matrix.plan.graph import NodeState, Plan, PlannedCell
from matrix.plan.question import Question
from matrix.results.run import Run
from matrix.run.evidence import judged_cells, replay
from matrix.run.planning import plan_of
from matrix.run.store import Store

MOST_LOOKED_UP = 100_000
"""Of so many possible cells each is looked up in the store; of more, those that this and weaker arrays choose."""


def covered_plan(question: Question, folder: Path, engine: str) -> Plan:
    """The plan of a question. A covering array has first what the store in a folder has measured of the question."""
    plan = plan_of(question, folder)
    if plan.chosen is None or not (folder / "store.sqlite").is_file():
        return plan
    with Store(folder, read_only=True) as store:
        looking = lookup_engine(engine, store.places)
        first = list(dict.fromkeys(_measured_before(plan, question, store, looking)))
        if not first:
            return plan
        plan = plan_of(question, folder, first=first)
        if plan.chosen and plan.chosen.facts.possible > MOST_LOOKED_UP and plan.spec.cover and plan.spec.cover.densify:
            plan = _followed(plan, question, store, looking)
    return plan


def denser_cells(plan: Plan, run: Run, most: int) -> list[Labels]:
    """All cells of a plan, and up to `most` further ones between and around those that ended differently; empty if
    every boundary has both sides measured, or no more may be added."""
    if plan.chosen is None or not (more := _denser_cells(plan.chosen.space, run)[:most]):
        return []
    return [*map(_labels, plan.cells), *map(plan.chosen.space.labels_of, more)]


def _denser_cells(space: Space, run: Run) -> list[Options]:
    known: dict[Options, str] = {}
    closed = set[Options]()
    for cell in run.cells:
        options = space.options_of(tuple(cell.axes[name] for name in space.names))
        if options is not None and cell.measured:
            known[options] = cell.words
        elif options is not None:
            closed.add(options)
    return [cell for cell in find_denser(space, known, closed).cells if cell not in closed]


def _measured_before(plan: Plan, question: Question, store: Store, engine: Engine) -> Iterator[Labels]:
    """Cells whose end the store knows."""
    if plan.chosen and plan.chosen.facts.possible <= MOST_LOOKED_UP:
        wide = plan_of(replace(question, cover="0", seed="", densify=""), store.folder)
        yield from _ended(wide, replay(wide, store, engine).states)
        return
    for strength in range(1, plan.chosen.facts.strength if plan.chosen else 0):
        weaker = plan_of(replace(question, cover=str(strength)), store.folder)
        yield from _ended(weaker, replay(weaker, store, engine).states)
    yield from _ended(plan, replay(plan, store, engine).states)


def _followed(plan: Plan, question: Question, store: Store, engine: Engine) -> Plan:
    """The plan with those cells that an earlier run added and measured."""
    while True:
        run = judged_cells(plan, replay(plan, store, engine).states, store)
        wider = plan_of(question, store.folder, first=denser_cells(plan, run, len(plan.cells)))
        ended = {*_ended(wider, replay(wider, store, engine).states)} - {*map(_labels, plan.cells)}
        if not ended:
            return plan
        plan = plan_of(question, store.folder, first=[*map(_labels, plan.cells), *sorted(ended)])


def _ended(plan: Plan, states: Sequence[NodeState]) -> Iterator[Labels]:
    for cell in plan.cells:
        if _has_ended(cell, states):
            yield _labels(cell)


def _has_ended(cell: PlannedCell, states: Sequence[NodeState]) -> bool:
    """All its jobs have a result, or those up to one that did not pass."""
    results = (states[node].result for node in cell.nodes)
    ends: Iterable[Outcome | None] = (result.outcome if result else None for result in results)
    first = next((end for end in ends if end is not Outcome.PASSED), Outcome.PASSED if cell.nodes else None)
    return first is not None and first is not Outcome.INFRASTRUCTURE


def _labels(cell: PlannedCell) -> Labels:
    return tuple(value.label for value in cell.values)
