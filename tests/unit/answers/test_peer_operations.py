"""Times of operations that a runtime's profiler left: read, refused, and told."""

from __future__ import annotations

import json

import pytest

from matrix.answers.peers.operations import SystemTimes, system_lines, systems_document
from matrix.artifacts.runtimes.operation_times import OperationTimes, read_operation_times
from matrix.core.errors import FileFault


def took(microseconds: float, **more: object) -> dict[str, object]:
    seconds = microseconds / 1e6
    return {"seconds": seconds, "low": 0.9 * seconds, "high": 1.5 * seconds, "least": 0.8 * seconds, **more}


OPERATIONS = [
    took(30, name="relu_nchwc", kind="Conv", shape=[1, 8, 4, 4]),
    took(60, name="relu_1_nchwc", kind="Conv", shape=[1, 16, 2, 2], of=["conv", "relu"]),
    took(10, name="node_linear", kind="Gemm", shape=[]),
]
DOCUMENT = {
    "format": 1,
    "samples": 40,
    "calls_in_each": 2,
    "call": took(120, cpu=118e-6),
    "operations": OPERATIONS,
}
AXES = {"backend": "onnxruntime", "model": "conv", "onnxruntime": "1.32.0", "openvino": "-"}


def read(**changed: object) -> OperationTimes:
    return read_operation_times(json.dumps({**DOCUMENT, **changed}).encode(), "operations.json")


def test_what_takes_most_stands_first_with_its_share():
    lines = system_lines(SystemTimes(axes=AXES, times=read()))
    assert lines[0] == "conv with onnxruntime, onnxruntime 1.32.0", "an axis of another system says nothing"
    assert lines[1] == (
        "120 us a call while it is profiled (108 to 180, 40 samples of 2 calls), 100 us of it in 3 operations"
    )
    assert lines[2] == "by kind: 2 Conv 90.0 %, 1 Gemm 10.0 %"
    assert [line.split()[-1] for line in lines[-3:]] == ["relu_1_nchwc", "relu_nchwc", "node_linear"]
    assert "60.0 %" in lines[-3] and "1x16x2x2" in lines[-3]


def test_operations_beyond_the_table_are_summed():
    many = [took(10 + number, name=f"op_{number}", kind="Add") for number in range(12)]
    lines = system_lines(SystemTimes(axes=AXES, times=read(operations=many)))
    assert lines[-1] == "2 further operations: 21 us"


def test_a_call_that_waited_for_the_processor_is_told():
    quiet, busy = (SystemTimes(axes=AXES, times=read(call=took(120, cpu=cpu))) for cpu in (118e-6, 60e-6))
    assert not any("CPU time" in line for line in system_lines(quiet))
    assert any("a call has 60 us of CPU time: other programs had the processor" in line for line in system_lines(busy))


def test_the_data_have_all_of_it():
    (system,) = systems_document([SystemTimes(axes=AXES, times=read())])["systems"]
    assert [each["name"] for each in system["operations"]] == [each["name"] for each in OPERATIONS]
    assert system["in_operations"] == pytest.approx(100e-6)
    assert system["operations"][1]["of"] == ["conv", "relu"]
    assert system["call"]["cpu"] == 118e-6


@pytest.mark.parametrize(
    "changed",
    [
        {"format": 2},
        {"samples": -1},
        {"samples": True},
        {"call": took(120)},
        {"operations": [{**OPERATIONS[0], "low": 1.0}]},
        {"operations": [{**OPERATIONS[0], "name": None}]},
        {"operations": [{**OPERATIONS[0], "shape": [1.5]}]},
        {"operations": None},
    ],
)
def test_a_damaged_file_is_refused_with_its_place(changed):
    with pytest.raises(FileFault, match=r"operations\.json: read no times of operations \("):
        read(**changed)


def test_no_json_is_refused():
    with pytest.raises(FileFault, match="read no times of operations"):
        read_operation_times(b"[1, 2", "operations.json")
