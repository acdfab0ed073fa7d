"""What the smoke test runs: small MLIR modules with inputs made here, and outputs computed by numpy in double."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any, TypeAlias

import numpy
from numpy.typing import NDArray

from matrix.core.errors import ModelMissing

Array: TypeAlias = NDArray[Any]
WHOLE = 1 << 20
"""Bytes of MLIR from which on a model is a whole one."""
TOLERANCE = {"float32": 1e-4}
"""As in specs: |output - reference| / max |reference|."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeModel:
    """`inputs` and `expected` are .npy files, one for each argument and result; `function` is the entry point."""

    name: str
    mlir: Path
    inputs: tuple[Path, ...]
    expected: tuple[Path, ...]
    function: str = "main"
    whole: bool = False
    """A model that people use, as against an operation."""


def _matmul(inputs: Sequence[Array]) -> Array:
    product: Array = inputs[0] @ inputs[1]
    return product


def _exp(inputs: Sequence[Array]) -> Array:
    result: Array = numpy.exp(inputs[0])
    return result


def _conv(inputs: Sequence[Array]) -> Array:
    """3 x 3 convolution without padding, bias, then relu6."""
    image, weights, bias = inputs
    windows = numpy.lib.stride_tricks.sliding_window_view(image[0], (3, 3), axis=(1, 2))
    sums = numpy.einsum("cyxij,ocij->oyx", windows, weights) + bias[:, None, None]
    result: Array = numpy.clip(sums, 0.0, 6.0)[None]
    return result


def _maximum(inputs: Sequence[Array]) -> Array:
    result: Array = numpy.fmax(inputs[0], inputs[1])
    return result


def _division(inputs: Sequence[Array]) -> Array:
    """Towards zero, as C and MLIR's divsi divide."""
    result: Array = numpy.trunc(inputs[0] / inputs[1])
    return result


def _random(shape: tuple[int, ...], dtype: str, random: numpy.random.Generator) -> Array:
    if dtype == "float32":
        return random.standard_normal(shape, dtype=numpy.float32)
    sizes = random.integers(1, 1000, shape, dtype=numpy.int32)
    signed: Array = sizes * random.choice(numpy.array([-1, 1], dtype=numpy.int32), shape)
    return signed


SHAPES: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "matmul": ((16, 32), (32, 8)),
    "exp": ((64,),),
    "maximum": ((16,), (16,)),
    "division": ((16,), (16,)),
    "conv": ((1, 3, 18, 18), (8, 3, 3, 3), (8,)),
}
REFERENCES: Mapping[str, Callable[[Sequence[Array]], Array]] = {
    "matmul": _matmul,
    "exp": _exp,
    "maximum": _maximum,
    "division": _division,
    "conv": _conv,
}
DTYPES = {"division": "int32"}
"""float32 where it is not said."""


def exported_model(mlir: Path) -> SmokeModel:
    """A model as `python -m matrix export --arrays` leaves it: FILE.mlir, FILE.input_0.npy …, FILE.expected_0.npy.

    Raises ModelMissing.
    """
    inputs, expected = (_numbered(mlir, kind) for kind in ("input", "expected"))
    if not mlir.is_file() or not expected:
        missing = mlir if not mlir.is_file() else mlir.with_name(f"{mlir.stem}.expected_0.npy")
        raise ModelMissing(
            f"{missing} does not exist", tip=f"make it: python -m matrix export MODEL -o {mlir} --arrays"
        )
    return SmokeModel(name=mlir.stem, mlir=mlir, inputs=inputs, expected=expected, whole=mlir.stat().st_size > WHOLE)


def _numbered(mlir: Path, kind: str) -> tuple[Path, ...]:
    """FILE.KIND_0.npy …, in the order of their numbers."""
    found = mlir.parent.glob(f"{escape(mlir.stem)}.{kind}_*.npy")
    return tuple(sorted(found, key=lambda path: int(path.stem.rpartition("_")[2])))


def smoke_models(folder: Path, scratch: Path) -> tuple[SmokeModel, ...]:
    """The modules of `folder`, with seeded inputs and the outputs to compare with written into `scratch`."""
    models = []
    for name, shapes in SHAPES.items():
        random = numpy.random.default_rng(0)
        dtype = DTYPES.get(name, "float32")
        inputs = [_random(shape, dtype, random) for shape in shapes]
        expected = REFERENCES[name]([array.astype(numpy.float64) for array in inputs]).astype(dtype)
        paths = [scratch / f"{name}-{index}.npy" for index in range(len(inputs))]
        for path, array in zip(paths, inputs, strict=True):
            numpy.save(path, array)
        numpy.save(scratch / f"{name}-expected.npy", expected)
        models.append(
            SmokeModel(
                name=name,
                mlir=folder / f"{name}.mlir",
                inputs=tuple(paths),
                expected=(scratch / f"{name}-expected.npy",),
            )
        )
    return tuple(models)
