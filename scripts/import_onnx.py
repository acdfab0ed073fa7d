"""The import stage: an .onnx becomes MLIR through IREE's own importer, with what a run needs to be compared.

Runs as a program in the job's own folder, in an environment that holds a compiler release and `onnx`:
`import_onnx.py model.onnx [--opset-version N] [--reference]`. Leaves `module.mlir` and `import.json`; with --reference
also `expected_N.npy`, computed by onnx's reference evaluator for the inputs that lie there, and where none lie there
`input_N.npy`, seeded, of the shapes that the model names.
"""

from __future__ import annotations

import json
import os
import shutil
import sys

import numpy
import onnx
from iree.compiler.tools.import_onnx import __main__ as importer
from onnx.reference import ReferenceEvaluator

sys.path.insert(0, "")  # the job's folder: this file is a link there, and Python looks beside what it leads to
from other_inputs import changed, moved_rows

FORMAT = 2
MODEL = "model.onnx"


def main(arguments: list[str]) -> None:
    reference = "--reference" in arguments
    options = [word for word in arguments if word != "--reference"]
    settle_weights()
    importer.main(importer.parse_arguments([*options, "-o", "module.mlir"]))
    model = onnx.load(MODEL)
    record = {
        "format": FORMAT,
        "function": model.graph.name,
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        **(refer(model) if reference else {"reference": "given", "unmoved": "the expected outputs were given"}),
    }
    with open("import.json", "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1, sort_keys=True)
        file.write("\n")


def settle_weights() -> None:
    """Puts a copy in the place of a link to weights: onnx reads none through a link."""
    for tensor in onnx.load(MODEL, load_external_data=False).graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location" and os.path.islink(entry.value):
                content = os.path.realpath(entry.value)
                os.unlink(entry.value)
                shutil.copyfile(content, entry.value)


def refer(model: onnx.ModelProto) -> dict[str, object]:
    """Leaves the inputs and the expected outputs. `reference` says what the outputs are compared with: where there is
    none, the MLIR is good all the same. `outputs` say how far each moves on other inputs, or `unmoved` why not."""
    try:
        wanted = [entry for entry in model.graph.input if entry.name not in {w.name for w in model.graph.initializer}]
        given = {entry.name: loaded(number) for number, entry in enumerate(wanted)}
        if all(array is None for array in given.values()):
            given = seeded(wanted)
        missing = [name for name, array in given.items() if array is None]
        if missing:
            raise ValueError("no input is given for " + ", ".join(missing))
        outputs = [numpy.ascontiguousarray(output) for output in ReferenceEvaluator(model).run(None, given)]
        if any(output.dtype.kind in "fc" and numpy.isnan(output).any() for output in outputs):
            raise ValueError("the model gives NaN, which nothing can be equal to")
    except Exception as error:  # noqa: BLE001 - an operator without a reference may raise anything
        print(f"no reference: {type(error).__name__}: {error}", file=sys.stderr)
        return {"reference": f"none: {type(error).__name__}: {error}"}
    for number, output in enumerate(outputs):
        numpy.save(f"expected_{number}.npy", output)
    try:
        others = ReferenceEvaluator(model).run(None, {name: changed(array) for name, array in given.items()})
        rows = moved_rows(outputs, others)
    except Exception as error:  # noqa: BLE001 - other inputs may not be ones that it takes
        return {"reference": "onnx.reference", "unmoved": f"{type(error).__name__}: {error}"}
    return {"reference": "onnx.reference", "outputs": rows}


def loaded(number: int) -> numpy.ndarray | None:
    try:
        return numpy.load(f"input_{number}.npy", allow_pickle=False)
    except FileNotFoundError:
        return None


def seeded(entries: list[onnx.ValueInfoProto]) -> dict[str, numpy.ndarray]:
    """Normal numbers, zeros for whole numbers: an index of anything is then a good one. Leaves them as files."""
    draw = numpy.random.default_rng(0)
    arrays = {}
    for number, entry in enumerate(entries):
        tensor = entry.type.tensor_type
        sizes = [size.dim_value for size in tensor.shape.dim]
        if not all(sizes):
            raise ValueError(f"input {entry.name} has a shape that the model leaves open, give it with --inputs")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        drawn = draw.standard_normal(sizes) if dtype.kind == "f" else numpy.zeros(sizes)
        arrays[entry.name] = drawn.astype(dtype)
        numpy.save(f"input_{number}.npy", arrays[entry.name])
    return arrays


if __name__ == "__main__":
    main(sys.argv[1:])
