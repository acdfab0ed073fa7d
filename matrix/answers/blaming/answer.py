"""What `blame` says: which dispatch departs from the reference on the same inputs, and what agrees. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from matrix.artifacts.compiler.cut import CutDispatch, CutModule
from matrix.artifacts.contents.mlir_lines import MlirOperation
from matrix.core.keys import Json
from matrix.core.text import counted, plain_rows
from matrix.results.judge import Comparison
from matrix.results.run import Cell

MOST_COMPUTED = 4
ROUNDED = 0.001
"""The share of elements that two right code generators may compute otherwise: sums of large numbers that nearly cancel
each other, in a channel that is zero else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedAt:
    """A dispatch alone, on the inputs of the reference: how it ended as a cell, with the command lines of its jobs; or
    why it was left out."""

    dispatch: CutDispatch
    operations: tuple[MlirOperation, ...] = ()
    cell: Cell | None = None
    commands: tuple[tuple[str, ...], ...] = ()
    left_out: str = ""

    @property
    def departs(self) -> bool:
        return self.cell is not None and self.cell.outcome.red and not self.rounded

    @property
    def rounded(self) -> bool:
        """Whether a few elements differ, by less than is allowed of the scale of all: that is rounding."""
        compared = self.cell.comparison if self.cell else None
        if compared is None or compared.equal or compared.error is None or compared.wrong is None:
            return False
        return compared.wrong < ROUNDED and compared.error <= compared.tolerance

    @property
    def agrees(self) -> bool:
        return self.cell is not None and (self.cell.passed or self.rounded)

    @property
    def computes(self) -> str:
        """`line 6 linalg.matmul 4x32xf32`."""
        said = [f"line {each.line} {each.name} {each.result}".strip() for each in self.operations[:MOST_COMPUTED]]
        rest = len(self.operations) - MOST_COMPUTED
        return ", ".join([*said, *([f"and {rest} more"] if rest > 0 else [])])

    @property
    def ended(self) -> str:
        """How it departs: the worst element, or how it crashed."""
        assert self.cell is not None
        if self.cell.comparison is not None and not self.cell.comparison.equal:
            return self.cell.comparison.words
        return f"{self.cell.words}{': ' + self.cell.said if self.cell.said else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """The dispatches of a cell's module in the order of their calls. `reference` compares the outputs of VMVX with the
    expected ones, if there are any."""

    cell: Cell
    reference: Comparison | None
    module: CutModule
    looked: tuple[LookedAt, ...]

    @property
    def departing(self) -> tuple[LookedAt, ...]:
        return tuple(each for each in self.looked if each.departs)

    @property
    def first(self) -> LookedAt | None:
        return next(iter(self.departing), None)

    @property
    def agreeing(self) -> tuple[LookedAt, ...]:
        return tuple(each for each in self.looked if each.agrees)


def blame_lines(blame: Blame, written: tuple[str, ...] = ()) -> list[str]:
    """The answer as text; `written` says what was made of a reproducer."""
    rows = [["cell", blame.cell.name], ["outcome", _outcome(blame.cell)], ["reference", _reference(blame)]]
    rows.append(["dispatches", _counts(blame)])
    first = blame.first
    if first is None:
        rows.append(["answer", _none_departs(blame)])
    else:
        rows += [["first wrong", _name(first, blame)], *([["computes", first.computes]] if first.computes else [])]
        rows.append(["how", first.ended])
        if first.dispatch.beside:
            rows.append(["with it", f"dispatches {_numbers(first.dispatch.beside)}: what they make fits no .npy file"])
        before = [each for each in blame.looked if each.dispatch.ordinal < first.dispatch.ordinal]
        rows.append(["before it", _before(before)])
        later = [each.dispatch.ordinal for each in blame.departing[1:]]
        if later:
            rows.append(
                [
                    "also wrong",
                    f"{counted(len(later), 'dispatch').replace('dispatchs', 'dispatches')}: {_numbers(later)}",
                ]
            )
    rows += [
        ["left out", f"dispatch {each.dispatch.ordinal}: {each.left_out}"] for each in blame.looked if each.left_out
    ]
    if blame.module.elsewhere:
        rows.append(["left out", f"{blame.module.elsewhere} dispatches outside of the function, such as initialisers"])
    rows += [["reproducer" if not place else "", line] for place, line in enumerate(written)]
    return plain_rows(rows, headers=()).splitlines()


def _outcome(cell: Cell) -> str:
    compared = f"; {cell.comparison.words}" if cell.comparison and not cell.comparison.equal else ""
    return f"{cell.words}{compared}"


def _reference(blame: Blame) -> str:
    said = "VMVX of the same compiler, on the same dispatches"
    if blame.reference is None:
        return f"{said}; there are no expected outputs to compare it with"
    if blame.reference.equal:
        return f"{said}; its outputs equal the expected ones"
    return f"{said}; IT IS WRONG TOO: {blame.reference.words}"


def _counts(blame: Blame) -> str:
    left = len(blame.looked) - len(blame.agreeing) - len(blame.departing)
    said = f"{len(blame.looked)}, each alone on the reference's inputs: {len(blame.agreeing)} agree"
    said += f", {len(blame.departing)} depart"
    return f"{said}, {left} not known" if left else said


def _none_departs(blame: Blame) -> str:
    if blame.cell.passed:
        return "no dispatch departs"
    if blame.reference is not None and not blame.reference.equal:
        return (
            "no dispatch departs, and the reference is wrong too: the fault is before the cut, in what the compiler "
            "made of the model, or in the expected outputs"
        )
    return (
        "no dispatch departs when it has the right inputs: the fault is between them, in how buffers are shared or "
        "calls are ordered"
    )


def _name(looked: LookedAt, blame: Blame) -> str:
    return f"dispatch {looked.dispatch.ordinal} of 0 to {len(blame.looked) - 1}, {looked.dispatch.name}"


def _before(before: list[LookedAt]) -> str:
    if not before:
        return "none"
    unknown = [each.dispatch.ordinal for each in before if not each.agrees]
    told = f"all {len(before)} agree" if not unknown else f"{len(before) - len(unknown)} of {len(before)} agree"
    return told + (f"; not known: {_numbers(unknown)}" if unknown else "")


def _numbers(ordinals: Iterator[int] | list[int] | tuple[int, ...]) -> str:
    return ", ".join(map(str, ordinals))


def blame_document(blame: Blame, written: tuple[str, ...] = ()) -> Json:
    """The answer as JSON."""
    first = blame.first
    return {
        "cell": dict(blame.cell.axes),
        "outcome": str(blame.cell.outcome),
        "reference_equals_expected": blame.reference.equal if blame.reference else None,
        "first_wrong": first.dispatch.ordinal if first else None,
        "dispatches": [_row(each) for each in blame.looked],
        "reproducer": list(written),
    }


def _row(looked: LookedAt) -> dict[str, Json]:
    return {
        "ordinal": looked.dispatch.ordinal,
        "name": looked.dispatch.name,
        "lines": list(looked.dispatch.lines),
        "operations": [f"{each.name} {each.result}".strip() for each in looked.operations],
        "outcome": str(looked.cell.outcome) if looked.cell else None,
        "departs": looked.departs,
        "rounded": looked.rounded,
        "how": looked.ended if looked.departs else looked.left_out,
        "beside": list(looked.dispatch.beside),
    }
