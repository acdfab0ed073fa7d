"""The verb `whatis`: looks into a file without running anything of it."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

from matrix.catalogue import data_root
from matrix.errors import EXIT_OK, FileFault
from matrix.gates import as_json, learn_folder, load_gates
from matrix.mlirfile import is_mlir, read_mlir
from matrix.vmfbarchive import is_container, open_container, open_file
from matrix.vmfbaudit import audit_container
from matrix.whatis import Observed, answer, mlir_json, mlir_text, module_json, module_text, observed_outcomes


def whatis(options: Namespace) -> int:
    """Prints what a file is; with `--gates`, the table of gates that a folder of modules teaches."""
    path: Path = options.file
    if options.gates:
        sys.stdout.write(as_json(learn_folder(path)))
        return EXIT_OK
    with open_file(path) as file:
        head = file.read(12)
    if is_mlir(path, head):
        found = read_mlir(path)
        sys.stdout.write(mlir_json(found) if options.format == "json" else mlir_text(str(path), found))
        return EXIT_OK
    if not is_container(head):
        raise FileFault(
            f"{path}: read {head[:8]!r} as its first bytes, expected a .vmfb (a zip or a FlatBuffer of IREE's) or MLIR",
            tip="MLIR as text must be named .mlir",
        )
    with open_container(path) as container:
        module, audit = audit_container(container)
    known = answer(module, load_gates(), observed())
    as_text = options.format != "json"
    sys.stdout.write(module_text(str(path), module, audit, known) if as_text else module_json(module, audit, known))
    return EXIT_OK


def observed() -> Observed:
    """The committed outcomes; none where this copy of the project has no results."""
    file = data_root() / "results" / "portability.json"
    return observed_outcomes(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
