"""The export stage: a model file becomes MLIR, with inputs and the outputs that PyTorch itself computes for them.

Runs in a fork of a worker that has imported torch and iree.turbine.aot, in the job's own folder; writes there
`module.mlir`, `input_N.npy`, `expected_N.npy`, `export.json`, if asked `parameters.irpa`, and `float64.json` where
inputs or outputs are float64: compilers make them float32 unless they are told not to. The same model and
releases give the same bytes.

The model's code runs from a copy in the folder `model`, beside the files that it declares, and may read nothing else of
the user's: what it is made of is in the job's key. What it computes, it computes in forks: it is exported in the state
in which `model()` gave it, and the expected outputs are those of the first call in that state.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import importlib.util
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Callable, NamedTuple

import numpy
import torch
from model_interface import Call, InterfaceFault, as_array, changed, kind, require_held, save
from model_watch import WATCH, ModelFault
from torch.utils import _pytree

FORMAT = 2
OWN_CODE, EXPORTING = "in the model's own code: ", "exporting with "
ATTEMPT_SECONDS = 300  # for the model on other inputs, on which it may never end


def run(arguments: dict[str, Any]) -> None:
    """Exports the model file `arguments["model_file"]`; `arguments["strict"]` ("true", "false") overrules turbine,
    `arguments["parameters"]` ("external") leaves the weights in `parameters.irpa`, `arguments["files"]` has the files
    that it declares.

    The file defines `model() -> torch.nn.Module` and `inputs()`, the arguments as torch.export takes them; where it
    also defines `dynamic_shapes()`, its answer goes to torch.export as it is, and where `PARAMETERS`, the model must
    have that many. Raises ModelFault, with one line, where it does not keep to that or fails in plain torch; what torch
    and turbine raise while they export comes through.
    """
    place = os.getcwd()
    known = referenced(arguments)
    model, record, options = known.model, known.record, dict(known.shapes)
    if "strict" in arguments:
        options["strict_export"] = arguments["strict"] == "true"
    aot = importlib.import_module(exporter())
    if arguments.get("parameters") == "external":
        begin(f"{EXPORTING}{aot.__name__}")
        aot.save_module_parameters(os.path.join(place, "parameters.irpa"), model.model)
        aot.externalize_module_parameters(model.model, external_scope="model")
    begin(f"{EXPORTING}{aot.__name__}")
    exported = aot.export(known.module, *model.tensors, **options)
    exported.save_mlir(os.path.join(place, "module.mlir"))
    leave(place, "export.json", record)
    if "float64" in {entry["dtype"] for entry in (*record["inputs"], *record["outputs"])}:
        leave(place, "float64.json", {"interface": True})


class Referenced(NamedTuple):
    """A model whose inputs and expected outputs lie in the job's folder. `module` is what a tool gets, with the
    tensors of `model`; `shapes` has `dynamic_shapes` for torch.export where the file defines them."""

    model: Call
    module: torch.nn.Module
    record: dict[str, Any]
    shapes: dict[str, Any]


def referenced(arguments: dict[str, Any]) -> Referenced:
    """The model of `arguments["model_file"]`, with `input_N.npy` and `expected_N.npy` of what plain torch computes;
    whatever exports or converts it is compared with these. Raises ModelFault."""
    torch.set_num_threads(1)  # a convolution's last digits differ with the number of threads, and that with free cores
    place = os.getcwd()
    path = settle(arguments["model_file"], json.loads(arguments.get("files", "{}")))
    faulthandler.enable()
    sys.addaudithook(WATCH)
    definition = load(path)
    module = call(definition, "model")
    if not isinstance(module, torch.nn.Module):
        raise ModelFault(f"model() gave {kind(module)}, expected a torch.nn.Module")
    inputs = call(definition, "inputs")
    parameters = count_parameters(module, definition)
    module.eval().cpu()
    with at_the_edge():
        model = Call(module, inputs)
    record: dict[str, Any] = {
        "format": FORMAT,
        "function": "main",
        "inputs": save(place, "input", model.tensors, model.dtypes),
        "outputs": apart(lambda: saved_reference(model, place)),
        "parameters": parameters,
        "state": "as model() gives it",
    }
    record.update(movements(model, place, record["outputs"]))
    plain = model.plain and "bfloat16" not in {entry["dtype"] for entry in (*record["inputs"], *record["outputs"])}
    shapes = {}
    if hasattr(definition, "dynamic_shapes"):
        given = call(definition, "dynamic_shapes")
        with at_the_edge():
            shapes["dynamic_shapes"] = given if plain else model.shapes(given)
    return Referenced(model, module if plain else model, record, shapes)


def leave(place: str, name: str, content: dict[str, Any]) -> None:
    with open(os.path.join(place, name), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, sort_keys=True)
        file.write("\n")


@contextlib.contextmanager
def at_the_edge() -> Iterator[None]:
    """What inputs() and dynamic_shapes() give is the model file's doing."""
    try:
        yield
    except InterfaceFault as fault:
        raise ModelFault(str(fault)) from None


