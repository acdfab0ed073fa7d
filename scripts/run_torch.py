"""Runs a .pt2 with torch on one thread, in the job's own folder: `run_torch.py MODEL [--times FILE]`.

An exported program is run operation by operation, as a module is; a package of AOTInductor is loaded. Takes
`input_N.npy` in their order and leaves `output_N.npy`. With --times it measures instead: see `timed_calls.py`; a call
is one with tensors of torch. Standard library, numpy and torch only.
"""

from __future__ import annotations

import glob
import os
import sys
import zipfile
from typing import Callable

import numpy
import torch
from torch.utils import _pytree

sys.path.insert(0, "")  # the job's folder: this file is a link there, and Python looks beside what it leads to
from model_inputs import load_inputs
from timed_calls import write_times

UNPACKED = "unpacked"


def main(words: list[str]) -> None:
    torch.set_num_threads(1)
    call, tensors = opened(words[0]), given()
    with torch.no_grad():
        if "--times" in words:
            write_times(words[words.index("--times") + 1], lambda: call(*tensors))
            return
        outputs, _ = _pytree.tree_flatten(call(*tensors))
    for number, output in enumerate(outputs):
        numpy.save(f"output_{number}.npy", output.numpy())


def given() -> list[torch.Tensor]:
    return [torch.from_numpy(array) for _, array in load_inputs(len(glob.glob("input_*.npy")))]


def opened(path: str) -> Callable[..., object]:
    """What is called with tensors. torch's own loader of packages unpacks them in /tmp, whatever TMPDIR says, where a
    job may not write: this one does it in the job's folder."""
    with zipfile.ZipFile(path) as archive:
        compiled = [name for name in archive.namelist() if "aotinductor" in name]
        if not compiled:
            return torch.export.load(path).module()
        archive.extractall(UNPACKED, compiled)
    (library,) = (name for name in compiled if name.endswith(".so"))
    runner = torch._C._aoti.AOTIModelContainerRunnerCpu(os.path.abspath(os.path.join(UNPACKED, library)), 1)
    return lambda *tensors: runner.run([*tensors])


if __name__ == "__main__":
    main(sys.argv[1:])
