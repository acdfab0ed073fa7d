"""The verb `why`: the evidence of one cell, its cause, and a command that reproduces it."""

from __future__ import annotations

import contextlib
import shlex
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from matrix.answers import predictions
from matrix.answers.causes import cause_lines, cells_of, explain, nearest_passes
from matrix.answers.gates import load_gates
from matrix.core.data import data_root, presets
from matrix.core.errors import EXIT_OK, CellUnknown, MatrixError, StoreUnusable, UsageError
from matrix.core.records import Outcome
from matrix.core.text import escape_controls
from matrix.engines.choice import engine_kind, lookup_engine
from matrix.engines.kind import ManualRepeat
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.plan.graph import Plan
from matrix.plan.question import Question, one_of
from matrix.plan.stages import axes as axis_rows
from matrix.plan.user_inputs import tool_axes
from matrix.results.files import read_runs, run_files
from matrix.results.published.address import read_published
from matrix.results.run import Cell, FinishedJob, Run
from matrix.run.covering.known import covered_plan
from matrix.run.covering.left_out import left_out_lines
from matrix.run.evidence import Answered, found_runs, judged_cells, label_of, one_cell, repeated, replay
from matrix.run.judging import without_folders
from matrix.run.planning import plan_of, question_of
from matrix.run.store import Store

EXCERPT, EXCERPT_BEFORE, MOST_OF_A_LINE = 12, 3, 300
"""Lines of an excerpt of a log, those of it before the message, and characters of a line."""


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
    """Raises CellUnknown, MatrixError, StoreUnusable, ResultsFault."""
    if options.results:
        return _from_published(
            read_published(options.results, options.store), options.cell, question_of(options).spec_name
        )
    asked = question_of(options)
    planned = covered_plan(asked, options.store, options.engine)
    try:
        with Store(options.store, read_only=True) as store:
            engine = lookup_engine(options.engine, store.places)
            run = judged_cells(planned, replay(planned, store, engine).states, store)
            try:
                found, cell = _found(
                    asked, Answered(plan=planned, run=run, engine=engine), options.cell, store, repeated(options)
                )
            except CellUnknown as unknown:
                said = left_out_lines(planned, run, options.cell, repeated(options))
                if unknown.several or not said:
                    raise
                print(escape_controls("\n".join(said)))
                return EXIT_OK
            if not cell.jobs and (runs := _published(planned)) and _has(runs, cell):
                return _from_runs(runs, options.cell)
            pasted = [shell_command(found, cell, store)] if cell.jobs else []
            cells = found.run.cells
            if _lacks_pass(cell, cells):
                with contextlib.suppress(MatrixError):  # some specs have no wider question, such as one with a baseline
                    wide = plan_of(_widened(asked, planned), options.store)
                    cells = cells_of((found.run, judged_cells(wide, replay(wide, store, found.engine).states, store)))
            if _lacks_pass(cell, cells):
                known = found_runs(store, _model_of(asked, [f"{MODEL_AXIS.name}={cell.axes[MODEL_AXIS.name]}"]))
                cells = cells_of((found.run, *(each.run for each in known)))
            _print(
                cell,
                found.run,
                cells,
                notes=_notes(found.run, cell),
                pasted=pasted,
                log=_log(store, cell, whole=options.log),
            )
    except StoreUnusable:
        runs = _published(planned)
        if not runs:
            raise
        return _from_runs(runs, options.cell)
    return EXIT_OK