def settle(path: str, files: dict[str, str]) -> str:
    """Copies the model file, and `file_0`, `file_1`, ... under the names that it declares, to the folder `model`, and
    goes there. Returns the path of the copy. Copies and no links: a model may look for the folder of its `__file__`."""
    folder = os.path.join(os.getcwd(), "model")
    copies = {os.path.basename(path): path, **{name: f"file_{number}" for number, name in enumerate(files)}}
    for name, source in copies.items():
        target = os.path.join(folder, *name.split("/"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)
    WATCH.allow(os.getcwd())
    os.chdir(folder)
    if files:
        sys.path.insert(0, folder)  # as Python does for a script
    return os.path.join(folder, os.path.basename(path))


@contextlib.contextmanager
def blamed(place: str) -> Iterator[None]:
    """What goes wrong in here is the model file's doing: it would go wrong without any exporter. A crash, and an end
    from outside, leave no other trace of it than the last line that begins so."""
    begin(f"{OWN_CODE}{place}")
    WATCH.on = True
    try:
        yield
    except ModelFault:
        raise
    except (Exception, SystemExit) as error:
        said = str(error).strip().splitlines() or ["no message"]
        missing = isinstance(error, (FileNotFoundError, ModuleNotFoundError))
        hint = "; of the files beside it a model sees those that its FILES name" if missing else ""
        raise ModelFault(f"{place} raised {type(error).__name__}: {said[0]}{hint}") from error
    finally:
        WATCH.on = False


def begin(what: str) -> None:
    """Says in the log what is under way: the last such line is what a crash interrupted."""
    print(f"\n{what}", file=sys.stderr, flush=True)  # what the model printed may lack its line end


def apart(function: Callable[[], list[Any]], seconds: int = 0) -> list[Any]:
    """What the function gives, in a fork: what a model changes while it computes (a buffer, an attribute, a global)
    is changed there and not here. A fork that a signal ends, or the model itself, ends this process likewise; with
    `seconds` it is a mere attempt, without a word and with that much time, whose bad end is a ModelFault."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        answer_in_fork(function, writing, seconds)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if not said and not seconds:
        if os.WIFSIGNALED(status):
            os.kill(os.getpid(), os.WTERMSIG(status))
        os._exit(os.WEXITSTATUS(status))
    answer = json.loads(said) if said else {"fault": f"the model ended with status {status} on other inputs"}
    if "fault" in answer:
        raise ModelFault(answer["fault"])
    return answer["given"]


def answer_in_fork(function: Callable[[], list[Any]], writing: int, seconds: int) -> None:
    """Writes what the function gives, or the ModelFault that it raises, and ends this process."""
    try:
        torch.set_num_threads(1)  # a model may have set it, and no thread of that pool is left
        if seconds:
            signal.alarm(seconds)
            for output in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), output)
        try:
            said = {"given": function()}
        except ModelFault as fault:
            traceback.print_exc()
            said = {"fault": str(fault)}
        with open(writing, "w", encoding="utf-8") as pipe:
            json.dump(said, pipe)
    except BaseException:  # noqa: BLE001 - it goes into the log of the job
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(1)


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


def saved_reference(model: Call, place: str) -> list[dict[str, Any]]:
    outputs = reference(model)
    return save(place, "expected", outputs, [tensor.dtype for tensor in outputs])


def reference(model: Call) -> list[torch.Tensor]:
    """What the model computes in plain torch. NaN would equal NaN, and prove nothing."""
    outputs = computed(model, [tensor.clone() for tensor in model.tensors], "the model on its inputs()")
    for number, tensor in enumerate(outputs):
        count = int(torch.isnan(tensor).sum())
        if count:
            raise ModelFault(
                f"the model gave {count} NaN of {tensor.numel()} at place {number}, expected numbers: look for NaN in "
                "its weights and inputs()"
            )
    return outputs


def computed(model: Call, inputs: list[torch.Tensor], place: str) -> list[torch.Tensor]:
    with torch.no_grad(), blamed(place):
        outputs, _ = _pytree.tree_flatten(model.given(inputs))
    if not outputs:
        raise ModelFault("the model gave nothing, expected tensors")
    with at_the_edge():
        require_held(outputs, "the model")
    return outputs


def movements(model: Call, place: str, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """The outputs with `moved`: how far each is from that on other inputs, as a part of its scale, at most 1. Or
    `unmoved`: why that is not known, such as a model that fails on the other inputs.

    All numbers are changed; if that fails, fractions alone: an index or a mask may not be any number. Booleans are
    changed where there is nothing else."""
    expected = [numpy.load(os.path.join(place, entry["name"])) for entry in outputs]
    numeric = [tensor.dtype != torch.bool for tensor in model.tensors]
    fractions = [tensor.is_floating_point() for tensor in model.tensors]
    reason = ""
    for chosen in (numeric, fractions) if any(numeric) else ([True] * len(numeric),):
        try:
            moved = apart(lambda: moved_by(model, chosen, expected), ATTEMPT_SECONDS)  # noqa: B023
        except ModelFault as fault:
            reason = reason or str(fault)
        else:
            return {"outputs": [{**entry, "moved": moved[number]} for number, entry in enumerate(outputs)]}
    return {"unmoved": reason}


def moved_by(model: Call, chosen: list[bool], expected: list[numpy.ndarray]) -> list[float]:
    draw, place = torch.Generator().manual_seed(2), "the model on other inputs"
    with blamed(place):
        others = [changed(tensor, draw) if chosen[number] else tensor for number, tensor in enumerate(model.tensors)]
        outputs = computed(model, others, place)
        return [distance(array, as_array(outputs[number])) for number, array in enumerate(expected)]


def distance(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """The largest |other - one| / max |one|, 0 to 1. Raises ModelFault where the other holds NaN."""
    if one.shape != other.shape:
        return 1.0
    wide = "complex128" if one.dtype.kind == "c" else "float64"
    with numpy.errstate(all="ignore"):
        first, second = numpy.asarray(one.astype(wide)), numpy.asarray(other.astype(wide))
        if numpy.isnan(second).any():
            raise ModelFault("the model gives NaN on other inputs")
        most = numpy.where(one == other, 0.0, numpy.abs(second - first)).max(initial=0.0)
        scale = numpy.abs(first[numpy.isfinite(first)]).max(initial=0.0)
    if not scale or not numpy.isfinite(most):
        return 1.0 if most else 0.0
    return float(f"{min(1.0, most / scale):.2g}")


def count_parameters(module: torch.nn.Module, definition: ModuleType) -> int:
    """Counts what is trained, shared tensors once. A wrong count means that it is not the model that it says."""
    count = sum(parameter.numel() for parameter in module.parameters())
    expected = getattr(definition, "PARAMETERS", count)
    if count != expected:
        raise ModelFault(f"the model has {count:,} parameters, PARAMETERS says {expected:,}")
    return count


if __name__ == "__main__":  # by hand, as `python -m matrix why` prints it: export.py MODEL_FILE [NAME=VALUE]...
    run({"model_file": sys.argv[1], **dict(word.split("=", 1) for word in sys.argv[2:])})
