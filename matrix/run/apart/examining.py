"""Takes the module of a cell apart, and runs each dispatch alone on the inputs that VMVX computed for it.

All of it is jobs of plans like any other: they are kept, and the same command goes on where it was interrupted.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matrix.answers.blaming.answer import Blame, LookedAt
from matrix.artifacts.compiler.cut import CutDispatch, CutModule, read_cut
from matrix.artifacts.contents.mlir_lines import MlirOperation, operations_at
from matrix.artifacts.json_reader import JsonFault
from matrix.artifacts.npy import NpyFault, count_nans, read_npy
from matrix.core.blobs import RUN_AGAIN, read_exactly
from matrix.core.errors import BlobDamaged, NoAnswer
from matrix.core.records import Outcome
from matrix.plan.axes import NONE
from matrix.plan.backends.backend import EXPECTED, matching
from matrix.plan.backends.iree.cutting import (
    ALONE_FLAGS,
    ALONE_STAGES,
    CUT_STAGES,
    DISPATCH_FILES,
    DISPATCHES_FILE,
    VALUE_FILES,
)
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.plan.graph import Plan
from matrix.plan.question import Question
from matrix.plan.spec import Spec
from matrix.plan.stages import exchanged, forms, kinds
from matrix.plan.user_inputs import OwnValue, UserModel
from matrix.results.judge import Comparison, compare_outputs
from matrix.results.run import Cell, FinishedJob, Run
from matrix.run.carry_out import carry_out, report_gaps, resolved
from matrix.run.evidence import judged_cells
from matrix.run.judging import without_folders
from matrix.run.planning import plan_for
from matrix.run.store import Store

CUT_AXIS, FROM_CUT = "module", "dispatch"
"""A dispatch alone is a module that is cut already: an axis of the spec says it, beside the cell's own flags."""


