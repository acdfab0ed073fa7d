"""The verb `tune`: which compile flags make a model cheaper with one release, within a budget of minutes."""

from __future__ import annotations

import json
import math
import shlex
import time
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from matrix.answers.tuning.answer import TimedSet, Tuning, timed_sets, tuning_document, tuning_lines
from matrix.answers.tuning.halving import (
    DEFAULT_SET,
    FlagWords,
    TriedSet,
    TunableFlag,
    finalists,
    in_order,
    known_by,
    next_sets,
    shipped_flags,
)
from matrix.cli.output import give_answer
from matrix.core.errors import EXIT_INTERRUPTED, EXIT_OK, NoAnswer, UsageError
from matrix.core.machine import usable_cores
from matrix.core.records import Outcome
from matrix.core.text import escape_controls, say
from matrix.engines.choice import lookup_engine
from matrix.plan.axes import NONE
from matrix.plan.graph import Plan
from matrix.plan.question import Question
from matrix.plan.stages import axes
from matrix.plan.user_inputs import tool_axes
from matrix.results.measured.counts import INSTRUCTIONS
from matrix.results.run import Cell, Run
from matrix.run.carry_out import carry_out, report_gaps, resolved
from matrix.run.evidence import judged_cells, replay
from matrix.run.planning import plan_of, question_of
from matrix.run.store import Store

DEFAULT_LABEL = "default"
TIMES_PRESET = "tune-times"
FINALISTS = 3
"""Sets that are timed beside the default."""


def literal_axis() -> str:
    """The axis whose values are flags of the compiler."""
    return next(name for name, axis in axes().items() if axis.literal)


class _Interrupted(Exception):
    """Ctrl-C during a part of the search; what was finished is kept."""


@dataclass(slots=True, kw_only=True)
class Tuner:
    """The search while it runs. `deadline` is a reading of the monotonic clock, in seconds."""

    question: Question
    options: Namespace
    store: Store
    deadline: float
    flags: tuple[TunableFlag, ...] = ()
    place: dict[str, str] = field(default_factory=dict)
    known: dict[FlagWords, TriedSet] = field(default_factory=dict)
    jobs: int = 0
    axis: str = field(default_factory=literal_axis)

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.deadline

    def search(self) -> tuple[FlagWords, ...]:
        """Measures round by round, a few sets at a time; returns the sets that the budget did not reach. The default
        is measured in any case."""
        at_a_time = 2 * (self.options.jobs or usable_cores())
        while sets := next_sets(self.flags, self.known):
            plan = self.plan_for(sets)
            self.note(self.replayed(plan), sets, final=False)
            left = [words for words in sets if words not in self.known]
            for start in range(0, len(left), at_a_time):
                part = left[start : start + at_a_time]
                late = self.over
                if not late:
                    run, late = self.carried_out(self.plan_for(part), deadline=self.deadline)
                    self.note(run, part, final=not late)
                if late and DEFAULT_SET not in self.known:
                    run, _ = self.carried_out(self.plan_for([DEFAULT_SET]))
                    self.note(run, [DEFAULT_SET], final=True)
                if late:
                    return next_sets(self.flags, self.known)
        return ()

    def times(self) -> tuple[Run, str]:
        """The run with the times of the finalists, and why there are none."""
        best = [each.words for each in finalists(self.known, FINALISTS)]
        question = replace(self.question, preset=TIMES_PRESET)
        plan = self.plan_for([DEFAULT_SET, *best], question)
        untimed = next((value.untimed for cell in plan.cells for value in cell.values if value.untimed), "")
        if untimed or not best:
            return Run(cells=()), untimed
        known = self.replayed(plan)
        if any(not _is_whole(row.seconds_by_round, plan) for table in known.times for row in table.rows):
            late = self.over
            if not late:
                known, late = self.carried_out(plan, question, deadline=self.deadline)
            if late:
                return Run(cells=()), "the budget ended before; the same command goes on"
        return known, ""

    def plan_for(self, sets: Iterable[FlagWords], question: Question | None = None) -> Plan:
        asked = question or self.question
        labels = tuple(label_of_set(words) for words in sets)
        return resolved(lambda: plan_of(replace(asked, axes={**asked.axes, self.axis: labels}), self.options.store))

    def replayed(self, plan: Plan) -> Run:
        """What the store has of a plan."""
        states = replay(plan, self.store, lookup_engine(self.options.engine, self.store.places)).states
        return judged_cells(plan, states, self.store)

    def carried_out(
        self, plan: Plan, question: Question | None = None, *, deadline: float = math.inf
    ) -> tuple[Run, bool]:
        """Runs what is missing, and whether the deadline came before its end. Raises RunFaulted for a fault that is no
        release's."""
        asked = replace(question or self.question, axes=self.axes_of(plan, question or self.question))
        summary = carry_out(
            plan, self.store, self.options, words=["tune", *asked.only], question=asked, deadline=deadline
        )
        if summary.interrupted and not summary.late:
            raise _Interrupted
        self.jobs += summary.jobs_run
        run = judged_cells(plan, summary.states, self.store)
        if summary.faults:
            report_gaps(summary, run.cells)
        return run, summary.late

    def axes_of(self, plan: Plan, question: Question) -> dict[str, tuple[str, ...]]:
        return {**question.axes, self.axis: tuple(cell.labels[self.axis] for cell in plan.cells)}

    def note(self, run: Run, sets: Sequence[FlagWords], *, final: bool) -> None:
        """Keeps what is known; `final`: what has no figure now will have none."""
        by_label = {label_of_set(words): words for words in sets}
        for cell in run.cells:
            words = by_label[cell.axes[self.axis]]
            tried = tried_set(run, cell, words)
            if final or tried.instructions is not None or cell.outcome.red:
                self.known[words] = tried


