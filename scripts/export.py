"""The export stage: a model file becomes MLIR, with inputs and the outputs that PyTorch itself computes for them.

Runs in a fork of a worker that has imported torch and iree.turbine.aot, in the job's own folder; writes there
`module.mlir`, `input_N.npy`, `expected_N.npy` and `export.json`. The same model and releases give the same bytes.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import numpy
import torch
from iree.turbine import aot
from torch.utils import _pytree

FORMAT = 1


def run(arguments: dict[str, Any]) -> None:
    """Exports the model file `arguments["model_file"]`; `arguments["strict"]` ("true", "false") overrules turbine.

    The file defines `model() -> torch.nn.Module` and `inputs() -> tuple of tensors`; where it also defines
    `PARAMETERS`, the model must have that many. Raises ValueError or TypeError, with one line, where it does not
    keep to that; what torch or turbine raise comes through.
    """
    definition = load(arguments["model_file"])
    module = call(definition, "model")
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"{definition.__file__}: model() returned {type(module).__name__}, not a torch.nn.Module")
    inputs = call(definition, "inputs")
    if not isinstance(inputs, tuple):
        raise TypeError(f"{definition.__file__}: inputs() returned {type(inputs).__name__}, not a tuple of tensors")
    require_tensors(inputs, f"{definition.__file__}: inputs()")
    parameters = count_parameters(module, definition)
    module.eval().cpu()
    with torch.no_grad():
        outputs, _ = _pytree.tree_flatten(module(*(tensor.clone() for tensor in inputs)))
    require_tensors(outputs, f"{definition.__file__}: the model")
    options = {"strict_export": arguments["strict"] == "true"} if "strict" in arguments else {}
    aot.export(module, *inputs, **options).save_mlir("module.mlir")
    record = {
        "format": FORMAT,
        "function": "main",
        "inputs": save("input", inputs),
        "outputs": save("expected", outputs),
        "parameters": parameters,
    }
    with open("export.json", "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1, sort_keys=True)
        file.write("\n")


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_model", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and torch.export look classes up there
    spec.loader.exec_module(module)
    return module


def call(definition: ModuleType, name: str) -> object:
    function = getattr(definition, name, None)
    if not callable(function):
        raise ValueError(f"{definition.__file__} defines no function {name}()")
    return function()


def require_tensors(values: Iterable[object], owner: str) -> None:
    for number, value in enumerate(values):
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{owner} gave {type(value).__name__} at place {number}, expected only tensors")


def count_parameters(module: torch.nn.Module, definition: ModuleType) -> int:
    """Counts what is trained, shared tensors once. A wrong count means that it is not the model that it says."""
    count = sum(parameter.numel() for parameter in module.parameters())
    expected = getattr(definition, "PARAMETERS", count)
    if count != expected:
        raise ValueError(f"{definition.__file__}: the model has {count:,} parameters, PARAMETERS says {expected:,}")
    return count


def save(name: str, tensors: Iterable[torch.Tensor]) -> list[dict[str, Any]]:
    """Writes `name_0.npy`, `name_1.npy`, ... and says what is in them."""
    entries = []
    for number, tensor in enumerate(tensors):
        array = tensor.detach().contiguous().numpy()
        file = f"{name}_{number}.npy"
        numpy.save(file, array)
        entries.append({"name": file, "dtype": str(array.dtype), "shape": list(tensor.shape)})
    return entries


if __name__ == "__main__":  # by hand, as `python -m matrix why` prints it: export.py MODEL_FILE
    run({"model_file": sys.argv[1]})
