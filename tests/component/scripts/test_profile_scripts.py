"""The scripts that time operations: samples, and what ONNX Runtime's profiler writes. No runtime is needed."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from matrix.artifacts.runtimes.operation_times import read_operation_times

SCRIPTS = Path(__file__).parents[3] / "scripts"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_tested", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def onnx_script(monkeypatch) -> ModuleType:
    """The script without ONNX Runtime, which this project does not install."""
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return loaded("profile_onnx")


def test_samples_are_read_as_they_are_written(tmp_path):
    samples = loaded("timed_operations").Samples(2)
    called: list[int] = []
    while not samples.enough(0.0):
        samples.take(lambda: called.append(1))
    assert len(called) == 30, "at least so many calls"
    samples.operations = {"one": [3e-6, 1e-6, 2e-6, 5e-6, 4e-6]}
    samples.facts = {"one": {"kind": "Add", "shape": [2, 3], "of": ["add"]}}
    samples.write(tmp_path / "operations.json")
    found = read_operation_times((tmp_path / "operations.json").read_bytes(), "operations.json")
    (operation,) = found.operations
    took = operation.took
    assert (took.least, took.low, took.seconds, took.high) == (1e-6, 2e-6, 3e-6, 4e-6)
    assert (found.samples, found.calls_in_each, operation.shape, operation.origins) == (15, 2, (2, 3), ("add",))


def event(name: str, index: str, microseconds: int, kind: str = "Conv", cat: str = "Node") -> dict[str, object]:
    args = {"op_name": kind, "node_index": index, "output_type_shape": [{"float": [1, 8]}, {"int64": [3]}]}
    return {"cat": cat, "name": name, "dur": microseconds, "args": args}


def test_nodes_of_the_last_calls_in_their_order(onnx_script):
    call = [event("b_kernel_time", "0", 7), event("a_kernel_time", "1", 9, "Add"), event("b_kernel_time", "2", 1)]
    first = [{**each, "dur": 1000} for each in call]
    others = [event("model_run", "9", 20, cat="Session"), event("b_fence_before", "0", 3)]
    rows, facts = onnx_script.nodes(json.loads(json.dumps([*first, *others, *call, *call])), 2)
    assert rows == {
        "b": [7e-6, 7e-6],
        "a": [9e-6, 9e-6],
        "b#2": [1e-6, 1e-6],
    }, "two nodes with one name stay two, and the warm-up does not count"
    assert facts["a"]["kind"] == "Add" and facts["b"]["shape"] == [1, 8]
