"""Runs an IR or an .onnx with OpenVINO on one thread, in the job's own folder: `run_openvino.py MODEL [--times FILE]`.

Takes `input_N.npy` in the order of the model's inputs and leaves `output_N.npy`. On some CPUs OpenVINO takes bfloat16
by itself, so float32 is asked for. With --times it measures instead: see `timed_calls.py`; a call is `infer()`, with
the inputs in place and the outputs not copied. Standard library, numpy and openvino only.
"""

from __future__ import annotations

import sys

import numpy
import openvino

sys.path.insert(0, "")  # the job's folder: this file is a link there, and Python looks beside what it leads to
from model_inputs import load_inputs
from timed_calls import write_times

ALONE = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}


def main(words: list[str]) -> None:
    compiled = openvino.Core().compile_model(words[0], "CPU", ALONE)
    request = compiled.create_infer_request()
    for number, (_, array) in enumerate(load_inputs(len(compiled.inputs))):
        request.set_input_tensor(number, openvino.Tensor(array))
    if "--times" in words:
        write_times(words[words.index("--times") + 1], lambda: request.infer(share_outputs=True))
        return
    request.infer()
    for number in range(len(compiled.outputs)):
        numpy.save(f"output_{number}.npy", request.get_output_tensor(number).data)


if __name__ == "__main__":
    main(sys.argv[1:])
