"""The reader of `.npy` files: an array, or one fault; never another exception."""

from __future__ import annotations

import io
import random

import numpy
import pytest

from matrix.artifacts.npy import NpyFault, read_npy


def npy_file(header: str, data: bytes = b"") -> bytes:
    text = header.encode("latin1")
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def saved(array) -> bytes:
    stream = io.BytesIO()
    numpy.save(stream, array)
    return stream.getvalue()


def test_an_array_is_read():
    array = numpy.arange(6, dtype="float32").reshape(2, 3)
    assert (read_npy(saved(array)) == array).all()


@pytest.mark.parametrize(
    "header",
    [
        "[" * 3000,
        "-" * 4000 + "1",
        "{'descr': " + "(" * 500 + ")" * 500 + ", 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [('a',)], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1e3,)}",
        "1\x00",
        "",
    ],
    ids=range(11),
)
def test_a_header_that_nobody_wrote_is_a_fault(header):
    with pytest.raises(NpyFault) as caught:
        read_npy(npy_file(header + "\n", b"1234"))
    assert len(str(caught.value)) <= 300


def test_files_with_changed_bytes_are_arrays_or_faults():
    chosen = random.Random(14)
    good = saved(numpy.arange(24, dtype="int16").reshape(2, 3, 4))
    faults = 0
    for _ in range(500):
        content = bytearray(good)
        for _ in range(chosen.randint(1, 4)):
            content[chosen.randrange(len(content))] = chosen.choice(
                [0, 40, 41, 91, 93, 123, 255, chosen.randrange(256)]
            )
        try:
            read_npy(bytes(content[: chosen.choice([len(content), chosen.randrange(len(content))])]))
        except NpyFault:
            faults += 1
    assert faults > 100
