"""Compares the gates' prediction for a cell with how it ended. The prediction reads the table of gates, which was
learnt from `.vmfb` files alone: it is the same without any outcome. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matrix.answers.gates import Gates, Prediction, load_gates, predict_release
from matrix.core.records import Outcome
from matrix.core.text import counted
from matrix.core.versions import minor
from matrix.plan.backends.iree.environments import COMPILER, RUNTIME
from matrix.plan.backends.iree.names import BENCHMARK, COMPILE, RUN
from matrix.plan.backends.shared import TARGET_AXIS
from matrix.results.run import Cell

LOADED = (Outcome.PASSED, Outcome.WRONG_OUTPUT)
"""Outcomes of a module that the runtime loaded."""
REFUSALS = frozenset(
    {
        *("vm-features", "vm-bytecode-version", "module-version", "import-signature", "import-missing"),
        *("executable-abi", "executable-header"),
    }
)
"""Signatures of the gates in the table. A module that fails with another one (a symbol, a device, its inputs) has
passed the gates."""
AT_THE_TOOLS = (COMPILE, RUN)
"""The stages in which a cell stops if its compiler or runtime is not available here: its export is not the question."""

ON_DEVICE = "device"
DEVICE_TARGETS = ("vulkan", "cuda", "rocm", "metal")
"""How the names of targets begin whose modules have code for a device."""

Predictions = Mapping[tuple[str, ...], Prediction]
"""(compiler, runtime) as minor releases -> the runtime's decision on the compiler's modules with native code; of those
with code for a device with ON_DEVICE behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Of the cells in which a runtime loaded a module or a gate refused it, `agreeing` ended as predicted, `other` did
    not."""

    agreeing: int
    other: tuple[str, ...]

    @property
    def words(self) -> str:
        """Empty if nothing was predicted, or nothing observed."""
        total = self.agreeing + len(self.other)
        return f"{self.agreeing} of {counted(total, 'cell')} ended as the gates alone predict" if total else ""


def predictions(gates: Sequence[Gates]) -> dict[tuple[str, ...], Prediction]:
    """Predictions for every pair of releases with known gates."""
    return {(one.release, other.release): predict_release(one, other) for one in gates for other in gates}


def device_predictions(gates: Sequence[Gates]) -> dict[tuple[str, ...], Prediction]:
    """The same of modules with code for a device."""
    pairs = ((one, other) for one in gates for other in gates)
    return {
        (one.release, other.release, ON_DEVICE): predict_release(one, other, for_device=True) for one, other in pairs
    }


@functools.cache
def committed_predictions() -> Predictions:
    """Predictions from the committed gates."""
    gates = load_gates()
    return {**predictions(gates), **device_predictions(gates)}


def prediction_of(axes: Mapping[str, str], known: Predictions) -> Prediction | None:
    """The prediction for a cell; None if the gates of the compiler or of the runtime are unknown."""
    on_device = axes.get(TARGET_AXIS.name, "").partition("-")[0] in DEVICE_TARGETS
    return known.get((minor(axes.get(COMPILER, "")), minor(axes.get(RUNTIME, "")), *([ON_DEVICE] if on_device else [])))


def observed_gate(cell: Cell) -> str | None:
    """The gate that refused, '' if the module was loaded, other words if it ended differently; None if no runtime got a
    module."""
    if cell.stage not in (RUN, BENCHMARK) or not cell.measured:
        return None
    if cell.outcome in LOADED:
        return ""
    return cell.signature or cell.words


def surprising(cell: Cell, known: Predictions) -> bool:
    """Whether a cell ended differently than the gates predict."""
    found, said = prediction_of(cell.axes, known), observed_gate(cell)
    return found is not None and _comparable(found, said) and said != found.gate


def _comparable(found: Prediction, said: str | None) -> bool:
    return said is not None and (not found.loads or said == "" or said in REFUSALS)


def only_predicted(cell: Cell, known: Predictions) -> Prediction | None:
    """The prediction for a cell whose releases are not available, in place of its outcome."""
    missing = cell.outcome in (Outcome.UNTESTED, Outcome.NOT_INSTALLABLE) and cell.stage in AT_THE_TOOLS
    return prediction_of(cell.axes, known) if missing else None


def prediction_agreement(cells: Iterable[Cell], known: Predictions) -> Agreement:
    """A line for each cell that ended differently."""
    pairs = ((cell, prediction_of(cell.axes, known)) for cell in cells)
    compared = [cell for cell, found in pairs if found and _comparable(found, observed_gate(cell))]
    other = [cell for cell in compared if surprising(cell, known)]
    return Agreement(
        agreeing=len(compared) - len(other),
        other=tuple(f"{cell.name}: {compared_words(cell, known)}" for cell in other),
    )


def compared_words(cell: Cell, known: Predictions) -> str:
    """`predicted: refused at vm-features (the module needs EXT_F64); as observed`; empty if nothing is predicted."""
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
