"""Times each layer of an IR or an .onnx with OpenVINO's own counters, on one thread: `profile_openvino.py MODEL FILE`.

The layers are those that the runtime made of the model; which of the model's own a layer comes from is in its runtime
model. A counter is the mean of all calls since the model was compiled, in whole microseconds. So a sample is of a model
compiled anew: what its first calls add is taken off, and a figure is right to two microseconds. Takes `input_N.npy` of
the job's own folder. Standard library, numpy and openvino only.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import openvino

sys.path.insert(0, "")  # the job's folder: this file is a link there, and Python looks beside what it leads to
from model_inputs import load_inputs
from timed_operations import Samples

COUNTED = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True}
WARM, CALLS, SAMPLES, SECONDS = 2, 2, 7, 1.0
LONGEST = 5.0
"""Seconds after which no further sample is begun, once there are so many: a large model takes long to compile."""
WANTED = ("execOrder", "originalLayersNames")


def main(model: str, left: str) -> None:
    core, samples, start = openvino.Core(), Samples(CALLS), time.perf_counter()
    counted: list[dict[str, float]] = []
    while not samples.enough(SECONDS) and (len(counted) < SAMPLES or time.perf_counter() < start + LONGEST):
        compiled = core.compile_model(model, "CPU", COUNTED)
        request = compiled.create_infer_request()
        for number, (_, array) in enumerate(load_inputs(len(compiled.inputs))):
            request.set_input_tensor(number, openvino.Tensor(array))
        for _ in range(WARM):
            request.infer(share_outputs=True)
        before = {name: seconds * WARM for name, (seconds, _) in counters(request).items()}
        samples.take(lambda request=request: request.infer(share_outputs=True))
        after = counters(request)
        every = WARM + CALLS
        counted.append({name: (seconds * every - before[name]) / CALLS for name, (seconds, _) in after.items()})
    known = layers(compiled)
    for name in sorted(after, key=lambda name: known.get(name, {}).get("index", 0)):
        samples.operations[name] = [max(0.0, each.get(name, 0.0)) for each in counted]
        samples.facts[name] = {**after[name][1], **known.get(name, {"of": [], "shape": []})}
    samples.write(left)


def counters(request: openvino.InferRequest) -> dict[str, tuple[float, dict[str, Any]]]:
    """The mean seconds of each layer that was carried out, and what it is."""
    return {
        each.node_name: (each.real_time.total_seconds(), {"kind": each.node_type, "how": each.exec_type})
        for each in request.get_profiling_info()
        if str(each.status).endswith("EXECUTED")
    }


def layers(compiled: openvino.CompiledModel) -> dict[str, dict[str, Any]]:
    """What the runtime says of its layers: their place in the order, the model's layers, the shape of the output."""
    found = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        said = {name: str(getattr(info[name], "value", info[name])) for name in info if name in WANTED}
        shape = node.output(0).partial_shape if node.get_output_size() else None
        fixed = shape is not None and shape.is_static
        found[node.get_friendly_name()] = {
            "index": int(said.get("execOrder", 0)),
            "of": [name for name in said.get("originalLayersNames", "").split(",") if name],
            "shape": [int(size) for size in shape.to_shape()] if fixed else [],
        }
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
