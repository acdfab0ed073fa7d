"""The verb `why`: the evidence of one cell, its cause, and a command that reproduces it."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from matrix.answers import predictions
from matrix.answers.causes import cause_lines, cells_of, explain
from matrix.answers.gates import load_gates
from matrix.core.data import data_root, presets
from matrix.core.errors import EXIT_OK, CellUnknown, StoreUnusable
from matrix.core.text import escape_controls
from matrix.engines.choice import engine_kind, lookup_engine
from matrix.engines.contract import Engine
from matrix.engines.kind import ManualRepeat
from matrix.plan.graph import Plan
from matrix.plan.question import one_of
from matrix.plan.stages import axes as axis_rows
from matrix.results.files import read_runs, run_files
from matrix.results.run import Cell, FinishedJob, Run
from matrix.run.evidence import judged_cells, one_cell, replay
from matrix.run.planning import plan_of, question_of
from matrix.run.store import Store


def do_why(options: Namespace) -> int:
    """Prints the evidence of one cell: from the store; else from the committed results, of any preset if none was
    named; else, for unmeasured releases, the prediction of the gates."""
    asked = question_of(options)
    anywhere = not (options.results or asked.preset or asked.options or asked.only)
    try:
        try:
            return _told(options)
        except CellUnknown as unknown:
            if unknown.several or not anywhere:
                raise
            return _from_runs(read_runs(run_files(data_root() / "results")), options.cell)
    except CellUnknown as unknown:
        foretold = _foretold(options.cell)
        if unknown.several or not foretold:
            raise
        print(escape_controls("\n".join(foretold)))
        return EXIT_OK


def _foretold(choices: Sequence[str]) -> list[str]:
    """The prediction of the gates for a compiler and a runtime; empty if their gates are unknown."""
    axes = dict(word.split("=", 1) for word in choices)
    found = predictions.prediction_of(axes, predictions.committed_predictions())
    if found is None:
        return []
    return [
        f"not measured: no cell has {' '.join(choices)}",
        "",
        f"gates      {predictions.prediction_words(found)}",
        "",
        "This is a prediction: from what modules of the compiler's minor release ask of a runtime, as read in",
        "`.vmfb` files (matrix/data/gates.json). Whether it compiles, and computes what it should, is not known.",
    ]


def _told(options: Namespace) -> int:
    """Raises CellUnknown, StoreUnusable, ResultsFault."""
    if options.results:
        return _from_runs(read_runs(options.results), options.cell)
    planned = plan_of(question_of(options), options.store)
    try:
        with Store(options.store, read_only=True) as store:
            engine = lookup_engine(options.engine, store.places)
            run = judged_cells(planned, replay(planned, store, engine).states, store)
            cell = one_cell(run, options.cell)
            if not cell.jobs and (runs := _published(planned)) and _has(runs, cell):
                return _from_runs(runs, options.cell)
            pasted = [shell_command(planned, run, cell, store, engine)] if cell.jobs else []
            _print(cell, run, run.cells, notes=_notes(run, cell), pasted=pasted, log=_log(store, cell))
    except StoreUnusable:
        runs = _published(planned)
        if not runs:
            raise
        return _from_runs(runs, options.cell)
    return EXIT_OK


def _published(planned: Plan) -> tuple[Run, ...]:
    """The committed runs for an unchanged shipped preset; a user's own spec is another question."""
    if planned.spec.source not in presets() or planned.spec.options:
        return ()
    return read_runs(path for path in run_files(data_root() / "results") if path.stem == planned.spec.name)


def _has(runs: Sequence[Run], cell: Cell) -> bool:
    return any(each.axes == cell.axes and each.measured for run in runs for each in run.cells)


def _from_runs(runs: Sequence[Run], choices: Sequence[str]) -> int:
    """The evidence of one cell of published runs. Raises CellUnknown, UsageError."""
    cells = cells_of(runs)
    if not cells:
        raise CellUnknown("the results hold no cell", tip="give others with --results")
    axes = tuple(cells[0].axes) if cells else tuple(axis_rows())
    cell = cells[one_of([each.axes for each in cells], choices, axes=axes, name="the results")]
    run = next(run for run in runs if any(each is cell for each in run.cells))
    print(f"of {Path(run.source).name}, {_date(run, cell)}\n")
    _print(cell, run, cells, notes=[], pasted=[], log=[])
    return EXIT_OK


