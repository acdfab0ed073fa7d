"""Operations of a model with one system beside those with others: joined where kind, order and shape agree. Pure.

Each system makes its own operations of a model, fused with their neighbours. Those of one kind stay in the model's
order, so two lists of them are joined as texts are: the longest runs of equal shapes first. Where a runtime pads
channels to the width of its vectors, the shapes are compared padded. What has no partner counts to its kind alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

PADDED = 16
"""Channels are compared as multiples of this: ONNX Runtime pads them to 8 or 16."""
JOINED_KINDS = frozenset({"convolution", "attention", "matmul", "softmax", "normalization", "reduction"})
"""What each system keeps as an operation of its own. The others it fuses here and there, so their order says little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """An operation as one system carried it out: its name there, its kind on all, the shape of its result, and the
    least seconds of a call."""

    name: str
    kind: str
    shape: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedOperation:
    """An operation of the base, and its partner with each other system that has one."""

    base: Worked
    partners: Mapping[str, Worked] = field(default_factory=dict)

    @property
    def best(self) -> str:
        """The system that needs least for it; "" without a partner."""
        return min(self.partners, key=lambda system: self.partners[system].seconds, default="")

    @property
    def loss(self) -> float:
        """Seconds beyond those of the best partner; negative where the base is quicker."""
        return self.base.seconds - self.partners[self.best].seconds if self.partners else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KindTotal:
    """All operations of a kind: their number and seconds with the base and with each other system."""

    kind: str
    base: tuple[int, float]
    others: Mapping[str, tuple[int, float]]


def joined_operations(base: Sequence[Worked], others: Mapping[str, Sequence[Worked]]) -> tuple[JoinedOperation, ...]:
    """The operations of the base that have a partner, those with the largest loss first."""
    partners: list[dict[str, Worked]] = [{} for _ in base]
    for system, rows in others.items():
        for here, there in _pairs(base, rows):
            partners[here][system] = rows[there]
    found = (JoinedOperation(base=each, partners=row) for each, row in zip(base, partners, strict=True) if row)
    return tuple(sorted(found, key=lambda row: -row.loss))


def _pairs(base: Sequence[Worked], rows: Sequence[Worked]) -> list[tuple[int, int]]:
    """Places on both sides, for each kind that is joined."""
    found = []
    for kind in dict.fromkeys(each.kind for each in base if each.kind in JOINED_KINDS):
        here = [place for place, each in enumerate(base) if each.kind == kind]
        there = [place for place, each in enumerate(rows) if each.kind == kind]
        shapes = [_padded(base[place].shape) for place in here], [_padded(rows[place].shape) for place in there]
        for first, second, size in SequenceMatcher(None, *shapes, autojunk=False).get_matching_blocks():
            found += [(here[first + step], there[second + step]) for step in range(size)]
    return found


def _padded(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without leading dimensions of one, which a runtime may drop, and with padded dimensions before the last
    two: the channels are among them."""
    first = next((place for place, size in enumerate(shape) if size != 1), len(shape))
    kept = shape[first:]
    return tuple(-(-size // PADDED) * PADDED if place < len(kept) - 2 else size for place, size in enumerate(kept))


def kind_totals(base: Sequence[Worked], others: Mapping[str, Sequence[Worked]]) -> tuple[KindTotal, ...]:
    """Every kind of any system, those with most seconds of the base first."""
    sides = {system: _totals(rows) for system, rows in others.items()}
    own = _totals(base)
    kinds = dict.fromkeys([*own, *(kind for side in sides.values() for kind in side)])
    rows = [
        KindTotal(
            kind=kind,
            base=own.get(kind, (0, 0.0)),
            others={system: side.get(kind, (0, 0.0)) for system, side in sides.items()},
        )
        for kind in kinds
    ]
    return tuple(sorted(rows, key=lambda row: -row.base[1]))


def _totals(rows: Sequence[Worked]) -> dict[str, tuple[int, float]]:
    found: dict[str, tuple[int, float]] = {}
    for each in rows:
        number, seconds = found.get(each.kind, (0, 0.0))
        found[each.kind] = (number + 1, seconds + each.seconds)
    return found