def label_of_set(words: FlagWords) -> str:
    return shlex.join(words) or DEFAULT_LABEL


def tried_set(run: Run, cell: Cell, words: FlagWords) -> TriedSet:
    """What a cell says of its set."""
    count = run.measurements_of(cell).get(INSTRUCTIONS)
    right = cell.passed and cell.compared
    reason = "" if right and count else (cell.reason or cell.said or cell.words) if cell.passed else cell.words
    return TriedSet(words=words, instructions=count if right else None, right=right, reason=reason)


def _is_whole(seconds: object, plan: Plan) -> bool:
    wanted = plan.spec.benchmark
    return isinstance(seconds, dict) and len(seconds) == wanted.rounds * wanted.passes


def flags_asked(terms: Sequence[str]) -> tuple[TunableFlag, ...]:
    """The flags of `--flags`, each term tried as one; the shipped table without any. Raises UsageError."""
    shipped = shipped_flags()
    if not terms:
        return shipped
    names = {flag.words[-1].partition("=")[0]: flag.since for flag in shipped}
    found = []
    for term in terms:
        words = _split(term) if term.startswith("-") else ()
        if not words:
            raise UsageError(
                f"tune: --flags: read {term!r}, expected flags of iree-compile, such as --iree-opt-level=O3",
                tip="the default is tried in any case; without --flags the shipped ones are tried",
            )
        since = names.get(words[0].partition("=")[0], "") if len(words) == 1 else ""
        found.append(TunableFlag(words=words, since=since))
    return tuple(found)


def _split(term: str) -> FlagWords:
    try:
        return tuple(shlex.split(term))
    except ValueError:  # a quote without its end
        return ()


def do_tune(options: Namespace) -> int:
    """Searches within the budget, times the finalists, and prints the best set and its gain."""
    deadline = time.monotonic() + 60 * options.minutes
    options.model = [options.models]
    asked = question_of(options)
    flags = flags_asked(asked.axes.get(literal_axis(), ()))
    question = replace(asked, axes={axis: terms for axis, terms in asked.axes.items() if axis != literal_axis()})
    with Store(options.store) as store:
        tuner = Tuner(question=question, options=options, store=store, deadline=deadline)
        tuner.place = _one_place(tuner.plan_for([DEFAULT_SET]))
        tuner.plan_for(flag.words for flag in flags)  # all faults of them at once, before anything is run
        tuner.flags = known_by(flags, tuner.place.get(tool_axes()[0], ""))
        try:
            tuning = _tuned(tuner)
        except _Interrupted:
            return EXIT_INTERRUPTED
    said = (
        "\n".join(tuning_lines(tuning)) if options.format == "text" else json.dumps(tuning_document(tuning), indent=1)
    )
    text = (escape_controls(said) if options.format == "text" else said) + "\n"
    give_answer(text, options.output)
    return EXIT_OK


def _tuned(tuner: Tuner) -> Tuning:
    left = tuner.search()
    default = tuner.known[DEFAULT_SET]
    if not default.usable:
        raise NoAnswer(
            f"tune: with the default flags: {default.reason or 'no instructions were counted'}; expected a cell that "
            "passes with compared outputs, and is counted",
            tip="`python -m matrix profile` with the same words says more; --target x86_64 is counted on each machine",
        )
    run, untimed = tuner.times()
    words = {label_of_set(each): each for each in tuner.known}
    times: tuple[TimedSet, ...] = tuple(each for table in run.times for each in timed_sets(table, tuner.axis, words))
    rounds = max((len(row.seconds_by_round) for table in run.times for row in table.rows), default=0)
    floors = [table.noise_floor for table in run.times if table.noise_floor]
    if run.times and not times:
        untimed = "no round was measured"
    if left:
        say(f"tune: the budget of {tuner.options.minutes} minutes is over; the same command goes on")
    return Tuning(
        place=tuner.place,
        flags=tuner.flags,
        known=in_order(tuner.flags, tuner.known),
        left=left,
        times=times,
        noise_floor=max(floors, default=None),
        rounds=rounds,
        untimed=untimed,
        jobs=tuner.jobs,
    )


def _one_place(plan: Plan) -> dict[str, str]:
    """The labels of the one cell, without those of no axis of its own. Raises UsageError for several cells."""
    if len(plan.cells) != 1:
        free = {axis: dict.fromkeys(cell.labels[axis] for cell in plan.cells) for axis in plan.cells[0].labels}
        told = "; ".join(f"{axis}: {', '.join(labels)}" for axis, labels in free.items() if len(labels) > 1)
        raise UsageError(
            f"tune: read the words of {len(plan.cells)} cells, expected one; they differ in {told}",
            tip="name one value of each: --compiler 3.13.0 --target x86_64",
        )
    (cell,) = plan.cells
    if cell.excluded:
        raise NoAnswer(f"tune: {Outcome.EXCLUDED}: {cell.excluded}", tip="choose other values")
    return {axis: label for axis, label in cell.labels.items() if axis != literal_axis() and label != NONE}
