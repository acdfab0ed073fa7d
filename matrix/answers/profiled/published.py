"""Profiles in published runs: the cells that words mean, and which operations changed between two releases. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matrix.answers.advice import meant_by, newest_first
from matrix.answers.differences import PairOfRuns
from matrix.answers.profiled.changes import OperationChange, operation_changes
from matrix.answers.profiled.words import SHARED_DISPATCH, cut_words, ratio_words, where_words
from matrix.core.errors import NoAnswer, UsageError
from matrix.core.text import counted
from matrix.core.versions import did_you_mean, releases_first
from matrix.plan.backends.shared import MODEL_AXIS, TARGET_AXIS
from matrix.results.measured.counts import instruction_words, same_counts
from matrix.results.measured.profiles import NO_TIME, Profile, profiled_cells
from matrix.results.run import Run

DEFAULT_TARGET = "x86_64"
MOST_SIDES = 2
MOST_OPERATIONS = 3
"""Of a model on a target, in the answer of `diff` and on pages."""
CHANGED_OPERATIONS = f"which operations execute more or fewer instructions: {NO_TIME}; {SHARED_DISPATCH}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileChange:
    """One cell with both releases. `place` names it without them, `changes` are those of its operations, the largest
    first."""

    place: str
    before: Profile
    after: Profile
    changes: tuple[OperationChange, ...]

    @property
    def words(self) -> str:
        """`mobilenet_v2, x86_64: 1,151 M -> 436 M instructions`."""
        ends = " -> ".join(instruction_words(each.instructions) for each in (self.before, self.after))
        return f"{self.place}: {ends} instructions"

    def listed(self) -> list[str]:
        """The operations that changed most, a sentence each, and how many more changed."""
        changed = [each for each in self.changes if each.change]
        lines = [self._line(each) for each in changed[:MOST_OPERATIONS]]
        rest = changed[MOST_OPERATIONS:]
        whole = sum(each.change for each in rest)
        return lines + ([f"{counted(len(rest), 'further operation')} changed: {whole:+,} instructions"] if rest else [])

    def _line(self, each: OperationChange) -> str:
        name = where_words(each.operation, self.after.source) if each.operation else each.name
        word = "more" if each.change > 0 else "fewer"
        cut = cut_words(each) if each.operation else ""
        return f"{name}: {word}, {each.before:,} -> {each.after:,} ({ratio_words(each)})" + (
            f", in {cut}" if cut else ""
        )


def profile_changes(pairs: Iterable[PairOfRuns]) -> tuple[ProfileChange, ...]:
    """Each pair of cells with profiles whose instructions differ by more than counts of the same code may, those that
    changed most first."""
    found: dict[str, ProfileChange] = {}
    for first, before, second, after in pairs:
        if before is None or after is None:
            continue
        old, new = profiled_cells(first).get(before.name), profiled_cells(second).get(after.name)
        if old is None or new is None or same_counts(old.instructions, new.instructions):
            continue
        change = ProfileChange(
            place=_place(second, old, new), before=old, after=new, changes=operation_changes(old, new)
        )
        found.setdefault(f"{before.name} {after.name}", change)
    return tuple(sorted(found.values(), key=lambda each: -_size(each)))


def _size(change: ProfileChange) -> float:
    ends = sorted((change.before.instructions, change.after.instructions))
    return ends[1] / max(1, ends[0])


def _place(run: Run, old: Profile, new: Profile) -> str:
    """The model, and the labels of axes on which the run has several values."""
    shared = {axis: label for axis, label in new.axes.items() if old.axes.get(axis) == label}
    return ", ".join(
        label for axis, label in shared.items() if axis == MODEL_AXIS.name or len(run.axis(axis).labels) > 1
    )


def profile_change_lines(pairs: Sequence[PairOfRuns]) -> list[str]:
    """The changes as lines for people; none where no cell has profiles on both sides that differ."""
    lines = [
        line
        for each in profile_changes(pairs)
        for line in (f"  {each.words}", *(f"    {row}" for row in each.listed()))
    ]
    return ["", CHANGED_OPERATIONS, *lines] if lines else []


# -- the cells that words mean


def find_profiles(runs: Iterable[Run], model: str, wanted: Mapping[str, Sequence[str]]) -> tuple[Profile, ...]:
    """One profile, or two to compare, of a model: `wanted` has terms by axis. Without them it is the newest release, on
    x86_64. Raises NoAnswer where no run has it, UsageError for more than two."""
    every = {tuple(each.axes.items()): each for run in runs for each in profiled_cells(run).values()}
    known = list(dict.fromkeys(each.axes[MODEL_AXIS.name] for each in every.values()))
    found = [each for each in every.values() if each.axes[MODEL_AXIS.name] == model]
    if not found:
        expected = f"expected one of {', '.join(known)}{did_you_mean(model, known)}" if known else "and none of others"
        raise NoAnswer(
            f"profile: these results have no profile of {model!r}, {expected}",
            tip="without --results it is measured; the preset `profiles` publishes some",
        )
    for axis, terms in wanted.items():
        labels = releases_first(each.axes[axis] for each in found if axis in each.axes)
        meant = frozenset[str]().union(*(meant_by(term, labels) for term in terms))
        found = [each for each in found if each.axes.get(axis) in meant]
        if not found:
            raise NoAnswer(
                f"profile: --{axis}: read {' and '.join(terms)}, of which these results have no profile of {model}, "
                f"expected one of {', '.join(labels)}",
                tip="without --results it is measured",
            )
    found = _usual(found, wanted)
    if len(found) > MOST_SIDES:
        free = {axis: dict.fromkeys(each.axes[axis] for each in found) for axis in found[0].axes}
        told = "; ".join(f"{axis}: {', '.join(labels)}" for axis, labels in free.items() if len(labels) > 1)
        raise UsageError(
            f"profile: read the words of {len(found)} cells, expected one, or two to compare; they differ in {told}",
            tip="name one value of each, or two of one: --compiler 3.8.0 --compiler 3.13.0",
        )
    return tuple(found)


def _usual(found: Sequence[Profile], wanted: Mapping[str, Sequence[str]]) -> list[Profile]:
    """Those on the usual target and, where no release is wanted, of the newest ones."""
    chosen = list(found)
    if TARGET_AXIS.name not in wanted:
        usual = [each for each in chosen if each.axes.get(TARGET_AXIS.name) == DEFAULT_TARGET]
        chosen = usual or chosen
    if not any(axis in wanted for axis in newest_first()):
        for axis in newest_first():
            labels = releases_first(each.axes[axis] for each in chosen if axis in each.axes)
            chosen = [each for each in chosen if not labels or each.axes.get(axis) == labels[-1]]
    order = {tuple(each.axes.items()): place for place, each in enumerate(found)}
    return sorted(chosen, key=lambda each: order[tuple(each.axes.items())])
