"""The import stage of a .tflite: it becomes MLIR, TOSA as bytecode, with what a run needs to be compared.

Runs as a program in the job's own folder, in an environment that holds a release of tosa-converter-for-tflite and
LiteRT: `import_tflite.py model.tflite [--reference]`. Leaves `module.mlir` and `import.json`; with --reference also
`expected_N.npy`, what LiteRT itself computes for the inputs that lie there, and where none lie there `input_N.npy`,
seeded, of the shapes that the model names.

litert-torch asks the converter, by metadata of its files, to keep constants as StableHLO. IREE takes no such constants
among operations of TOSA, so the import leaves this metadata out.
"""

from __future__ import annotations

import json
import sys

import numpy
from ai_edge_litert.interpreter import Interpreter
from tosa_converter_for_tflite import tflite_flatbuffer_to_tosa_mlir

sys.path.insert(0, "")  # the job's folder: this file is a link there, and Python looks beside what it leads to
from other_inputs import changed, moved_rows

FORMAT = 2
MODEL, PLAIN, MADE = "model.tflite", "plain.tflite", "module.mlir"
KEEP = b"keep_stablehlo_constant"


def main(arguments: list[str]) -> None:
    record = {
        "format": FORMAT,
        "function": "main",
        **(refer() if "--reference" in arguments else given()),
    }
    with open(MODEL, "rb") as file:
        content = file.read()
    with open(PLAIN, "wb") as file:
        file.write(content.replace(KEEP, b"left" + KEEP[4:]))
    tflite_flatbuffer_to_tosa_mlir(PLAIN, MADE)
    with open("import.json", "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1, sort_keys=True)
        file.write("\n")


def given() -> dict[str, object]:
    return {"reference": "given", "unmoved": "the expected outputs were given"}


def refer() -> dict[str, object]:
    """Leaves the inputs and the expected outputs. `reference` says what the outputs are compared with: where there is
    none, the MLIR is good all the same. `outputs` say how far each moves on other inputs, or `unmoved` why not."""
    try:
        wanted = Interpreter(MODEL).get_input_details()
        arrays = [loaded(number) for number, _ in enumerate(wanted)]
        if all(array is None for array in arrays):
            arrays = [seeded(number, entry) for number, entry in enumerate(wanted)]
        missing = [entry["name"] for entry, array in zip(wanted, arrays) if array is None]  # noqa: B905 - Python 3.9
        if missing:
            raise ValueError("no input is given for " + ", ".join(missing))
        outputs = computed(arrays)
        if any(output.dtype.kind in "fc" and numpy.isnan(output).any() for output in outputs):
            raise ValueError("the model gives NaN, which nothing can be equal to")
    except Exception as error:  # noqa: BLE001 - LiteRT may refuse the model with any
        print(f"no reference: {type(error).__name__}: {error}", file=sys.stderr)
        return {"reference": f"none: {type(error).__name__}: {error}"}
    for number, output in enumerate(outputs):
        numpy.save(f"expected_{number}.npy", output)
    try:
        rows = moved_rows(outputs, computed([changed(array) for array in arrays]))
    except Exception as error:  # noqa: BLE001 - other inputs may not be ones that it takes
        return {"reference": "litert", "unmoved": f"{type(error).__name__}: {error}"}
    return {"reference": "litert", "outputs": rows}


def computed(arrays: list[numpy.ndarray]) -> list[numpy.ndarray]:
    """What LiteRT computes, with an interpreter of its own: a model may keep state."""
    interpreter = Interpreter(MODEL, num_threads=1)
    interpreter.allocate_tensors()
    for entry, array in zip(interpreter.get_input_details(), arrays):  # noqa: B905 - Python 3.9
        interpreter.set_tensor(entry["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(entry["index"]).copy() for entry in interpreter.get_output_details()]


def loaded(number: int) -> numpy.ndarray | None:
    try:
        return numpy.load(f"input_{number}.npy", allow_pickle=False)
    except FileNotFoundError:
        return None


def seeded(number: int, entry: dict[str, object]) -> numpy.ndarray:
    """Normal numbers; all values of a type of 8 bits, which quantised models take; zeros for other whole numbers: an
    index of anything is then a good one. Leaves them as a file."""
    if any(size < 0 for size in entry["shape_signature"]):
        raise ValueError(f"input {entry['name']} has a shape that the model leaves open, give it with --inputs")
    draw, dtype, sizes = numpy.random.default_rng(number), numpy.dtype(entry["dtype"]), tuple(entry["shape"])
    if dtype.kind == "f":
        array = draw.standard_normal(sizes).astype(dtype)
    elif dtype.kind in "iu" and dtype.itemsize == 1:
        array = draw.integers(numpy.iinfo(dtype).min, numpy.iinfo(dtype).max, sizes, dtype=dtype, endpoint=True)
    else:
        array = numpy.zeros(sizes, dtype)
    numpy.save(f"input_{number}.npy", array)
    return array


if __name__ == "__main__":
    main(sys.argv[1:])