def _found(
    asked: Question, first: Answered, choices: Sequence[str], store: Store, where: Sequence[str]
) -> tuple[Answered, Cell]:
    """The cell that was meant, of the question; if that has none or did not measure it, of all that the store has of
    its model. `where` are the words that name the store. Raises CellUnknown, UsageError."""
    unknown: CellUnknown | None = None
    try:
        preset = ["--preset", first.plan.spec.source] if asked.preset or asked.options else []
        cell = one_cell(first.run, choices, words=[*preset, *first.plan.spec.options, *where])
        if cell.jobs or asked.preset:
            return first, cell
    except CellUnknown as error:
        if asked.preset or (error.several and not _model_of(asked, choices)):
            raise
        unknown = error
    model = _model_of(asked, choices) or first.plan.axes[MODEL_AXIS.name][0].label
    meant = ((each, cell) for each in found_runs(store, model) for cell in each.run.cells)
    named = label_of(model)
    measured = {cell.name: (each, cell) for each, cell in meant if cell.jobs and cell.axes[MODEL_AXIS.name] == named}
    labels = [cell.axes for _, cell in measured.values()]
    try:
        axes = tuple(dict.fromkeys(axis for each in labels for axis in each))
        return list(measured.values())[one_of(labels, choices, axes=axes, name="the store")]
    except CellUnknown as error:
        if unknown and error.several:
            raise
    except UsageError:  # an axis that nothing measured has
        pass
    if unknown:
        raise unknown
    return first, cell


def _model_of(asked: Question, choices: Sequence[str]) -> str:
    """The model that is meant, a name or a file; empty if nothing names one."""
    named = [word.partition("=")[2] for word in choices if word.startswith(f"{MODEL_AXIS.name}=")]
    files = [word for word in asked.models if not named or label_of(word) == label_of(named[0])]
    return next(iter([*files, *named]), "")


def _lacks_pass(cell: Cell, cells: Sequence[Cell]) -> bool:
    return cell.outcome.red and not nearest_passes(cell.axes, [each for each in cells if each.passed], cells)


def _widened(asked: Question, planned: Plan) -> Question:
    """The question with all releases of the tools: another run may have left passes in the store."""
    tools = {axis: (*asked.axes.get(axis, ()), "all") for axis in tool_axes() if axis in planned.spec.axes}
    return replace(asked, only=(), axes={**asked.axes, **tools})


def _published(planned: Plan) -> tuple[Run, ...]:
    """The committed runs for an unchanged shipped preset; a user's own spec is another question."""
    if planned.spec.source not in presets() or planned.spec.options:
        return ()
    return read_runs(path for path in run_files(data_root() / "results") if path.stem == planned.spec.name)


def _has(runs: Sequence[Run], cell: Cell) -> bool:
    return any(each.axes == cell.axes and each.measured for run in runs for each in run.cells)


def _from_published(runs: Sequence[Run], choices: Sequence[str], preset: str) -> int:
    """First of the preset's run, as without `--results`: many cells of other runs have the same compiler and runtime.
    Raises CellUnknown, UsageError."""
    named = [run for run in runs if run.preset == preset]
    if named and len(named) < len(runs):
        with contextlib.suppress(CellUnknown):
            return _from_runs(named, choices)
    return _from_runs(runs, choices)


def _from_runs(runs: Sequence[Run], choices: Sequence[str]) -> int:
    """The evidence of one cell of published runs. Raises CellUnknown, UsageError."""
    cells = cells_of(runs)
    if not cells:
        raise CellUnknown("the results hold no cell", tip="give others with --results")
    held = dict.fromkeys(axis for cell in cells for axis in cell.axes)
    axes = tuple(sorted(held, key=[*dict.fromkeys((*axis_rows(), *held))].index))
    cell = cells[one_of([each.axes for each in cells], choices, axes=axes, name="the results")]
    run = next(run for run in runs if any(each is cell for each in run.cells))
    if _lacks_pass(cell, cells):
        cells = cells_of((*runs, *read_runs(run_files(data_root() / "results"))))
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
    lines = [*_evidence(cell, run, notes), *cause, "", "reproduce", *(f"  {each}" for each in pasted)]
    print(escape_controls("\n".join([*lines, f"  {cell.reproduce}", *log]).expandtabs()))


