"""Judging: how a job ended, and whether outputs equal the reference."""

from __future__ import annotations

import io
import math
import random

import numpy
import pytest

from matrix.core.records import JobEnd, Outcome
from matrix.results.judge import Comparison, compare_outputs, outcome_of

TOLERANCE = {"float64": 1e-6, "float32": 1e-4, "float16": 1e-2}


def npy(values: object, dtype: str | None = None) -> bytes:
    stream = io.BytesIO()
    numpy.save(stream, numpy.asarray(values, dtype=dtype), allow_pickle=False)
    return stream.getvalue()


def against(got: object, wanted: object, dtype: str | None = "float32") -> Comparison:
    return compare_outputs([npy(got, dtype)], [npy(wanted, dtype)], TOLERANCE)


@pytest.mark.parametrize(
    ("end", "outputs", "recognised", "outcome"),
    [
        (JobEnd(key="k", end="exited"), True, None, Outcome.PASSED),
        (JobEnd(key="k", end="exited"), False, None, Outcome.FAILED),
        (JobEnd(key="k", end="exited"), True, Outcome.INFRASTRUCTURE, Outcome.PASSED),
        (JobEnd(key="k", end="exited", exit_code=1), True, None, Outcome.FAILED),
        (JobEnd(key="k", end="exited", exit_code=1), False, Outcome.INFRASTRUCTURE, Outcome.INFRASTRUCTURE),
        (JobEnd(key="k", end="signalled", signal=11), False, None, Outcome.CRASHED),
        (JobEnd(key="k", end="signalled", signal=6), False, Outcome.INFRASTRUCTURE, Outcome.INFRASTRUCTURE),
        (JobEnd(key="k", end="timed_out"), True, Outcome.INFRASTRUCTURE, Outcome.TIMED_OUT),
        (JobEnd(key="k", end="out_of_memory"), False, None, Outcome.OUT_OF_MEMORY),
        (JobEnd(key="k", end="killed"), False, None, Outcome.INFRASTRUCTURE),
        (JobEnd(key="k", end="not_started"), False, None, Outcome.INFRASTRUCTURE),
        (JobEnd(key="k", end="lost"), False, None, Outcome.INFRASTRUCTURE),
    ],
)
def test_how_a_job_ended(end, outputs, recognised, outcome):
    assert outcome_of(end, has_outputs=outputs, recognised=recognised) is outcome


def test_equal_bytes_are_equal_where_they_are_an_array_of_numbers():
    assert compare_outputs([npy([1.0, 2.0])], [npy([1.0, 2.0])], {}).text == "output 0: equal, byte for byte"
    assert "not an .npy file" in compare_outputs([b"x"], [b"x"], {}).text
    assert "no output" in compare_outputs([], [], {}).text
    for found in (compare_outputs([b"x"], [b"x"], {}), compare_outputs([], [], {})):
        assert not found.equal


@pytest.mark.parametrize("got", [math.nan, 1.0])
def test_a_reference_with_nan_is_named_and_equals_nothing(got):
    found = against([2.0, got], [2.0, math.nan])
    assert not found.equal
    assert "output 0: the reference itself holds 1 NaN of 2" in found.text


def test_of_several_outputs_the_worst_is_told():
    good, bad, worse = npy([1.0, 2.0], "float32"), npy([1.0, 2.5], "float32"), npy([1.0, 9.0], "float32")
    found = compare_outputs([good, bad, worse, bad], [good] * 4, TOLERANCE)
    assert found.text.startswith("output 2: worst at [1]: 9.0, expected 2.0")
    assert found.error == pytest.approx(3.5)
    assert compare_outputs([good, good], [good, good], TOLERANCE).equal
    assert "output 1: shape" in compare_outputs([worse, npy([[1.0]], "float32")], [good] * 2, TOLERANCE).text


def test_the_tolerance_is_relative_to_the_scale_of_the_reference():
    assert against([1000.0, 0.09], [1000.0, 0.0]).equal
    assert not against([1000.0, 0.11], [1000.0, 0.0]).equal
    assert not against([1.0, 0.09], [1.0, 0.0]).equal
    found = against([1000.0, 0.5], [1000.0, 0.0])
    assert found.error == pytest.approx(5e-4)
    assert found.tolerance == 1e-4


def test_a_reference_of_zeros_has_scale_1():
    assert against([5e-5], [0.0]).equal
    assert not against([5e-4], [0.0]).equal


