"""Reads `.npy` files. They may be hostile: a header is a Python literal, and a shape may name any size. Pure."""

from __future__ import annotations

import io
import math
import tokenize
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrix.artifacts.vmfb_archive import open_file
from matrix.core.errors import FileFault

if TYPE_CHECKING:
    import numpy.typing

    Array = numpy.typing.NDArray[Any]

DAMAGED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)
"""What numpy raises for headers that nobody wrote: a literal nested too deep, a shape of more bytes than there are."""


MAGIC = b"\x93NUMPY"
SHOWN = 16


class NpyFault(ValueError):
    """No `.npy` file, or one with objects of Python in it."""


def read_npy(content: bytes) -> Array:
    """The array in the bytes of a file. Raises NpyFault, and nothing else."""
    from numpy.lib import format as npy

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a header in Python 2's form, or with an escape that means nothing
            array: Array = npy.read_array(io.BytesIO(content), allow_pickle=False)
    except DAMAGED as error:
        raise NpyFault(f"its header is damaged: {type(error).__name__}: {error}"[:300]) from None
    return array


def count_nans(array: Array) -> int:
    import numpy

    return int(numpy.count_nonzero(numpy.isnan(array))) if array.dtype.kind in "fc" else 0


def check_npy(path: Path) -> None:
    """Whether a file begins as an array that can be compared, and is as long as it says; its values are not read.

    Raises FileFault.
    """
    from numpy.lib import format as npy

    with open_file(path) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        head = file.read(SHOWN)
        if head[:6] != MAGIC:
            raise _no_array(path, f"{head!r} as its first bytes")
        file.seek(0)
        try:
            read_header = npy.read_array_header_1_0 if npy.read_magic(file)[0] == 1 else npy.read_array_header_2_0
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                shape, _, dtype = read_header(file)
            needed = math.prod(shape) * dtype.itemsize
        except DAMAGED as error:
            raise _no_array(path, f"a header that is damaged, in {size} bytes: {type(error).__name__}") from None
        if dtype.hasobject:
            raise _no_array(path, f"the dtype {dtype}, objects of Python")
        if min(shape, default=0) < 0 or size - file.tell() < needed:
            raise _no_array(path, f"{size} bytes for the shape {list(shape)} of {dtype}")


def _no_array(path: Path, read: str) -> FileFault:
    return FileFault(f"{path}: read {read}, expected an .npy file", tip="write it again: numpy.save(path, array)")