class Interrupted(Exception):
    """Ctrl-C during a part; what was finished is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenApart:
    """A cell's module in parts: its dispatches, and the sha256 of the modules and of the values that VMVX computed."""

    cell: Cell
    spec: Spec
    module: CutModule
    files: Mapping[str, str]
    given: Mapping[str, Path]
    """sha256 -> path, of files that came with the model."""

    def file(self, pattern: str, number: int | None) -> str:
        return self.files[pattern.replace("*", str(number))]

    def value(self, name: str) -> str:
        """The sha256 of an input or a value."""
        return self.files[f"{name}.npy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examiner:
    """Plans and runs; `options` are those of the command line."""

    store: Store
    options: Namespace
    torch_variant: str

    def place(self, apart: TakenApart, digest: str) -> Path:
        return apart.given.get(digest, self.store.blob(digest))

    def read(self, apart: TakenApart, digest: str) -> bytes:
        return read_exactly(self.place(apart, digest), digest)

    def carried_out(self, plan: Plan, words: tuple[str, ...], question: Question | None = None) -> Run:
        """What a plan came to. Raises Interrupted, and RunFaulted for a fault that is no release's."""
        summary = carry_out(plan, self.store, self.options, words=words, question=question)
        if summary.interrupted:
            raise Interrupted
        run = judged_cells(plan, summary.states, self.store)
        report_gaps(summary, run.cells)
        return run

    def take_apart(self, plan: Plan, words: tuple[str, ...], question: Question | None = None) -> TakenApart:
        """The module of the plan's one cell. Raises NoAnswer where it cannot be taken apart, and says why."""
        run = self.carried_out(plan, words, question)
        (cell,) = run.cells
        jobs = [run.jobs[key] for key in cell.evidence]
        files = {name: digest for node in plan.nodes for name, _, digest in node.given}
        for job in jobs:
            files |= {name: made.sha256 for name, made in job.artifacts.items()}
        self._refuse_lacking(cell, jobs, files, run)
        given = {digest: path for node in plan.nodes for _, path, digest in node.given}
        content = read_exactly(self.store.blob(files[DISPATCHES_FILE]), files[DISPATCHES_FILE])
        try:
            module = read_cut(content)
        except JsonFault as fault:
            raise BlobDamaged(f"{DISPATCHES_FILE}: {fault}", tip=RUN_AGAIN) from None
        return TakenApart(cell=cell, spec=plan.spec, module=module, files=files, given=given)

    def _refuse_lacking(self, cell: Cell, jobs: Sequence[FinishedJob], files: Mapping[str, str], run: Run) -> None:
        """Raises NoAnswer for a cell whose module was not cut or not interpreted."""
        if DISPATCHES_FILE in files and matching(files, VALUE_FILES):
            return
        if not exchanged(files) and cell.measured:
            raise NoAnswer(
                f"{cell.name}: the module came without its source, and only its compiler knows its dispatches",
                tip="name the MLIR in its place: --model my.mlir",
            )
        for job in jobs:
            if job.stage in CUT_STAGES and job.outcome is not Outcome.PASSED:
                result = self.store.result(job.key)
                said = without_folders(result.end.log).strip().splitlines() if result else []
                words = said[-1] if said else "without a word"
                raise NoAnswer(
                    f"{cell.name}: {job.outcome} at {job.stage}, {job.status}: {words}",
                    tip=f"to measure it again: {cell.reproduce} --again",
                )
        reason = cell.reason or cell.said or cell.words
        tip = run.next_step(cell.signature) or "`why` with the same words says more"
        raise NoAnswer(f"{cell.name}: cannot be taken apart: {reason}", tip=tip)

    def examine(self, apart: TakenApart, words: tuple[str, ...]) -> Blame:
        """Runs each dispatch alone, and says which departs."""
        models, asked, left = self._alone(apart)
        found: dict[str, Cell] = {}
        run = Run(cells=())
        if models:
            spec = alone_spec(apart, models)
            plan = resolved(lambda: plan_for(spec, self.nothing, self.options.store))
            run = self.carried_out(plan, (*words, "dispatches"))
            found = {cell.axes[MODEL_AXIS.name]: cell for cell in run.cells}
        operations = self._operations(apart)
        looked = []
        for dispatch in apart.module.dispatches:
            cell = found.get(asked.get(dispatch.ordinal, ""))
            looked.append(
                LookedAt(
                    dispatch=dispatch,
                    operations=tuple(operations[line] for line in dispatch.lines if line in operations),
                    cell=cell,
                    commands=tuple(run.jobs[key].command for key in cell.jobs) if cell else (),
                    left_out=left.get(dispatch.ordinal, ""),
                )
            )
        return Blame(cell=apart.cell, reference=self._reference(apart), module=apart.module, looked=tuple(looked))

    @property
    def nothing(self) -> Question:
        """A question that changes nothing in its spec."""
        return Question(torch_variant=self.torch_variant)

    def _alone(self, apart: TakenApart) -> tuple[dict[str, UserModel], dict[int, str], dict[int, str]]:
        """The models of a plan, the name of each dispatch's one, and why others are left out. Calls of the same
        executable on the same values are one."""
        models: dict[str, UserModel] = {}
        known: dict[tuple[object, ...], str] = {}
        asked: dict[int, str] = {}
        left: dict[int, str] = {}
        for dispatch in apart.module.dispatches:
            if dispatch.module is None:
                left[dispatch.ordinal] = "what it makes fits no .npy file: looked at with what takes it"
                continue
            if any(self._has_nan(apart, name) for name in dispatch.makes):
                left[dispatch.ordinal] = "VMVX makes NaN of it, which nothing can be equal to"
                continue
            key = (dispatch.module, *map(apart.value, dispatch.takes), *map(apart.value, dispatch.makes))
            name = known.setdefault(key, f"dispatch-{dispatch.ordinal}")
            asked[dispatch.ordinal] = name
            models.setdefault(name, self.alone_model(apart, dispatch, name))
        return models, asked, left

    def alone_model(self, apart: TakenApart, dispatch: CutDispatch, name: str) -> UserModel:
        def path(digest: str) -> str:
            return str(self.place(apart, digest))

        return UserModel(
            name=name,
            form=_form_of_cut(),
            path=path(apart.file(DISPATCH_FILES, dispatch.module)),
            inputs=tuple(path(apart.value(name)) for name in dispatch.takes),
            expected=tuple(path(apart.value(name)) for name in dispatch.makes),
            function=apart.module.function,
        )

    def _has_nan(self, apart: TakenApart, name: str) -> bool:
        try:
            return count_nans(read_npy(self.read(apart, apart.value(name)))) > 0
        except NpyFault:
            return False

    def _reference(self, apart: TakenApart) -> Comparison | None:
        """VMVX's outputs compared with the expected ones; None where there are none, or they fit no file."""
        expected = matching(apart.files, EXPECTED)
        if not expected or not all(apart.module.outputs) or len(expected) != len(apart.module.outputs):
            return None
        outputs = [self.read(apart, apart.value(name)) for name in apart.module.outputs]
        wanted = [self.read(apart, apart.files[name]) for name in expected]
        compared = compare_outputs(outputs, wanted, apart.spec.tolerance)
        return compared if "shape" not in compared.text else None

    def _operations(self, apart: TakenApart) -> Mapping[int, MlirOperation]:
        name = exchanged(apart.files)
        lines = {line for dispatch in apart.module.dispatches for line in dispatch.lines}
        return operations_at(self.place(apart, apart.files[name]), lines) if name else {}


def cut_spec(spec: Spec) -> Spec:
    """The spec, whose cells are also taken apart; nothing is measured beside."""
    judged = tuple(stage for stage in spec.stages if kinds()[stage].judged)
    return replace(spec, stages=(*judged, *CUT_STAGES), repeats={})


def alone_spec(apart: TakenApart, models: Mapping[str, UserModel], *, stages: tuple[str, ...] = ALONE_STAGES) -> Spec:
    """The spec of dispatches alone: each is a model, and all else is as in the cell."""
    spec = apart.spec
    axes = {axis: (label,) for axis, label in apart.cell.axes.items() if label != NONE and axis != CUT_AXIS}
    own = {axis: values for axis, values in spec.own_axes.items() if axis != CUT_AXIS}
    return replace(
        spec,
        name=f"{spec.name}-dispatches",
        stages=stages,
        axes={**spec.axes, **axes, MODEL_AXIS.name: tuple(models), CUT_AXIS: (FROM_CUT,)},
        ties={},
        own_axes={**own, CUT_AXIS: {FROM_CUT: OwnValue(flags=ALONE_FLAGS)}},
        exclude=(),
        include=(),
        cover=None,
        tables=tuple(replace(table, where={}) for table in spec.tables[:1]),
        models=models,
        repeats={},
    )


def _form_of_cut() -> str:
    """The form of a model that is MLIR."""
    return next(name for name, form in forms().items() if form.artifact and exchanged([form.artifact]))
