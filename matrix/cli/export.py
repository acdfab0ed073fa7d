"""One model to MLIR: the options of `export` as a plan of one job, and the files of that job."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from packaging.version import Version

from matrix.core.data import STORE_LOCKS, data_root, model_files
from matrix.core.errors import EXIT_INTERRUPTED, EXIT_OK, ExportFailed, UsageError
from matrix.plan.backends.backend import EXPECTED, INPUT, matching
from matrix.plan.backends.iree.environments import TORCH, TURBINE
from matrix.plan.backends.iree.names import MLIR, PARAMETERS
from matrix.plan.catalogue import model_missing
from matrix.plan.graph import Plan, make_plan
from matrix.plan.locks import LockIndex, kind_of, load_locks, variant_of
from matrix.plan.spec import parse_spec
from matrix.results.run import Run
from matrix.results.signatures import signature_of
from matrix.run.carry_out import carry_out, report_gaps, resolved
from matrix.run.evidence import judged_cells
from matrix.run.planning import load_catalogue
from matrix.run.store import Store

SPEC = """
format = 1
name = "export"
question = "What does the model become?"
stages = ["export"]
[axes]
model = {name}
python = {python}
torch = {torch}
turbine = {turbine}
[models.{name}]
file = {file}
parameters = {parameters}
"""


def export_plan(options: Namespace) -> Plan:
    """The plan of the one export. Raises ModelMissing, UsageError, SpecError."""
    path = model_path(options.model)
    torch, turbine = newest_exporter(
        load_locks(data_root() / "images" / "locks"), options.torch, options.turbine, variant=options.torch_build
    )
    words = {
        "name": path.stem,
        "file": str(path),
        "python": options.python,
        TORCH: torch,
        TURBINE: turbine,
        "parameters": "external" if options.parameters else "inline",
    }
    text = SPEC.format(**{key: json.dumps(word, ensure_ascii=False) for key, word in words.items()})
    spec = parse_spec(text, source="export", base=Path())
    catalogue = load_catalogue(spec, torch_variant=options.torch_build, place=options.store / STORE_LOCKS)
    return make_plan(spec, catalogue)


def model_path(word: str) -> Path:
    """A shipped model by name, or a Python file by path."""
    shipped = model_files()
    if word in shipped:
        return shipped[word]
    if not word.endswith(".py") or not Path(word).is_file():
        raise model_missing(word, shipped, place="MODEL")
    return Path(word).resolve()


def newest_exporter(locks: LockIndex, torch: str, turbine: str, *, variant: str) -> tuple[str, str]:
    """(torch, turbine): the newest turbine, with the newest torch, that a lock combines. "" is any. Raises
    UsageError."""
    exporters = [lock for lock in locks.locks if kind_of(lock) == "exporter" and variant_of(lock) == variant]
    pairs = [
        (pins[TORCH], pins["iree-turbine"]) for pins in (dict(lock.pins) for lock in exporters if not lock.refusal)
    ]
    pairs = list(dict.fromkeys(pairs))
    fitting = [pair for pair in pairs if torch in ("", pair[0]) and turbine in ("", pair[1])]
    if not fitting:
        known = ", ".join(f"torch {one} with turbine {other}" for one, other in pairs) or "none is locked"
        asked = f"torch {torch or '(any)'} with turbine {turbine or '(any)'}"
        raise UsageError(
            f"--torch, --turbine: no lock for {asked} and a {variant} build of torch, expected one of: {known}",
            tip="leave out --torch or --turbine, or add the row to images/locks/wanted.toml and run `nox -s lock`",
        )
    return max(fitting, key=lambda pair: (Version(pair[1]), Version(pair[0])))


def keep_files(run: Run, store: Store, options: Namespace) -> Iterator[tuple[Path, int]]:
    """Writes the requested files; yields (path, bytes) of each. Raises ExportFailed, UsageError."""
    (cell,) = run.cells
    if not cell.passed:
        advice = run.next_step(cell.signature) or "`doctor` looks at this machine"
        ended = store.result(cell.jobs[-1]) if cell.signature else None
        message = signature_of(ended).message if ended else cell.said
        raise ExportFailed(f"{options.model}: {cell.words}\n{message}", tip=advice)
    left = run.jobs_of(cell)[-1].artifacts
    wanted: dict[str, Path] = {MLIR: options.output}
    if options.parameters:
        wanted[PARAMETERS] = options.parameters
    if options.arrays:
        names = (name for pattern in (INPUT, EXPECTED) for name in matching(dict.fromkeys(left, ""), pattern))
        wanted |= {name: options.output.with_name(f"{options.output.stem}.{name}") for name in names}
    for name, path in wanted.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.blob(left[name].sha256), path)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}",
                tip="nothing is lost: the same command writes it without another export",
            ) from None
        yield path, left[name].bytes


def do_export(options: Namespace) -> int:
    """Exports one model, like a run, and writes the files."""
    from matrix.cli.export import export_plan, keep_files

    plan = resolved(lambda: export_plan(options))
    with Store(options.store) as store:
        summary = carry_out(plan, store, options, words=[options.model, *plan.cells[0].labels.values()])
        if summary.interrupted:
            return EXIT_INTERRUPTED
        report_gaps(summary)
        for path, size in keep_files(judged_cells(plan, summary.states, store), store, options):
            print(f"{path}  {size / 1e6:.1f} MB")
    return EXIT_OK
