"""Judging: how a job ended, and whether outputs equal the reference."""

from __future__ import annotations

import io
import json
import math
import random

import numpy
import pytest

from matrix.core.records import JobEnd, Outcome
from matrix.plan.user_inputs import DEFAULT_TOLERANCE, Tolerance
from matrix.results.judge import Comparison, compare_outputs, far_larger, outcome_of, read_dtypes, read_movement

TOLERANCE = DEFAULT_TOLERANCE


def npy(values: object, dtype: str | None = None) -> bytes:
    stream = io.BytesIO()
    numpy.save(stream, numpy.asarray(values, dtype=dtype), allow_pickle=False)
    return stream.getvalue()


def against(got: object, wanted: object, dtype: str | None = "float32") -> Comparison:
    return compare_outputs([npy(got, dtype)], [npy(wanted, dtype)], TOLERANCE)


SENT = (1, 2, 3, 9, 10, 12, 13, 14, 15, 24, 25)
"""HUP, INT, QUIT, KILL, USR1, USR2, PIPE, ALRM, TERM, XCPU, XFSZ: a program does not end itself by these."""


def test_a_wider_file_has_the_tolerance_of_the_model_s_own_dtype():
    """No .npy file holds bfloat16: its values are in a file of float32."""
    got, wanted = npy([1.0, 2.02], "float32"), npy([1.0, 2.0], "float32")
    assert not compare_outputs([got], [wanted], DEFAULT_TOLERANCE).equal
    assert compare_outputs([got], [wanted], DEFAULT_TOLERANCE, ["bfloat16"]).equal
    assert not compare_outputs([got, got], [wanted, wanted], DEFAULT_TOLERANCE, ["bfloat16", "float32"]).equal


def test_a_front_end_s_record_says_the_dtypes():
    record = json.dumps({"outputs": [{"dtype": "bfloat16"}, {"dtype": "int64"}]}).encode()
    assert read_dtypes(record) == ("bfloat16", "int64")
    assert read_dtypes(b"{}") == read_dtypes(b"no") == ()


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
        *((JobEnd(key="k", end="signalled", signal=own), False, None, Outcome.CRASHED) for own in (4, 5, 6, 7, 8, 11)),
        *((JobEnd(key="k", end="signalled", signal=sent), False, None, Outcome.INFRASTRUCTURE) for sent in SENT),
        (JobEnd(key="k", end="signalled", signal=15), False, Outcome.OUT_OF_MEMORY, Outcome.INFRASTRUCTURE),
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


def test_an_output_of_gigabytes_is_told_by_its_size():
    """It need not be read to know that it does not equal four numbers; another dtype is said in words of its own."""
    assert far_larger([8 << 30], [144]) == Comparison(
        error=None, tolerance=0.0, text="output 0: 8,589,934,592 bytes, expected 144", wrong=1.0
    )
    assert far_larger([144, 1 << 20], [144, 144]) is None
    assert far_larger([8 << 20], [1 << 20]) is None
    assert far_larger([], [144]) is None


def test_of_several_outputs_the_worst_is_told():
    good, bad, worse = npy([1.0, 2.0], "float32"), npy([1.0, 2.5], "float32"), npy([1.0, 9.0], "float32")
    found = compare_outputs([good, bad, worse, bad], [good] * 4, TOLERANCE)
    assert found.text.startswith("output 2: worst at [1]: 9.0, expected 2.0")
    assert found.error == pytest.approx(3.5)
    assert compare_outputs([good, good], [good, good], TOLERANCE).equal
    assert "output 1: shape" in compare_outputs([worse, npy([[1.0]], "float32")], [good] * 2, TOLERANCE).text


def test_a_small_element_beside_a_large_one_must_be_right_too():
    """The largest output hid it: 0.03 is less than 1e-4 of 400."""
    found = against([400.0, 0.53], [400.0, 0.50])
    assert not found.equal
    assert found.text == "output 0: worst at [1]: 0.53, expected 0.5, scale 400"
    assert found.absolute == pytest.approx(0.03)
    assert found.relative == pytest.approx(0.06)
    assert (found.wrong, found.tolerance) == (0.5, 1e-4)
    assert found.words.endswith(
        "0.06 relative; 50 % of the elements wrong; allowed rtol 0.0001, atol 2e-05 of the scale"
    )
    assert not against([400.0] * 99 + [0.53], [400.0] * 99 + [0.50]).equal


