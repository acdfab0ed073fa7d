"""Judges: from the outputs of jobs to the outcome of a cell. Pure: it gets the bytes of files, so a tolerance can
change without a rerun."""

from __future__ import annotations

import io
import math
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from matrix.core.records import JobEnd, Outcome

if TYPE_CHECKING:
    import numpy.typing

    Array = numpy.typing.NDArray[Any]

ENDS = {
    "exited": Outcome.FAILED,
    "signalled": Outcome.CRASHED,
    "timed_out": Outcome.TIMED_OUT,
    "out_of_memory": Outcome.OUT_OF_MEMORY,
    "killed": Outcome.INFRASTRUCTURE,
    "not_started": Outcome.INFRASTRUCTURE,
    "lost": Outcome.INFRASTRUCTURE,
}
"""The outcome for each end of a job, except exit code 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Outputs compared with the reference.

    `error` is the largest |output - reference| / max |reference| over all outputs (None if it is not finite),
    `tolerance` is the limit for its dtype, `text` names the worst element, or what does not match.
    """

    error: float | None = None
    tolerance: float
    text: str

    @property
    def equal(self) -> bool:
        return self.error is not None and self.error <= self.tolerance

    @property
    def words(self) -> str:
        """`equal, byte for byte; error 0 of the reference's scale, tolerance 1e-05`."""
        error = "not finite" if self.error is None else f"{self.error:.3g}"
        return f"{self.text}; error {error} of the reference's scale, tolerance {self.tolerance:.3g}"


EQUAL = Comparison(error=0.0, tolerance=0.0, text="equal, byte for byte")
SMALLEST = 5e-324
"""The error of values that differ but are equal as float64: two integers above 2^53."""


def outcome_of(end: JobEnd, *, has_outputs: bool, recognised: Outcome | None) -> Outcome:
    """How a job ended. `recognised` is the outcome of the log's signature if the fault is ours."""
    if end.end == "exited" and end.exit_code == 0:
        return Outcome.PASSED if has_outputs else Outcome.FAILED
    if recognised is not None and end.end in ("exited", "signalled"):
        return recognised
    return ENDS[end.end]


def compare_outputs(outputs: Sequence[bytes], expected: Sequence[bytes], tolerance: Mapping[str, float]) -> Comparison:
    """Compares .npy files, in order: number, dtype and shape must be equal, values within the dtype's tolerance
    relative to the reference's scale (its largest finite magnitude; 1 if that is 0). A reference with NaN equals
    nothing, not even itself. The result describes the worst of several outputs."""
    if len(outputs) != len(expected):
        return _refused(f"{len(outputs)} outputs, expected {len(expected)}")
    if not expected:
        return _refused("the reference holds no output: nothing is compared")
    compared = []
    for index, (output, reference) in enumerate(zip(outputs, expected, strict=True)):
        try:
            wanted = _array(reference)
            nans = _nans(wanted)
            if nans:
                one = _refused(f"the reference itself holds {nans} NaN of {wanted.size}, which nothing can be equal to")
            elif output == reference:
                one = EQUAL
            else:
                one = _compare_arrays(_array(output), wanted, tolerance)
        except ValueError as error:
            one = _refused(f"not an .npy file: {error}")
        compared.append(replace(one, text=f"output {index}: {one.text}"))
    return max(compared, key=lambda one: (not one.equal, math.inf if one.error is None else one.error))


def _refused(text: str) -> Comparison:
    return Comparison(error=None, tolerance=0.0, text=text)


def _array(content: bytes) -> Array:
    from numpy.lib import format as npy

    try:
        loaded: Array = npy.read_array(io.BytesIO(content), allow_pickle=False)
    except (SyntaxError, TypeError, tokenize.TokenError, OverflowError, MemoryError) as error:
        raise ValueError(f"its header is damaged: {error}") from None
    return loaded


def _nans(array: Array) -> int:
    import numpy

    return int(numpy.count_nonzero(numpy.isnan(array))) if array.dtype.kind in "fc" else 0


def _compare_arrays(output: Array, reference: Array, tolerance: Mapping[str, float]) -> Comparison:
    import numpy

    if output.dtype != reference.dtype:
        return _refused(f"dtype {output.dtype}, expected {reference.dtype}")
    if output.shape != reference.shape:
        return _refused(f"shape {list(output.shape)}, expected {list(reference.shape)}")
    if output.size == 0:
        return Comparison(error=0.0, tolerance=0.0, text="equal (no element)")
    if output.dtype.kind not in "biufc":
        return _refused(f"dtype {output.dtype} cannot be compared")
    allowed = tolerance.get(output.dtype.name, 0.0)
    wide = numpy.complex128 if output.dtype.kind == "c" else numpy.float64
    got, wanted = output.astype(wide), reference.astype(wide)
    same = output == reference
    finite = numpy.isfinite(wanted)
    scale = float(numpy.abs(wanted[finite]).max(initial=0.0)) or 1.0
    with numpy.errstate(invalid="ignore", over="ignore"):
        difference = numpy.maximum(numpy.abs(got - wanted) / scale, SMALLEST)  # differ as int64, equal as float64
    difference = numpy.where(same, 0.0, numpy.where(numpy.isnan(difference), numpy.inf, difference))
    place = numpy.unravel_index(int(numpy.argmax(difference)), difference.shape)
    error = float(difference[place])
    at = f"[{', '.join(str(int(index)) for index in place)}]"
    nans = _nans(output)
    named = f"; {nans} NaN where the reference has none" if nans else ""
    text = f"worst at {at}: {output[place]!s}, expected {reference[place]!s}, scale {scale:.4g}{named}"
    return Comparison(error=error if math.isfinite(error) else None, tolerance=allowed, text=text)
