"""Runs a .tflite with LiteRT on one thread, in the job's own folder: `run_litert.py MODEL [--times FILE]`.

Takes `input_N.npy` in the order of the model's inputs and leaves `output_N.npy`. litert-torch narrows the integers of a
model from 64 to 32 bits: inputs follow, where no value is lost. With --times it measures instead: see
`timed_calls.py`; a call is `invoke()`, with the inputs in place. The runtime applies XNNPACK by itself. Standard
library, numpy and ai_edge_litert only.
"""

from __future__ import annotations

import sys

import numpy
from ai_edge_litert.interpreter import Interpreter

sys.path.insert(0, "")  # the job's folder: this file is a link there, and Python looks beside what it leads to
from model_inputs import load_inputs
from timed_calls import write_times


def main(words: list[str]) -> None:
    interpreter = Interpreter(model_path=words[0], num_threads=1)
    wanted = interpreter.get_input_details()
    given = load_inputs(len(wanted))
    arrays = [as_wanted(array, entry["dtype"], name) for entry, (name, array) in zip(wanted, given)]  # noqa: B905
    for entry, array in zip(wanted, arrays):  # noqa: B905 - Python 3.9
        if tuple(entry["shape"]) != array.shape:  # of a dimension that the model leaves open
            interpreter.resize_tensor_input(entry["index"], array.shape, strict=True)
    interpreter.allocate_tensors()
    for entry, array in zip(wanted, arrays):  # noqa: B905 - Python 3.9
        interpreter.set_tensor(entry["index"], array)
    if "--times" in words:
        write_times(words[words.index("--times") + 1], interpreter.invoke)
        return
    interpreter.invoke()
    for number, entry in enumerate(interpreter.get_output_details()):
        numpy.save(f"output_{number}.npy", interpreter.get_tensor(entry["index"]))


def as_wanted(array: numpy.ndarray, dtype: type, path: str) -> numpy.ndarray:
    """An input whose integers have the width that the model takes; all others as they are."""
    if not (numpy.issubdtype(dtype, numpy.integer) and numpy.issubdtype(array.dtype, numpy.integer)):
        return array
    narrow = array.astype(dtype)
    if not numpy.array_equal(narrow, array):
        raise SystemExit(f"run_litert: {path} has values that are no {numpy.dtype(dtype).name}, which the model takes")
    return narrow


if __name__ == "__main__":
    main(sys.argv[1:])
