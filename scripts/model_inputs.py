"""The inputs that a model's own runtime gets, for the runtimes' scripts. Standard library and numpy only."""

from __future__ import annotations

import glob

import numpy


def load_inputs(count: int) -> list[tuple[str, numpy.ndarray]]:
    """(name, content) of `input_N.npy` in this folder, in order. Ends the process where they are not so many."""
    names = sorted(glob.glob("input_*.npy"), key=lambda name: int(name[len("input_") : -len(".npy")]))
    if len(names) != count:
        raise SystemExit(f"model_inputs: the model takes {count} inputs, and {len(names)} are given")
    return [(name, numpy.load(name)) for name in names]