def test_each_element_has_what_its_own_size_and_its_channel_allow():
    assert against([1000.0, 0.019], [1000.0, 0.0]).equal
    assert not against([1000.0, 0.021], [1000.0, 0.0]).equal
    assert against([1000.1, 0.0], [1000.0, 0.0]).equal
    assert not against([1000.2, 0.0], [1000.0, 0.0]).equal
    found = against([1000.0, 0.5], [1000.0, 0.0])
    assert found.error == pytest.approx(5e-4)
    assert found.relative is None  # of an element that should be 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_channel_has_its_own_scale_whichever_axis_it_lies_on(axis):
    """Pixels of 400 in one channel, probabilities of 0.5 in the other."""
    wanted = numpy.stack([numpy.full((4, 5), 400.0), numpy.linspace(0, 0.5, 20).reshape(4, 5)], axis)
    got = wanted + numpy.where(numpy.abs(wanted) < 1, 1e-3, 0)
    assert not against(got, wanted).equal
    assert against(got, wanted).wrong == 0.5
    assert "scale 0.5" in against(got, wanted).text
    assert against(wanted + numpy.where(numpy.abs(wanted) < 1, 9e-6, 7e-3), wanted).equal


def test_a_slice_of_few_elements_has_no_scale_of_its_own():
    """A logit near 0 is not wrong by what the others are rounded by."""
    wanted = numpy.linspace(-5, 5, 1001)[numpy.newaxis]
    assert abs(wanted[0, 500]) < 1e-9
    assert against(wanted + 5e-5, wanted).equal


def test_limits_of_ones_own_are_those_of_numpy():
    own = {"float32": Tolerance(rtol=0.0, atol=0.1, absolute=True)}
    for got, equal in ((400.05, True), (400.2, False)):
        assert compare_outputs([npy([got, 1], "float32")], [npy([400, 1], "float32")], own).equal is equal
    assert own["float32"].words == "rtol 0, atol 0.1"


def test_a_reference_of_zeros_has_scale_1():
    assert against([1e-5], [0.0]).equal
    assert not against([5e-5], [0.0]).equal


def test_each_dtype_has_its_own_tolerance():
    near = [1.0, 2.01]
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
    assert against([1 + 1.00001j], [1 + 1j], "complex64").equal
    assert not against([1 + 1.00001j], [1 + 1j], "complex128").equal
    assert not against([complex(math.nan, 1)], [1 + 1j], "complex64").equal
    same = npy([complex(1, math.nan)], "complex64")
    assert "itself holds 1 NaN of 1" in compare_outputs([same], [same], TOLERANCE).text
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
        assert found.equal is (found.wrong == 0)
    for content in damaged[:10]:
        assert "not an .npy file" in compare_outputs([content], [good], TOLERANCE).text


def test_results_of_before_are_judged_by_the_error_that_they_hold():
    old = Comparison(error=2e-6, tolerance=1e-4, text="output 0: worst at [0]")
    assert old.equal
    assert not Comparison(error=2e-3, tolerance=1e-4, text="output 0: worst at [0]").equal
    assert old.words == "output 0: worst at [0]; error 2e-06 of the reference's scale, tolerance 0.0001"


def record(*moved: object, **more: object) -> bytes:
    rows = [{"name": f"expected_{index}.npy", "dtype": "float32", "moved": each} for index, each in enumerate(moved)]
    return json.dumps({"outputs": rows, **more}).encode()


def test_outputs_that_do_not_move_with_the_inputs_are_named():
    assert read_movement(record(1.0, 0.02), TOLERANCE).moved == (1.0, 0.02)
    assert read_movement(record(1.0, 0.02), TOLERANCE).words == "they move with the inputs, by 0.02 of their scale"
    for still in (0.0, 2e-9, 1e-4):
        found = read_movement(record(1.0, still), TOLERANCE)
        assert found.degenerate.startswith("hardly depends on the inputs: expected_1.npy by ")
    assert not read_movement(record(2e-4), TOLERANCE).degenerate


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"1",
        b"[" * 9999,
        record(None),
        record("much"),
        record(math.nan),
        record(-1),
        record(math.inf),
    ],
)
def test_a_damaged_record_of_movements_says_nothing(content):
    found = read_movement(content, TOLERANCE)
    assert (found.moved, found.degenerate, found.unknown) == ((), "", "the front end does not say")


def test_a_reference_whose_movement_was_not_found_out_has_a_reason():
    found = read_movement(record(unmoved="the model raised ValueError"), TOLERANCE)
    assert found.words == "not known whether they depend on the inputs: the model raised ValueError"
