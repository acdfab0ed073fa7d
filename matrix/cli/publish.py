"""The verbs that make something of published runs: pages, pictures, the archive. No store, no engine, no network; only
`whatis --check` fetches its tools into the store."""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from matrix.answers.gates import OLDER_GATES_FILE, gates_json, learn_gates_from, load_gates
from matrix.answers.whatis import (
    CheckedCode,
    Observed,
    explain_module,
    mlir_json,
    mlir_text,
    module_json,
    module_text,
    observed_outcomes,
)
from matrix.artifacts.contents.cpu_needs import cpu_needs
from matrix.artifacts.contents.regions import read_regions
from matrix.artifacts.mlir import is_mlir, read_mlir
from matrix.artifacts.vmfb import read_container
from matrix.artifacts.vmfb_archive import Container, is_container, open_container, open_file
from matrix.artifacts.vmfb_audit import audit_container
from matrix.core.data import data_root
from matrix.core.disk import write_output
from matrix.core.errors import EXIT_NO, EXIT_OK, FileFault, ResultsFault, UsageError
from matrix.core.text import counted, escape_controls, plain_rows
from matrix.results.files import machine_files, read_run, read_runs, run_files
from matrix.results.kept.archive import keep_run, kept_runs
from matrix.results.published.address import published_files, read_published

ORIGIN = re.compile(r"""\[remote "origin"\][^\[]*?^\s*url\s*=\s*(\S+)""", re.MULTILINE)
"""Where a checkout came from, in git's own file."""


def do_site(options: Namespace) -> int:
    """Builds the site from the named results, or from the committed ones."""
    from matrix.site.build import build_site

    committed = data_root() / "results" / "kept" if not options.files and not options.results else None
    with _results_files(options, machines=True) as files:
        built = build_site(
            options.output,
            files,
            repository=repository_address(data_root()),
            archive=options.archive or committed,
        )
    print(
        f"{options.output}: {counted(built.cells, 'cell')} on {counted(built.pages, 'page')}, {built.size / 1e6:.1f} MB"
    )
    return EXIT_OK


def repository_address(root: Path) -> str:
    """The https address that a checkout was cloned from, without a name or password in it; empty for others."""
    file = root / ".git" / "config"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    found = ORIGIN.search(text)
    parts = urlsplit(found[1]) if found else None
    if parts is None or parts.scheme != "https" or not parts.hostname:
        return ""
    return f"https://{parts.hostname}{parts.path.removesuffix('/').removesuffix('.git')}"


def do_picture(options: Namespace) -> int:
    """Writes the square of the named results, or of the committed ones, as SVG."""
    from matrix.site.build import first_square

    with _results_files(options) as files:
        write_output(options.output, first_square(files))
    print(f"{options.output}: the square, with its legend, its source and its date")
    return EXIT_OK


def do_report(options: Namespace) -> int:
    """Writes one self-contained page of the named results, or of the committed ones."""
    from matrix.site.one_page import one_file

    with _results_files(options, machines=True) as files:
        page = one_file(files)
    write_output(options.output, page)
    print(f"{options.output}: {len(page.encode()) / 1e6:.1f} MB, open it in a browser")
    return EXIT_OK


@contextlib.contextmanager
def _results_files(options: Namespace, *, machines: bool = False) -> Iterator[tuple[Path, ...]]:
    """The named runs, those of `--results`, or else the committed ones: with `machines`, also those of further
    machines. Files of a site last as long as the context."""
    if not options.files and not options.results:
        published = data_root() / "results"
        yield (*run_files(published), *(machine_files(published) if machines else ()))
        return
    with tempfile.TemporaryDirectory(prefix="iree-matrix-") as folder:
        yield (*options.files, *published_files(options.results, options.store, Path(folder)))


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
        needs = cpu_needs(container, read_regions(container)[1])
        checked = _checked(container, options.store) if options.check else None
    observed = observed_of(options.results, options.store)
    devices = _devices() if module.subgroups else {}
    known = explain_module(module, load_gates(), observed, needs, load_gates(OLDER_GATES_FILE), devices=devices)
    if options.format == "json":
        sys.stdout.write(module_json(module, audit, known, checked))
    else:
        sys.stdout.write(module_text(str(path), module, audit, known, checked))
    return EXIT_NO if any(each.invalid for each in checked or ()) else EXIT_OK


def _checked(container: Container, store: Path) -> tuple[CheckedCode, ...]:
    """What locked tools say of the code for devices; they are fetched into the store when they are first needed."""
    from matrix.builds.devices.device_checks import check_executables, device_checkers
    from matrix.engines.kind import workshop
    from matrix.run.store import Store

    module, loaded, _ = read_container(container)
    if not any(each.executable.device_code for each in loaded):
        return ()
    with Store(store) as opened, device_checkers(workshop(opened.places), opened.folder) as tools:
        return check_executables(loaded, module.architectures, tools)


def _devices() -> dict[str, tuple[int, ...]]:
    """The devices of the locked drivers, with the sizes of their subgroups."""
    from matrix.builds.drivers import shipped_drivers  # it imports what fetches packages

    return {f"the device of {name}": row.sizes for name, row in shipped_drivers().items()}


OBSERVED = ("history", "portability")
"""The presets with every pair of a compiler and a runtime; a later one wins."""


def observed_of(results: Sequence[str], store: Path) -> Observed:
    """The outcomes of published results, or the committed ones, with dated releases too; none where this copy of the
    project has no results. Raises ResultsFault."""
    files = [data_root() / "results" / f"{name}.json" for name in OBSERVED]
    runs = read_published(results, store) if results else read_runs(file for file in files if file.is_file())
    named = [run for name in OBSERVED for run in runs if run.preset == name]
    return {pair: ended for run in named or runs for pair, ended in observed_outcomes(run).items()}


def do_keep(options: Namespace) -> int:
    """Keeps runs in the archive, or lists it."""
    if options.list:
        if options.results:
            raise UsageError(
                f"keep --list: read {options.results[0]} beside it, expected it alone",
                tip="without --list it keeps what is named",
            )
        kept = kept_runs(options.archive)
        rows = [[each.name, each.date, f"{each.path.stat().st_size:,}"] for each in kept]
        rows.append([f"{len(kept)} runs", "", f"{sum(each.path.stat().st_size for each in kept):,}"])
        print(escape_controls(plain_rows(rows, headers=("name", "date", "bytes"))))
        return EXIT_OK
    published = data_root() / "results"
    files = options.results or (*run_files(published), *machine_files(published))
    if not files:
        raise ResultsFault(f"{published}: read no .json, expected runs", tip="name some: `keep RESULTS.json`")
    runs = [read_run(path) for path in files]  # all are read before any is kept
    for path, run in zip(files, runs, strict=True):
        where, new = keep_run(run, options.archive)
        print(escape_controls(f"{path}: {'kept as' if new else 'is there already:'} {where}"))
    return EXIT_OK