def test_each_dtype_has_its_own_tolerance():
    near = [1.0, 2.002]
    assert against(near, [1.0, 2.0], "float16").equal
    assert not against(near, [1.0, 2.0], "float32").equal
    assert not against([1.0, 2.00001], [1.0, 2.0], "float64").equal
    assert not compare_outputs([npy([1.0000001, 2.0], "float64")], [npy([1.0, 2.0], "float64")], {}).equal


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64", "bool"])
def test_integers_and_booleans_must_be_equal(dtype):
    assert not against([0, 1], [0, 0], dtype).equal
    assert against([0, 1], [0, 0], dtype).text.startswith("output 0: worst at [1]: ")


def test_integers_that_are_equal_as_float64_are_told_apart():
    found = against([1, 2**60 + 1], [1, 2**60], "int64")
    assert not found.equal
    assert f"worst at [1]: {2**60 + 1}, expected {2**60}" in found.text


@pytest.mark.parametrize(
    ("got", "wanted", "equal"),
    [
        (math.nan, 1.0, False),
        (math.inf, math.inf, True),
        (-math.inf, math.inf, False),
        (math.inf, 3e38, False),
        (1.0, math.inf, False),
        (-0.0, 0.0, True),
    ],
)
def test_nan_and_infinity(got, wanted, equal):
    found = against([2.0, got], [2.0, wanted])
    assert found.equal is equal
    assert (found.error == 0) is equal


def test_new_nans_are_counted():
    assert "2 NaN where the reference has none" in against([math.nan, math.nan, 1], [1, 2, 1]).text


def test_the_largest_values_do_not_warn():
    largest = numpy.finfo("float64").max
    assert against([largest, -largest], [-largest, largest], "float64").error is None


def test_the_worst_element_is_shown():
    found = against([[1, 2], [3, 9]], [[1, 2], [3, 4]])
    assert found.text == "output 0: worst at [1, 1]: 9.0, expected 4.0, scale 4"
    assert found.error == pytest.approx(1.25)


def test_0_d_and_empty():
    assert not against(3.0, 2.0).equal
    assert "worst at []: 3.0, expected 2.0" in against(3.0, 2.0).text
    assert against(1.00001, 1.0).equal
    assert against([[]], [[]]).equal
    assert not against([], [[]]).equal


def test_what_does_not_fit_is_said():
    one, two = npy([1.0], "float32"), npy([1.0, 2.0], "float32")
    assert compare_outputs([one], [one, two], {}).text == "1 outputs, expected 2"
    assert compare_outputs([], [one], {}).text == "0 outputs, expected 1"
    assert compare_outputs([one, one], [one, two], {}).text == "output 1: shape [1], expected [2]"
    assert compare_outputs([npy([1.0], "float64")], [one], {}).text == "output 0: dtype float64, expected float32"
    assert compare_outputs([two], [one], {}).error is None


def test_complex():
    assert against([1 + 1j], [1 + 1j], "complex64").equal
    assert not against([1 + 2j], [1 + 1j], "complex64").equal


def test_a_dtype_without_numbers_is_refused():
    assert "cannot be compared" in against([b"ab"], [b"cd"], "V2").text
    assert "cannot be compared" in against(["ab"], ["cd"], None).text


def test_the_worst_of_several_outputs_is_reported():
    exact, near = npy([1.0], "float32"), npy([1.00002], "float32")
    found = compare_outputs([exact, near, exact], [exact, exact, npy([1.00001], "float32")], TOLERANCE)
    assert found.equal
    assert found.error == pytest.approx(2e-5, rel=0.01)


def test_corrupt_files_are_refused_and_never_raise():
    good = npy([[1.0, 2.0], [3.0, 4.0]], "float32")
    luck = random.Random(0)
    damaged = [b"", b"x", good[:5], good[:40], good[:-1], b"PK\x03\x04" + good, good.replace(b"2, 2", b"9, 9")]
    damaged += [good.replace(b"<f4", b"|O8"), good.replace(b"{", b"["), good.replace(b"2, 2", b"-,()")]
    for _ in range(300):
        content = bytearray(good)
        for _ in range(luck.randrange(1, 6)):
            content[luck.randrange(len(content))] = luck.randrange(256)
        damaged.append(bytes(content))
    for content in damaged:
        found = compare_outputs([content], [good], TOLERANCE)
        assert found.equal is (found.error is not None and found.error <= found.tolerance)
    for content in damaged[:10]:
        assert "not an .npy file" in compare_outputs([content], [good], TOLERANCE).text
