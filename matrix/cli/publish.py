"""The verbs `site`, `report` and `picture`: pages from published runs. No store, no engine, no network."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from matrix.answers.gates import gates_json, learn_gates_from, load_gates
from matrix.answers.whatis import (
    Observed,
    explain_module,
    mlir_json,
    mlir_text,
    module_json,
    module_text,
    observed_outcomes,
)
from matrix.artifacts.mlir import is_mlir, read_mlir
from matrix.artifacts.vmfb_archive import is_container, open_container, open_file
from matrix.artifacts.vmfb_audit import audit_container
from matrix.core.data import data_root
from matrix.core.disk import write_output
from matrix.core.errors import EXIT_OK, FileFault
from matrix.results.files import read_run, run_files


def do_site(options: Namespace) -> int:
    """Builds the site from the named results, or from the committed ones."""
    from matrix.site.build import build_site

    built = build_site(options.output, _results(options))
    print(f"{options.output}: {built.cells} cells on {built.pages} pages, {built.size / 1e6:.1f} MB")
    return EXIT_OK


def do_picture(options: Namespace) -> int:
    """Writes the square of the named results, or of the committed ones, as SVG."""
    from matrix.site.build import first_square

    write_output(options.output, first_square(_results(options)))
    print(f"{options.output}: the square, with its legend, its source and its date")
    return EXIT_OK


def do_report(options: Namespace) -> int:
    """Writes one self-contained page of the named results, or of the committed ones."""
    from matrix.site.one_page import one_file

    page = one_file(_results(options))
    write_output(options.output, page)
    print(f"{options.output}: {len(page.encode()) / 1e6:.1f} MB, open it in a browser")
    return EXIT_OK


def _results(options: Namespace) -> tuple[Path, ...]:
    return tuple(options.results) or run_files(data_root() / "results")


def do_whatis(options: Namespace) -> int:
    """Prints what a file is; with `--gates`, the table of gates that a folder of modules teaches."""
    path: Path = options.file
    if options.gates:
        sys.stdout.write(gates_json(learn_gates_from(path)))
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
    known = explain_module(module, load_gates(), committed_outcomes())
    as_text = options.format != "json"
    sys.stdout.write(module_text(str(path), module, audit, known) if as_text else module_json(module, audit, known))
    return EXIT_OK


def committed_outcomes() -> Observed:
    """The committed outcomes; none where this copy of the project has no results."""
    file = data_root() / "results" / "portability.json"
    return observed_outcomes(read_run(file)) if file.is_file() else {}
