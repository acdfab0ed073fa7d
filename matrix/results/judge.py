"""Judges: from the outputs of jobs to the outcome of a cell. Pure: it gets the bytes of files, so a tolerance can
change without a rerun."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from matrix.artifacts.json_reader import JsonFault, read_json
from matrix.artifacts.npy import NpyFault, count_nans, read_npy
from matrix.core.records import JobEnd, Outcome
from matrix.plan.user_inputs import Tolerance

if TYPE_CHECKING:
    from matrix.artifacts.npy import Array

ENDS = {
    "exited": Outcome.FAILED,
    "signalled": Outcome.CRASHED,
    "timed_out": Outcome.TIMED_OUT,
    "out_of_memory": Outcome.OUT_OF_MEMORY,
    "over_limit": Outcome.FAILED,
    "killed": Outcome.INFRASTRUCTURE,
    "crowded_out": Outcome.INFRASTRUCTURE,
    "not_started": Outcome.INFRASTRUCTURE,
    "lost": Outcome.INFRASTRUCTURE,
}
"""The outcome for each end of a job, except exit code 0."""
OWN_SIGNALS = frozenset(
    {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP}
)
"""The signals that a program's own doing brings. All others come from outside: a shutdown, a batch system, a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt at a job that another one followed: how it ended (`JobEnd.status`), and what it needed."""

    status: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int | None = None
    log_bytes: int = 0

    @classmethod
    def of(cls, end: JobEnd) -> Attempt:
        return cls(
            status=end.status,
            seconds=end.seconds,
            cpu_seconds=end.cpu_seconds,
            peak_bytes=end.peak_bytes or None,
            log_bytes=end.log_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Outputs compared with the reference, element by element.

    `error` is the largest |output - reference| / max |reference| over all outputs, `absolute` the largest |output -
    reference|, `relative` the largest |output - reference| / |reference| (each None if it is not finite), `wrong` the
    share of elements that differ by more than is `allowed`. `tolerance` is the rtol of the dtype, `text` names the
    worst element, or what does not match. Results of before have no `wrong`: their `tolerance` limits the `error`.
    """

    error: float | None = None
    tolerance: float
    text: str
    absolute: float | None = None
    relative: float | None = None
    wrong: float | None = None
    allowed: str = ""

    @property
    def equal(self) -> bool:
        if self.wrong is not None:
            return self.wrong == 0
        return self.error is not None and self.error <= self.tolerance

    @property
    def words(self) -> str:
        """`output 0: worst at [1]: …, scale 1; largest error 0.1 absolute, 0.05 relative; 25 % of the elements wrong;
        allowed rtol 0.0001, atol 2e-05 of the scale`."""
        if self.wrong is None:
            return f"{self.text}; error {_said(self.error)} of the reference's scale, tolerance {self.tolerance:.3g}"
        errors = f"largest error {_said(self.absolute)} absolute, {_said(self.relative)} relative"
        share = f"{100 * self.wrong:.3g} % of the elements wrong"
        return "; ".join([self.text, errors, share, *([f"allowed {self.allowed}"] if self.allowed else [])])


def _said(error: float | None) -> str:
    return "not finite" if error is None else f"{error:.3g}"


EQUAL = Comparison(error=0.0, tolerance=0.0, text="equal, byte for byte", absolute=0.0, relative=0.0, wrong=0.0)
SMALLEST = 5e-324
"""The error of values that differ but are equal as float64: two integers above 2^53."""
LONGEST_SAID = 300
"""How many characters of a front end's words are kept."""
FAR_LARGER, HEADER_BYTES = 16, 1 << 20
CHANNEL = 16
"""How many elements a slice of an array must have at least to have a scale of its own."""
EXACT = Tolerance()
"""Of integers and booleans."""
COMPLEX_PARTS = {"complex64": "float32", "complex128": "float64"}
"""The dtype of the parts of a complex number."""


def outcome_of(end: JobEnd, *, has_outputs: bool, recognised: Outcome | None) -> Outcome:
    """How a job ended. `recognised` is the outcome of the log's signature if the fault is ours."""
    if end.end == "exited" and end.exit_code == 0:
        return Outcome.PASSED if has_outputs else Outcome.FAILED
    if end.end == "signalled" and end.signal not in OWN_SIGNALS:
        return Outcome.INFRASTRUCTURE
    if recognised is not None and end.end in ("exited", "signalled"):
        return recognised
    return ENDS[end.end]


def compare_outputs(
    outputs: Sequence[bytes],
    expected: Sequence[bytes],
    tolerance: Mapping[str, Tolerance],
    dtypes: Sequence[str] = (),
) -> Comparison:
    """Compares .npy files, in order: number, dtype and shape must be equal, each element within the dtype's tolerance.
    `dtypes` are those in which the model computed them, where a file holds a wider one: no .npy file holds bfloat16.
    A reference with NaN equals nothing, not even itself; an infinity equals the same infinity. The text describes the
    worst of several outputs, the errors are the largest of all."""
    if len(outputs) != len(expected):
        return _refused(f"{len(outputs)} outputs, expected {len(expected)}")
    if not expected:
        return _refused("the reference holds no output: nothing is compared")
    compared = []
    for index, (output, reference) in enumerate(zip(outputs, expected, strict=True)):
        try:
            wanted = read_npy(reference)
            nans = count_nans(wanted)
            if nans:
                one = _refused(f"the reference itself holds {nans} NaN of {wanted.size}, which nothing can be equal to")
            elif output == reference:
                one = EQUAL
            else:
                name = dtypes[index] if index < len(dtypes) else wanted.dtype.name
                one = _compare_arrays(read_npy(output), wanted, tolerance, name)
        except NpyFault as error:
            one = _refused(f"not an .npy file: {error}")
        compared.append(replace(one, text=f"output {index}: {one.text}"))
    worst = max(compared, key=lambda one: (not one.equal, _or_infinite(one.error)))
    return replace(
        worst,
        absolute=_finite(max(_or_infinite(one.absolute) for one in compared)),
        relative=_finite(max(_or_infinite(one.relative) for one in compared)),
    )


def far_larger(outputs: Sequence[int], expected: Sequence[int]) -> Comparison | None:
    """The verdict on outputs that need not be read: by their sizes in bytes they cannot equal the reference, and they
    may hold gigabytes. Other dtypes are not that much larger."""
    for index, (size, wanted) in enumerate(zip(outputs, expected, strict=False)):
        if size > FAR_LARGER * wanted + HEADER_BYTES:
            return _refused(f"output {index}: {size:,} bytes, expected {wanted:,}")
    return None


def _or_infinite(error: float | None) -> float:
    return math.inf if error is None else error


def _finite(error: float) -> float | None:
    return error if math.isfinite(error) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """How far each output of the reference moves when the inputs change: `moved`, as a part of its scale (1: at least
    all of it). `degenerate` names those that move by no more than the tolerance: other inputs give them too, so that
    they are equal proves next to nothing. `unknown` is why it was not found out."""

    moved: tuple[float, ...] = ()
    degenerate: str = ""
    unknown: str = ""

    @property
    def words(self) -> str:
        if self.unknown:
            return f"not known whether they depend on the inputs: {self.unknown}"
        return self.degenerate or f"they move with the inputs, by {min(self.moved, default=0.0):.2g} of their scale"


def read_movement(record: bytes, tolerance: Mapping[str, Tolerance]) -> Movement:
    """From the record that a front end leaves beside the reference; it may be damaged."""
    try:
        read = read_json(record)
        if said := read.get("unmoved"):
            return Movement(unknown=str(said)[:LONGEST_SAID])
        rows = [(row["name"], row["dtype"], round(row["moved"], 9)) for row in read["outputs"]]
        limits = [tolerance.get(COMPLEX_PARTS.get(dtype, dtype), EXACT).rtol for _, dtype, _ in rows]
    except (JsonFault, TypeError, KeyError, AttributeError):
        return Movement(unknown="the front end does not say")
    if not rows or not all(0 <= moved <= 1 for *_, moved in rows):
        return Movement(unknown="the front end does not say")
    still = [f"{name} by {moved:.2g}" for (name, _, moved), limit in zip(rows, limits, strict=True) if moved <= limit]
    told = f"hardly depends on the inputs: {', '.join(still)} of its scale when they change" if still else ""
    return Movement(moved=tuple(float(moved) for *_, moved in rows), degenerate=told[:LONGEST_SAID])


def read_dtypes(record: bytes) -> tuple[str, ...]:
    """The dtypes of the outputs in that record, as the model computed them; none where it does not say."""
    try:
        return tuple(str(row["dtype"]) for row in read_json(record)["outputs"])
    except (JsonFault, TypeError, KeyError):
        return ()


def _refused(text: str) -> Comparison:
    return Comparison(error=None, tolerance=0.0, text=text, wrong=1.0)


def _compare_arrays(output: Array, reference: Array, tolerance: Mapping[str, Tolerance], name: str) -> Comparison:
    import numpy

    if output.dtype != reference.dtype:
        return _refused(f"dtype {output.dtype}, expected {reference.dtype}")
    if output.shape != reference.shape:
        return _refused(f"shape {list(output.shape)}, expected {list(reference.shape)}")
    if output.size == 0:
        return replace(EQUAL, text="equal (no element)")
    if output.dtype.kind not in "biufc":
        return _refused(f"dtype {output.dtype} cannot be compared")
    limit = tolerance.get(COMPLEX_PARTS.get(name, name), EXACT)
    wide = numpy.complex128 if output.dtype.kind == "c" else numpy.float64
    with numpy.errstate(invalid="ignore", over="ignore", divide="ignore"):
        magnitude = numpy.asarray(numpy.abs(reference.astype(wide)))
        difference = numpy.asarray(numpy.maximum(numpy.abs(output.astype(wide) - reference), SMALLEST))
        difference[numpy.isnan(difference)] = numpy.inf
        difference[output == reference] = 0.0
        magnitude[~numpy.isfinite(magnitude)] = 0.0  # nothing but itself is near an infinity
        scale = _scales(magnitude)
        allowed = limit.rtol * magnitude + limit.atol * (1.0 if limit.absolute else scale)
        wrong = difference > allowed
        relative = numpy.where(difference == 0.0, 0.0, difference / magnitude)
        rank = numpy.where(wrong | ~wrong.any(), difference / scale, -1.0)  # a wrong one, if there is one
    place = numpy.unravel_index(int(numpy.argmax(rank)), rank.shape)
    at = f"[{', '.join(str(int(index)) for index in place)}]"
    nans = count_nans(output)
    named = f"; {nans} NaN where the reference has none" if nans else ""
    return Comparison(
        error=_finite(float(difference.max() / (magnitude.max() or 1.0))),
        tolerance=limit.rtol,
        text=f"worst at {at}: {output[place]!s}, expected {reference[place]!s}, scale {scale[place]:.4g}{named}",
        absolute=_finite(float(difference.max())),
        relative=_finite(float(relative.max())),
        wrong=float(numpy.count_nonzero(wrong)) / wrong.size,
        allowed=limit.words,
    )


def _scales(magnitude: Array) -> Array:
    """The scale of each element: the largest magnitude of its channel. A channel is any slice through the element that
    has enough elements, and of several the smallest counts, whichever axis an array has its channels on. A channel of
    zeros has the scale of the whole array; 1 if that is 0."""
    import numpy

    whole = float(magnitude.max()) or 1.0
    scale = numpy.full(magnitude.shape, whole)
    for axis, count in enumerate(magnitude.shape):
        if count > 1 and magnitude.size // count >= CHANNEL:
            others = tuple(other for other in range(magnitude.ndim) if other != axis)
            largest = magnitude.max(axis=others, keepdims=True)
            scale = numpy.minimum(scale, numpy.where(largest > 0, largest, whole))
    return scale
