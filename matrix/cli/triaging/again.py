"""Before a release is accused: both ends measured again in one run, and the module that shows it made small."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from matrix.answers.releases.issue import SmallModule, shown_cell
from matrix.answers.releases.reduction import Parts, reduce_parts
from matrix.answers.releases.triage import TriagedCell, TriageGroup
from matrix.artifacts.contents.mlir_parts import MlirFunction, read_function
from matrix.cli.verbs import make_parser
from matrix.core.errors import MatrixError, UsageError
from matrix.core.text import say
from matrix.plan.backends.shared import MODEL_AXIS, TARGET_AXIS
from matrix.plan.graph import Plan
from matrix.plan.question import Question
from matrix.plan.stages import exchanged, front_end, kinds
from matrix.results.run import Cell, FinishedJob, Run
from matrix.run.carry_out import carry_out, report_gaps, resolved
from matrix.run.evidence import judged_cells
from matrix.run.planning import plan_of, question_of
from matrix.run.store import Store

WITH_NUMBERS = re.compile(r"[%\"'\w./-]*\d\w*")


def group_again(group: TriageGroup, options: Namespace) -> TriageGroup:
    """The group with its smallest confirmed cell alone, measured again together with its baseline, in one run on this
    machine; not confirmed if they end otherwise now. Raises UsageError, and what a run raises."""
    shown = shown_cell(group)
    question = _both(shown)
    run = _measured(question, options)
    before, after = (_cell_of(run, each) for each in (shown.before, shown.after))
    if not before.passed:
        ended, why = False, f"measured again in one run, the one that passed before ends now: {before.words}"
    elif _ending(after) != _ending(shown.after):
        ended, why = False, f"measured again in one run, it ends now: {after.words}"
    else:
        ended, why = True, f"measured again, in one run with the one that passes, on {run.date}: both ended as before"
    cell = TriagedCell(before=before, after=after, before_run=run, run=run, confirmed=ended, why=why)
    others = [each if ended else replace(each, confirmed=False, why=why) for each in group.cells if each is not shown]
    return replace(group, cells=(cell, *others))


def _both(shown: TriagedCell) -> Question:
    """The question of both cells. Raises UsageError for two questions, and for one that names places of packages: who
    reads results of others installs nothing from where they say."""
    before, after = (_question(each) for each in (shown.before, shown.after))
    if (before.spec_name, before.models) != (after.spec_name, after.models):
        raise UsageError(
            f"--again: read cells of {before.spec_name} and {after.spec_name}, expected two of one question",
            tip=f"measure each yourself: {shown.before.reproduce}; {shown.after.reproduce}",
        )
    axes = {
        axis: tuple(dict.fromkeys((*before.axes.get(axis, ()), *after.axes.get(axis, ()))))
        for axis in (*before.axes, *after.axes)
    }
    return replace(after, axes=axes, only=tuple(dict.fromkeys((*before.only, *after.only))))


def _question(cell: Cell) -> Question:
    words = shlex.split(cell.reproduce)
    if words[:4] != ["python", "-m", "matrix", "run"]:
        raise UsageError(
            f"--again: read {cell.reproduce!r:.200} as the command of a cell, expected `python -m matrix run …`",
            tip="results of this project have one for each cell that was measured",
        )
    question = question_of(make_parser().parse_args(words[3:]))
    if question.find_links or question.indexes:
        raise UsageError(
            f"--again: read {cell.reproduce!r:.300}, which names places of packages, expected published releases",
            tip="run the command yourself if you know these places, then ask without --again",
        )
    return question


def _measured(question: Question, options: Namespace) -> Run:
    """What the question comes to now: its tools run again, models are not exported again. Raises what a run raises."""
    plan = resolved(lambda: plan_of(question, options.store))
    exported = front_end().name
    with Store(options.store) as store:
        summary = carry_out(
            plan, store, options, words=question.only, again=lambda known: known.stage != exported, question=question
        )
        if summary.interrupted:
            raise KeyboardInterrupt
        if summary.faults:
            report_gaps(summary)
        return judged_cells(plan, summary.states, store)


def _cell_of(run: Run, cell: Cell) -> Cell:
    found = [each for each in run.cells if each.axes == cell.axes]
    if not found:
        raise UsageError(
            f"--again: read {' '.join(f'{axis}={label}' for axis, label in cell.axes.items())}, which its command does "
            f"not measure: {cell.reproduce}",
            tip="the results are of another version of this project: measure them again with `run`",
        )
    return found[0]


def _ending(cell: Cell) -> tuple[str, str]:
    """What must stay: the outcome, stage and signature, and what the message says of it without its numbers."""
    return cell.words, cell.means or WITH_NUMBERS.sub("#", cell.said)


# -- made small


@dataclass(slots=True, kw_only=True)
class Reduction:
    """One search: the cell that fails and its baseline, by what the tool's stage depends on."""

    function: MlirFunction
    failing: Cell
    passing: Cell
    stages: tuple[str, ...]
    axes: tuple[str, ...]
    options: Namespace
    folder: Path
    files: int = field(default=0)

    def first_alike(self, candidates: Sequence[Parts]) -> int | None:
        """The first candidate that fails as the whole does, and that the baseline takes."""
        texts = {number: text for number, kept in enumerate(candidates) if (text := self.function.file_of(kept))}
        with contextlib.redirect_stderr(io.StringIO()):
            failed = self._cells(texts, self.failing)
            alike = [number for number, cell in failed.items() if _ending(cell) == _ending(self.failing)]
            for number in alike:
                (cell,) = self._cells({number: texts[number]}, self.passing).values()
                if cell.passed or not cell.outcome.red:
                    return number
        return None

    def _cells(self, texts: dict[int, str], like: Cell) -> dict[int, Cell]:
        """How each of these files ends on the other axes of a cell."""
        if not texts:
            return {}
        names = {number: f"c{self.files + place}" for place, number in enumerate(texts)}
        self.files += len(texts)
        for number, text in texts.items():
            (self.folder / f"{names[number]}.mlir").write_text(text, encoding="utf-8")
        spec = self.folder / f"{names[min(names)]}.toml"
        spec.write_text(self._spec([*names.values()], like), encoding="utf-8")
        plan = resolved(lambda: plan_of(Question(preset=str(spec)), self.options.store))
        run = _judged(plan, self.options)
        found = {cell.axes[MODEL_AXIS.name]: cell for cell in run.cells}
        return {number: found[name] for number, name in names.items()}

    def _spec(self, names: Sequence[str], like: Cell) -> str:
        axes = {axis: like.axes[axis] for axis in self.axes if axis in like.axes}
        lines = [
            "format = 1",
            'name = "reduced"',
            'question = "Which part of a module fails as the whole does?"',
            f"stages = {json.dumps(self.stages)}",
            "[axes]",
            f"{MODEL_AXIS.name} = {json.dumps(names)}",
            *(f"{axis} = [{json.dumps(label)}]" for axis, label in axes.items()),
        ]
        for name in names:
            lines += [f"[models.{name}]", f'mlir = "{name}.mlir"']
        return "\n".join(lines) + "\n"