def _date(run: Run, cell: Cell) -> str:
    jobs = run.jobs_of(cell)
    return f"measured {jobs[-1].finished_at[:10]} on {jobs[-1].machine}" if jobs else "not measured"


def _print(
    cell: Cell,
    run: Run,
    cells: Sequence[Cell],
    *,
    notes: Sequence[str],
    pasted: Sequence[str],
    log: Sequence[str],
) -> None:
    gates = load_gates()
    cause = cause_lines(explain(cell, cells, gates), cell, gates)
    lines = [*_evidence(cell, run, notes), *log, *cause, "", "reproduce", *(f"  {each}" for each in pasted)]
    print(escape_controls("\n".join([*lines, f"  {cell.reproduce}"]).expandtabs()))


def _evidence(cell: Cell, run: Run, notes: Sequence[str]) -> list[str]:
    lines = [cell.name, "", f"outcome    {cell.words}"]
    if cell.signature:
        step = run.next_step(cell.signature)
        lines += [f"message    {cell.message}", f"means      {cell.means}", f"next       {step}"]
    if cell.comparison:
        lines.append(f"outputs    {cell.comparison.words}")
    if words := predictions.compared_words(cell, predictions.committed_predictions()):
        lines.append(f"gates      {words}")
    lines += notes
    lines += [f"reason     {cell.reason}"] if cell.reason else []
    lines += [f"included   {cell.included}"] if cell.included else []
    for key in cell.evidence:
        lines += ["", *_job_lines(run.jobs[key])]
    return lines


def _notes(run: Run, cell: Cell) -> list[str]:
    return [f"{axis:10} {note}" for axis, label in cell.axes.items() if (note := run.notes(axis).get(label))]


def _log(store: Store, cell: Cell) -> list[str]:
    result = store.result(cell.jobs[-1]) if cell.jobs and cell.outcome.red else None
    if result is None or not result.end.log:
        return []
    return ["", f"log of {result.stage} ({result.end.log_bytes} bytes)", result.end.log.rstrip()]


def _job_lines(job: FinishedJob) -> list[str]:
    peak = f", {job.peak_bytes / (1 << 20):.0f} MiB" if job.peak_bytes else ""
    return [
        f"{job.stage}: {job.outcome}, {job.status}, {job.seconds:.3f} s, {job.cpu_seconds:.3f} s CPU{peak}, "
        f"{job.finished_at}, {job.machine}, engine {job.engine}",
        f"  job          {job.key}",
        f"  lock         {job.lock} sha256 {job.lock_sha256}",
        f"  environment  {job.environment}",
        *(f"  in           {name} sha256 {digest}" for name, digest in job.inputs.items()),
        *(f"  out          {name} sha256 {made.sha256}, {made.bytes} bytes" for name, made in job.artifacts.items()),
        *(f"  measured     {name} {value}" for name, value in job.measurements.items()),
        f"  command      {shlex.join(job.command)}",
    ]


def shell_command(plan: Plan, run: Run, cell: Cell, store: Store, engine: Engine) -> str:
    """A shell command that repeats the cell's last job by hand, with the files of the store."""
    job = store.result(cell.jobs[-1])
    planned = plan.cells[run.cells.index(cell)]
    node = plan.nodes[planned.nodes[len(cell.jobs) - 1]]
    environment = engine.load(node.request) if node.request else None
    if environment is None or job is None:
        return "# the environment was cleaned away; the next line makes it again"
    assert node.request is not None  # it has run
    model = dict(node.parameters).get("model_file", "")
    made = ManualRepeat(
        job=job,
        request=node.request,
        environment=environment,
        files={name: store.blob(digest) for name, digest in job.inputs if name != Path(model).name},
        script=node.kind.script,
        model=model,
    )
    return engine_kind(engine.name).shell_line(made)
