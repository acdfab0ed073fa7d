"""The profiles of a run's cells: what each dispatch of a call executes, by operation of the model and kind. Pure.

Instructions are no speed.
"""

from __future__ import annotations

import functools
import math
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from matrix.core.data import DATA
from matrix.plan.axes import NONE
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.results.measured.counts import instruction_words
from matrix.results.measured.profiled_code import CodeProfile, ModelOperation, ProfiledDispatch, ProfiledModel
from matrix.results.run import Cell, Run, kept_with_run
from matrix.results.sections import Block, Column, Section, Words, by_axes, differing, grid

NO_TIME = "instructions are counted, the same on every machine; they say nothing of how long each takes"
ALL_NAMED = "all instructions of the module are in named dispatches."
SPECIAL_KINDS = (OTHER_KIND, RUNTIME_KIND) = ("other", "the runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one call of a cell executes, with the operations of its model by line."""

    axes: Mapping[str, str]
    code: CodeProfile
    source: str = ""
    operations: Mapping[str, ModelOperation] = field(default_factory=dict)

    @property
    def instructions(self) -> int:
        return self.code.instructions

    def main_operation(self, dispatch: ProfiledDispatch) -> ModelOperation | None:
        """The operation with most of a dispatch's instructions."""
        return self.operations.get(dispatch.main_line)

    def by_operation(self, dispatch: ProfiledDispatch) -> Mapping[ModelOperation | None, int]:
        """The instructions of a dispatch by operation, those of most first."""
        return {self.operations.get(line): count for line, count in dispatch.operations.items()}

    def by_kind(self) -> Mapping[str, int]:
        """Kind of operation -> instructions, in the order of `operation_kinds`. Together they are all of the call."""
        found: Counter[str] = Counter()
        for dispatch in self.code.dispatches:
            for operation, count in self.by_operation(dispatch).items():
                found[operation_kind(operation.name) if operation else OTHER_KIND] += count
        found[OTHER_KIND] += self.code.unnamed
        found[RUNTIME_KIND] += self.code.runtime
        return {kind: found[kind] for kind in operation_kinds() if found[kind]}


@functools.cache
def _words_of_kinds() -> Mapping[str, Sequence[str]]:
    kinds: Mapping[str, Sequence[str]] = tomllib.loads((DATA / "operations.toml").read_text(encoding="utf-8"))["kinds"]
    return kinds


@functools.cache
def operation_kinds() -> tuple[str, ...]:
    """All kinds, in the order of pictures: the runtime last."""
    return (*_words_of_kinds(), *SPECIAL_KINDS)


@functools.cache
def operation_kind(name: str) -> str:
    """The kind of an operation by its name, such as `torch.aten.conv2d`."""
    plain = name.lower()
    return next((kind for kind, words in _words_of_kinds().items() if any(word in plain for word in words)), OTHER_KIND)


def profile_of(axes: Mapping[str, str], code: CodeProfile, model: ProfiledModel | None) -> Profile:
    """The profile with the operations that it names."""
    operations = {str(each.line): each for each in model.operations} if model else {}
    return Profile(axes=axes, code=code, source=model.source if model else "", operations=operations)


@kept_with_run
def profiled_cells(run: Run) -> Mapping[str, Profile]:
    """The profile of each cell that has one, by the name of the cell."""
    found = {}
    for cell in run.cells if run.profiles else ():
        if code := _code_of(run, cell):
            found[cell.name] = profile_of(cell.axes, code, run.profiled_models.get(code.mlir))
    return found


def _code_of(run: Run, cell: Cell) -> CodeProfile | None:
    return next((run.profiles[key] for key in cell.evidence if key in run.profiles), None)


def share_words(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0.0 %"


def least_named(run: Run) -> tuple[float, Profile] | None:
    """The cell whose code of the module is in named dispatches to the least part, and that part."""
    found = [(each.code.named / each.code.kernel, each) for each in profiled_cells(run).values() if each.code.kernel]
    return min(found, key=lambda pair: pair[0], default=None)


# -- the table of a report


def _row_columns(rows: Sequence[Profile]) -> list[Column]:
    kinds = [kind for kind in operation_kinds() if any(kind in each.by_kind() for each in rows)]

    def part(kind: str) -> Column:
        return Column(
            title=kind,
            value=lambda row: (row.by_kind().get(kind, 0), row.instructions),
            text=lambda pair: share_words(*pair),
        )

    return [
        Column(title="instructions", value=lambda row: row.instructions, text=instruction_words),
        Column(title="dispatches", value=lambda row: len(row.code.dispatches)),
        *map(part, kinds),
    ]


def _blocks(run: Run) -> Iterator[Block]:
    """A table for each model: how the instructions of a call fall on kinds of operations."""
    profiles = list(profiled_cells(run).values())
    models = dict.fromkeys(each.axes.get(MODEL_AXIS.name, NONE) for each in profiles)
    if profiles:
        yield Words(
            text=f"What a call executes, by kind of operation: {NO_TIME}. The runtime is what is not the module."
        )
    for model in models:
        rows = [each for each in profiles if each.axes.get(MODEL_AXIS.name, NONE) == model]
        axes = [name for name in differing(run.names, [each.axes for each in rows], always="") if name]
        yield Words(text=model)
        yield grid([*by_axes(axes, lambda row: row.axes), *_row_columns(rows)], rows)
    if least := least_named(run):
        part, profile = least
        names = differing(run.names, [each.axes for each in profiles], always="")
        place = ", ".join(profile.axes[name] for name in names)
        least_part = f"at least {math.floor(10_000 * part) / 100:.2f} %"
        said = f"{least_part} of the module's instructions are in named dispatches; the least: {place}."
        yield Words(text=f"In each cell {said if part < 1 else ALL_NAMED}")


PROFILES_SECTION = Section(name="profiles", blocks=_blocks)
