"""What the gates say of a cell beside how it ended. The prediction reads the table of gates, which was learnt from
`.vmfb` files alone: with all outcomes deleted it says the same. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matrix.answers.gates import Gates, Prediction, load_gates, predict_release
from matrix.core.records import Outcome
from matrix.core.versions import minor
from matrix.plan.backends.iree import BENCHMARK, COMPILE, COMPILER, RUN, RUNTIME
from matrix.results.run import Cell

LOADED = (Outcome.PASSED, Outcome.WRONG_OUTPUT)
"""Outcomes of a module that the runtime took."""
REFUSALS = frozenset(
    {"vm-features", "vm-bytecode-version", "module-version", "import-signature", "import-missing", "executable-abi"}
)
"""Signatures of what the table of gates speaks of. A module that fails of something else (a symbol, a device, its
inputs) came through the gates."""
AT_THE_TOOLS = (COMPILE, RUN)
"""Where a cell stops whose compiler or runtime cannot be had here: what it exports is not in question."""

Predictions = Mapping[tuple[str, str], Prediction]
"""(compiler, runtime) as minor releases -> what the runtime makes of the compiler's modules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Of the cells in which a runtime loaded a module or a gate refused it, `agreeing` ended as predicted, `other` did
    not."""

    agreeing: int
    other: tuple[str, ...]

    @property
    def words(self) -> str:
        """Empty where nothing was predicted, or nothing observed."""
        total = self.agreeing + len(self.other)
        return f"{self.agreeing} of {total} cells ended as the gates alone predict" if total else ""


def predictions(gates: Sequence[Gates]) -> Predictions:
    """For every pair of the releases whose gates are known."""
    return {(one.release, other.release): predict_release(one, other) for one in gates for other in gates}


@functools.cache
def committed() -> Predictions:
    """Of the committed gates."""
    return predictions(load_gates())


def prediction_of(axes: Mapping[str, str], known: Predictions) -> Prediction | None:
    """None where the gates of the compiler or of the runtime are not known."""
    return known.get((minor(axes.get(COMPILER, "")), minor(axes.get(RUNTIME, ""))))


def observed_gate(cell: Cell) -> str | None:
    """The gate that refused, '' where the module was loaded, other words where it ended in another way; None where no
    runtime was given a module."""
    if cell.stage not in (RUN, BENCHMARK) or not cell.measured:
        return None
    if cell.outcome in LOADED:
        return ""
    return cell.signature or cell.words


def surprising(cell: Cell, known: Predictions) -> bool:
    """It ended otherwise than the gates say."""
    found, said = prediction_of(cell.axes, known), observed_gate(cell)
    return found is not None and _comparable(found, said) and said != found.gate


def _comparable(found: Prediction, said: str | None) -> bool:
    return said is not None and (not found.loads or said == "" or said in REFUSALS)


def only_predicted(cell: Cell, known: Predictions) -> Prediction | None:
    """The prediction of a cell whose releases could not be had, so that it stands for the missing outcome."""
    missing = cell.outcome in (Outcome.UNTESTED, Outcome.NOT_INSTALLABLE) and cell.stage in AT_THE_TOOLS
    return prediction_of(cell.axes, known) if missing else None


def prediction_agreement(cells: Iterable[Cell], known: Predictions) -> Agreement:
    """A line for each cell that ended otherwise."""
    pairs = ((cell, prediction_of(cell.axes, known)) for cell in cells)
    compared = [cell for cell, found in pairs if found and _comparable(found, observed_gate(cell))]
    other = [cell for cell in compared if surprising(cell, known)]
    return Agreement(
        agreeing=len(compared) - len(other),
        other=tuple(f"{cell.name}: {beside_words(cell, known)}" for cell in other),
    )


def beside_words(cell: Cell, known: Predictions) -> str:
    """`predicted: refused at vm-features (the module needs EXT_F64); as observed`; empty where nothing is predicted."""
    found = prediction_of(cell.axes, known)
    if found is None:
        return ""
    said = observed_gate(cell)
    if said is None:
        return f"{prediction_words(found)}; not observed"
    if not _comparable(found, said):
        return f"{prediction_words(found)}; what failed is none of these gates"
    seen = "as observed" if said == found.gate else f"observed: {said or 'it loads'}"
    return f"{prediction_words(found)}; {seen}"


def prediction_words(found: Prediction) -> str:
    """`predicted: it loads`."""
    if found.loads:
        return "predicted: it loads" + (", as far as the imports are known" if found.unseen else "")
    return f"predicted: refused at {found.gate} ({found.detail})"
