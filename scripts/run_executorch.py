"""Runs a .pte with ExecuTorch on one thread, in the job's own folder: `run_executorch.py MODEL [--times FILE]`.

Takes `input_N.npy` in their order and leaves `output_N.npy`. Releases whose pool of threads cannot be told its size get
one core. With --times it measures instead: see `timed_calls.py`; a call is that of the method `forward` with tensors of
torch, which the runtime's Python needs. Standard library, numpy, torch and executorch only.
"""

from __future__ import annotations

import glob
import os
import sys

import numpy
import torch
from executorch.extension.pybindings import portable_lib

sys.path.insert(0, "")  # the job's folder: this file is a link there, and Python looks beside what it leads to
from model_inputs import load_inputs
from timed_calls import write_times


def main(words: list[str]) -> None:
    torch.set_num_threads(1)
    module = opened(words[0])
    tensors = [torch.from_numpy(array) for _, array in load_inputs(len(glob.glob("input_*.npy")))]
    if "--times" in words:
        write_times(words[words.index("--times") + 1], lambda: module.run_method("forward", tensors))
        return
    for number, output in enumerate(module.run_method("forward", tensors)):
        numpy.save(f"output_{number}.npy", output.numpy())


def opened(path: str) -> portable_lib.ExecuTorchModule:
    if hasattr(portable_lib, "_unsafe_reset_threadpool"):
        portable_lib._unsafe_reset_threadpool(1)
    else:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return portable_lib._load_for_executorch(path)


if __name__ == "__main__":
    main(sys.argv[1:])
