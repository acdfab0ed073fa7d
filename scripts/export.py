"""The export stage: a model file becomes MLIR, with inputs and the outputs that PyTorch itself computes for them.

Runs in a fork of a worker that has imported torch and iree.turbine.aot, in the job's own folder; writes there
`module.mlir`, `input_N.npy`, `expected_N.npy`, `export.json` and, if asked, `parameters.irpa`. The same model and
releases give the same bytes.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import numpy
import torch
from torch.utils import _pytree

FORMAT = 1


class ModelFault(Exception):
    """The model file, and not an exporter, is at fault; the text says where and what was expected."""


def run(arguments: dict[str, Any]) -> None:
    """Exports the model file `arguments["model_file"]`; `arguments["strict"]` ("true", "false") overrules turbine,
    `arguments["parameters"]` ("external") leaves the weights in `parameters.irpa`.

    The file defines `model() -> torch.nn.Module` and `inputs() -> tuple of tensors`; where it also defines
    `dynamic_shapes()`, its answer goes to torch.export as it is, and where `PARAMETERS`, the model must have that
    many. Raises ModelFault, with one line, where it does not keep to that or fails in plain torch; what torch and
    turbine raise while they export comes through.
    """
    torch.set_num_threads(1)  # a convolution's last digits differ with the number of threads, and that with free cores
    definition = load(arguments["model_file"])
    module = call(definition, "model")
    if not isinstance(module, torch.nn.Module):
        raise ModelFault(f"model() gave {kind(module)}, expected a torch.nn.Module")
    inputs = call(definition, "inputs")
    if not isinstance(inputs, tuple):
        raise ModelFault(f"inputs() gave {kind(inputs)}, expected a tuple of tensors")
    require_tensors(inputs, "inputs()")
    parameters = count_parameters(module, definition)
    module.eval().cpu()
    outputs = reference(module, inputs)
    options = {"strict_export": arguments["strict"] == "true"} if "strict" in arguments else {}
    aot = importlib.import_module(exporter())
    if hasattr(definition, "dynamic_shapes"):
        options["dynamic_shapes"] = call(definition, "dynamic_shapes")
    if arguments.get("parameters") == "external":
        aot.save_module_parameters("parameters.irpa", module)
        aot.externalize_module_parameters(module, external_scope="model")
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


@contextlib.contextmanager
def blamed(place: str) -> Iterator[None]:
    """What goes wrong in here is the model file's doing: it would go wrong without any exporter."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ModelFault(f"{place} raised {type(error).__name__}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


def exporter() -> str:
    """The module that exports: turbine 2.3 and 2.4 have it under its older name."""
    try:
        return "iree.turbine.aot" if importlib.util.find_spec("iree.turbine.aot") else "shark_turbine.aot"
    except ModuleNotFoundError:  # no iree.turbine at all: importing says so
        return "iree.turbine.aot"


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_model", path)
    if spec is None or spec.loader is None:
        raise ModelFault(f"{os.path.basename(path)} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and torch.export look classes up there
    with blamed(f"the import of {os.path.basename(path)}"):
        spec.loader.exec_module(module)
    return module


def call(definition: ModuleType, name: str) -> object:
    function = getattr(definition, name, None)
    if not callable(function):
        raise ModelFault(f"the file has no function {name}(), expected one")
    with blamed(f"{name}()"):
        return function()


def reference(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """What the model computes in plain torch. NaN would equal NaN, and prove nothing."""
    with torch.no_grad(), blamed("the model on its inputs()"):
        outputs, _ = _pytree.tree_flatten(module(*(tensor.clone() for tensor in inputs)))
    if not outputs:
        raise ModelFault("the model gave nothing, expected tensors")
    require_tensors(outputs, "the model")
    for number, tensor in enumerate(outputs):
        count = int(torch.isnan(tensor).sum())
        if count:
            raise ModelFault(
                f"the model gave {count} NaN of {tensor.numel()} at place {number}, expected numbers: look for NaN in "
                "its weights and inputs()"
            )
    return outputs


def require_tensors(values: Iterable[object], owner: str) -> None:
    """Only tensors, of dtypes that .npy files hold."""
    for number, value in enumerate(values):
        if not isinstance(value, torch.Tensor):
            raise ModelFault(f"{owner} gave {kind(value)} at place {number}, expected a tensor")
        try:
            torch.empty(0, dtype=value.dtype).numpy()
        except TypeError:
            raise ModelFault(
                f"{owner} gave a tensor of {value.dtype} at place {number}, expected a dtype that .npy files hold: "
                "convert it inside the model"
            ) from None


def kind(value: object) -> str:
    return f"an object of type {type(value).__name__}"


def count_parameters(module: torch.nn.Module, definition: ModuleType) -> int:
    """Counts what is trained, shared tensors once. A wrong count means that it is not the model that it says."""
    count = sum(parameter.numel() for parameter in module.parameters())
    expected = getattr(definition, "PARAMETERS", count)
    if count != expected:
        raise ModelFault(f"the model has {count:,} parameters, PARAMETERS says {expected:,}")
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


if __name__ == "__main__":  # by hand, as `python -m matrix why` prints it: export.py MODEL_FILE [NAME=VALUE]...
    run({"model_file": sys.argv[1], **dict(word.split("=", 1) for word in sys.argv[2:])})
