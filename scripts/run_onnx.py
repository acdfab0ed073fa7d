"""Runs an .onnx with ONNX Runtime on one thread, in the job's own folder: `run_onnx.py MODEL [--times FILE]`.

Takes `input_N.npy` in the order of the model's inputs and leaves `output_N.npy`. With --times it measures instead: see
`timed_calls.py`. Standard library, numpy and onnxruntime only.
"""

from __future__ import annotations

import sys

import numpy
import onnxruntime

sys.path.insert(0, "")  # the job's folder: this file is a link there, and Python looks beside what it leads to
from model_inputs import load_inputs
from timed_calls import write_times


def main(words: list[str]) -> None:
    session = opened(words[0])
    wanted = session.get_inputs()
    given = load_inputs(len(wanted))
    arrays = {entry.name: array for entry, (_, array) in zip(wanted, given)}  # noqa: B905 - Python 3.9
    if "--times" in words:
        write_times(words[words.index("--times") + 1], lambda: session.run(None, arrays))
        return
    for number, output in enumerate(session.run(None, arrays)):
        numpy.save(f"output_{number}.npy", output)


def opened(path: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main(sys.argv[1:])