def _evidence(cell: Cell, run: Run, notes: Sequence[str]) -> list[str]:
    lines = [cell.name, "", f"outcome    {cell.words}"]
    if cell.signature:
        step = run.next_step(cell.signature)
        lines += [f"message    {cell.message}", f"means      {cell.means}", f"next       {step}"]
    if cell.comparison:
        lines.append(f"outputs    {cell.comparison.words}")
        moved = cell.movement.words if cell.movement else "not known whether they depend on the inputs: nothing says it"
        lines.append(f"movement   {moved}")
    if words := predictions.compared_words(cell, predictions.committed_predictions()):
        lines.append(f"gates      {words}")
    lines += [f"warning    {cell.warning}"] if cell.warning else []
    lines += notes
    lines += [f"reason     {cell.reason}"] if cell.reason else []
    lines += [f"included   {cell.included}"] if cell.included else []
    for key in cell.evidence:
        lines += ["", *_job_lines(run.jobs[key])]
    return lines


def _notes(run: Run, cell: Cell) -> list[str]:
    return [f"{axis:10} {note}" for axis, label in cell.axes.items() if (note := run.notes(axis).get(label))]


def _log(store: Store, cell: Cell, *, whole: bool) -> list[str]:
    """The log of the job that a cell ended with, or an excerpt around its message; of both attempts if they differ."""
    flaky = cell.outcome is Outcome.FLAKY
    result = store.result(cell.jobs[-1]) if cell.jobs and (flaky or cell.outcome.red) else None
    if result is None:
        return []
    lines: list[str] = []
    for end in (*result.attempts, result.end) if flaky else (result.end,):
        if end.log:
            which = f", {end.status}" if flaky else ""
            shown = end.log.rstrip().splitlines() if whole else _excerpt(end.log.rstrip().splitlines(), cell.message)
            lines += ["", f"log of {result.stage} ({end.log_bytes} bytes){which}", *shown]
    return lines


def _excerpt(lines: Sequence[str], message: str) -> list[str]:
    """The lines around the first that begins the message; without one the last. The rest is counted."""
    start = message.splitlines()[0][:60] if message else ""
    known = (place for place, line in enumerate(lines) if start and start in without_folders(line))
    first = max(0, next(known, len(lines) - EXCERPT) - EXCERPT_BEFORE)
    around = lines[first : first + EXCERPT]
    kept = [line if len(line) <= MOST_OF_A_LINE else f"{line[:MOST_OF_A_LINE]} …" for line in around]
    left = len(lines) - len(kept)
    rest = f"… {left} more lines" if left else "… of some lines more" if kept != around else ""
    return [*kept, f"{rest}: `why --log` with the same words"] if rest else kept


def _job_lines(job: FinishedJob) -> list[str]:
    peak = f", {job.peak_bytes / (1 << 20):.0f} MiB" if job.peak_bytes else ""
    return [
        f"{job.stage}: {job.outcome}, {job.status}, {job.seconds:.3f} s, {job.cpu_seconds:.3f} s CPU{peak}, "
        f"{job.finished_at}, {job.machine}, engine {job.engine}",
        *(f"  the attempt before: {each.status}, {each.seconds:.3f} s" for each in job.attempts),
        f"  job          {job.key}",
        f"  lock         {job.lock} sha256 {job.lock_sha256}",
        f"  environment  {job.environment}",
        *(f"  in           {name} sha256 {digest}" for name, digest in job.inputs.items()),
        *(f"  out          {name} sha256 {made.sha256}, {made.bytes} bytes" for name, made in job.artifacts.items()),
        *(f"  measured     {name} {value}" for name, value in job.measurements.items()),
        f"  command      {shlex.join(job.command)}",
    ]


def shell_command(found: Answered, cell: Cell, store: Store) -> str:
    """A shell command that repeats the cell's last job by hand, with the files of the store."""
    job = store.result(cell.jobs[-1])
    planned = found.plan.cells[found.run.cells.index(cell)]
    node = found.plan.nodes[planned.nodes[len(cell.jobs) - 1]]
    environment = found.engine.load(node.request) if node.request else None
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
    return engine_kind(found.engine.name).shell_line(made)
