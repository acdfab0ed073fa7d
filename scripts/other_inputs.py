"""Other inputs of a model, and how far its outputs move on them: for importers, which know a model by its file alone.
`export.py` has the same for modules of torch. Standard library and numpy only."""

from __future__ import annotations

import numpy


def changed(array: numpy.ndarray) -> numpy.ndarray:
    """Other values of the range of these, as `export.py` makes them of an input."""
    if array.dtype.kind not in "iufc" or not array.size:
        return array
    if array.dtype.kind in "fc":
        draw = numpy.random.default_rng(2)
        part = draw.random(array.shape)
        if not array.any():
            return part.astype(array.dtype)
        return (draw.permutation(array.flatten()).reshape(array.shape) * (part / 2 + 0.5)).astype(array.dtype)
    low, high = array.min(), array.max()
    if low < high:
        return low + high - array
    return array // 2 if low else numpy.ones_like(array)


def distance(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """The largest |other - one| / max |one|, 0 to 1. Raises ValueError where the other holds NaN."""
    if one.shape != other.shape:
        return 1.0
    wide = "complex128" if one.dtype.kind == "c" else "float64"
    with numpy.errstate(all="ignore"):
        first, second = numpy.asarray(one.astype(wide)), numpy.asarray(other.astype(wide))
        if numpy.isnan(second).any():
            raise ValueError("the model gives NaN on other inputs")
        most = numpy.where(one == other, 0.0, numpy.abs(second - first)).max(initial=0.0)
        scale = numpy.abs(first[numpy.isfinite(first)]).max(initial=0.0)
    if not scale or not numpy.isfinite(most):
        return 1.0 if most else 0.0
    return float(f"{min(1.0, most / scale):.2g}")


def moved_rows(outputs: list[numpy.ndarray], others: list[numpy.ndarray]) -> list[dict[str, object]]:
    """What an importer's record says of each output: its name, type, shape, and how far it moved."""
    return [
        {
            "name": f"expected_{number}.npy",
            "dtype": str(output.dtype),
            "shape": list(output.shape),
            "moved": distance(output, numpy.asarray(others[number])),
        }
        for number, output in enumerate(outputs)
    ]
