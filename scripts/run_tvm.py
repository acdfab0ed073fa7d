"""Runs a library that TVM made, with TVM on one thread, in the job's own folder: `run_tvm.py MODEL [--times FILE]`.

Only TVM's runtime is loaded, not its compiler. Takes `input_N.npy` in the order of the model's inputs and leaves
`output_N.npy`. With --times it measures instead: see `timed_calls.py`; a call is one of the virtual machine's `main`,
with the inputs in place and the outputs not copied. Standard library, numpy and TVM only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

os.environ.update({"TVM_NUM_THREADS": "1", "TVM_USE_RUNTIME_LIB": "1"})

import numpy
import tvm
import tvm_ffi
from tvm.runtime.vm import VirtualMachine

sys.path.insert(0, "")  # the job's folder: this file is a link there, and Python looks beside what it leads to
from model_inputs import load_inputs
from timed_calls import write_times


def main(words: list[str]) -> None:
    machine, tensors = opened(words[0])
    call = machine["main"]
    if "--times" in words:
        write_times(words[words.index("--times") + 1], lambda: call(*tensors))
        return
    for number, output in enumerate(leaves(call(*tensors))):
        numpy.save(f"output_{number}.npy", output.numpy())


def opened(path: str) -> tuple[VirtualMachine, list[tvm.runtime.Tensor]]:
    """The virtual machine of a library, and its inputs. The path has to end with .so, and `tvm.runtime.load_module`
    puts what a link leads to in its place."""
    machine = VirtualMachine(tvm_ffi.load_module(os.path.abspath(path)), tvm.cpu())
    given = load_inputs(machine.module["get_function_arity"]("main"))
    return machine, [tvm.runtime.tensor(array) for _, array in given]


def leaves(output: object) -> Iterator[tvm.runtime.Tensor]:
    """The tensors of an output, which may be a tuple of tuples."""
    if isinstance(output, tvm.runtime.Tensor):
        yield output
        return
    for each in output:
        yield from leaves(each)


if __name__ == "__main__":
    main(sys.argv[1:])