def _judged(plan: Plan, options: Namespace) -> Run:
    with Store(options.store) as store:
        summary = carry_out(plan, store, options)
        if summary.interrupted:
            raise KeyboardInterrupt
        if summary.faults:
            report_gaps(summary)
        return judged_cells(plan, summary.states, store)


def made_small(shown: TriagedCell, options: Namespace) -> SmallModule | str:
    """The smallest part of the module that fails alike with the new release and that the baseline compiles; or why
    there is none. Both cells were measured with the store of `options`."""
    job = shown.run.jobs[shown.after.jobs[-1]] if shown.after.jobs else None
    name = exchanged(job.inputs) if job else ""
    if job is None or not name:
        return "it fails behind the compiler, where any module of its size shows it"
    try:
        text = _text_of(job.inputs[name], options)
    except UnicodeDecodeError:
        return f"{name} is bytecode, not text"
    function = read_function(text)
    if function is None:
        return f"{name} is not one function of one block, as exporters print it"
    try:
        return _reduced(shown, job, function, len(text.encode()), options)
    except MatrixError as error:
        return f"{error}"


def _text_of(digest: str, options: Namespace) -> str:
    with Store(options.store, read_only=True) as store:
        return store.blob(digest).read_text(encoding="utf-8")


def _reduced(
    shown: TriagedCell, job: FinishedJob, function: MlirFunction, size: int, options: Namespace
) -> SmallModule | str:
    order = [stage for stage in kinds() if stage in {each.stage for each in shown.run.jobs_of(shown.after)}]
    stages = tuple(dict.fromkeys((front_end().name, *order)))
    with tempfile.TemporaryDirectory(prefix="iree-matrix-") as folder:
        search = Reduction(
            function=function,
            failing=shown.after,
            passing=shown.before,
            stages=stages,
            axes=(TARGET_AXIS.name, *kinds()[job.stage].axes),
            options=options,
            folder=Path(folder),
        )
        count = len(function.operations)
        if search.first_alike([tuple(range(count))]) is None:
            return "written again without its other parts it ends otherwise"
        found = reduce_parts(count, search.first_alike, options.budget - 1)
        left = function.size_of(found.kept)
        say(f"reduce: {left} of {count} operations are left, {found.asked + 1} parts were tried")
        return SmallModule(
            text=function.file_of(found.kept),
            operations=(left, count),
            whole_bytes=size,
            asked=found.asked + 1,
            least=found.least,
        )


def accused_again(groups: Sequence[TriageGroup], options: Namespace) -> Iterator[TriageGroup]:
    """Each group, its smallest cell measured again. Raises what a run raises."""
    for group in groups:
        say(f"again: {group.before} -> {group.after}, {len(group.cells)} cells")
        yield group_again(group, options)
