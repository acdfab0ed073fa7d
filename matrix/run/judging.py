"""Judges the cells of a plan: makes the record of a run from the states of its nodes. Pure except for `read`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrix.core.errors import BlobDamaged
from matrix.core.records import AxisValue, JobResult, Outcome
from matrix.core.store_paths import STORE_PATHS, StorePath
from matrix.plan.axes import ordered_axes
from matrix.plan.backends.backend import EXPECTED, OUTPUT, matching
from matrix.plan.backends.shared import ABSENT
from matrix.plan.graph import NodeState, Plan, PlannedCell
from matrix.plan.rounds import is_twin, round_of
from matrix.plan.stages import Node, exchanged, kinds, last_stage, module_of, record_of
from matrix.results.judge import Attempt, Comparison, Movement, compare_outputs, far_larger, read_dtypes, read_movement
from matrix.results.measured.figures import Module
from matrix.results.run import Cell, CellTable, File, FinishedJob, RealisedEnvironment, Run, RunAxis, RunValue
from matrix.results.signatures import Signature, gates, signature_of
from matrix.results.speed import DifferingClasses, Repeat, Subject, recompiled_of, times_of
from matrix.results.weights import LEAKS
from matrix.run.stored.reproducing import reproduce_command

if TYPE_CHECKING:
    from matrix.artifacts.vmfb_audit import VmfbAudit

NOT_COMPARED = "it ran; there are no expected outputs to compare with (`--expected`, or `expected` in the spec)"
FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/:;,'\"()\[\]]+/)+")
"""The folders of an absolute path, which a message of Python or the linker may contain."""


def without_folders(text: str) -> str:
    """The text without the folders of this machine."""
    return FOLDERS.sub("…/", text)


class Judge:
    """Judges the cells of one plan. `read` gives the bytes of an artifact. Each pair of outputs is compared once."""

    def __init__(
        self,
        plan: Plan,
        states: Sequence[NodeState],
        read: Callable[[str], bytes],
        environments: Mapping[str, str],
        *,
        size: Callable[[str], int] | None = None,
        audit: Callable[[str], VmfbAudit] | None = None,
        differ: DifferingClasses | None = None,
    ) -> None:
        self._plan, self._states, self._read, self._environments = plan, states, read, environments
        self._size, self._differ = size, differ
        self._audit = audit if plan.spec.timed else None
        self.compared: dict[tuple[tuple[str, ...], tuple[str, ...]], Comparison] = {}
        self._movements: dict[str, Movement] = {}
        self.jobs: dict[int, FinishedJob] = {}
        self._steps: dict[str, dict[str, str]] = {}
        self._modules: dict[str, Module] = {}

    def run(self) -> Run:
        plan, wanted = self._plan, self._plan.spec.benchmark
        subjects = tuple(self.subject(cell) for cell in plan.cells)
        keys = dict.fromkeys(key for each in subjects for key in each.cell.evidence)
        by_key = {job.key: job for job in self.jobs.values()}
        jobs = {key: by_key[key] for key in keys}
        labels = {name: _labels(values) for name, values in plan.axes.items()}
        return replace(
            self.head(jobs.values()),
            cells=tuple(subject.cell for subject in subjects),
            jobs=jobs,
            times=times_of(subjects, plan.baseline, plan.apart, wanted.rounds, wanted.passes)
            if plan.spec.timed
            else (),
            modules=tuple(self._modules.values()),
            compiled_again=recompiled_of(subjects, labels, self._differ),
        )

    def head(self, jobs: Iterable[FinishedJob]) -> Run:
        """The run without its cells: with the environments of these jobs, and what was found so far."""
        plan = self._plan
        environments, paths = self._realised(jobs)
        last, *others = dict.fromkeys(last_stage(plan.spec.stages, stage) for stage in plan.spec.stages)
        return Run(
            source=f"the store's {plan.spec.name}",
            preset=plan.spec.name,
            question=plan.spec.question,
            stages=plan.stages,
            last_stage=last,
            other_last_stages=tuple(others),
            axes=tuple(_axis(plan, name) for name in ordered_axes(plan.spec)),
            tables=tuple(
                CellTable(
                    rows=view.rows, columns=view.columns, where={axis: _labels(kept) for axis, kept in plane.items()}
                )
                for view, plane in zip(plan.spec.tables, plan.planes, strict=True)
            ),
            cover=plan.chosen.facts if plan.chosen else None,
            baseline=plan.baseline,
            tolerance={dtype: each.rtol for dtype, each in plan.spec.tolerance.items()},
            allowed={dtype: each.words for dtype, each in plan.spec.tolerance.items()},
            cells=(),
            environments=environments,
            store_paths=paths,
            signatures=self._steps,
        )

    def subject(self, cell: PlannedCell) -> Subject:
        told = Cell(axes=cell.labels, outcome=Outcome.EXCLUDED, reason=cell.excluded, included=cell.note)
        if cell.excluded:
            return Subject(cell=replace(told, reproduce=reproduce_command(self._plan, cell, ())))
        artifacts: dict[str, str] = {}
        jobs: list[FinishedJob] = []
        outcome, stage, reason = Outcome.UNTESTED, "", "planned, not run yet"
        signature: Signature | None = None
        for index in cell.nodes:
            node, state = self._plan.nodes[index], self._states[index]
            stage = node.stage
            artifacts |= {name: digest for name, _, digest in node.given}
            outcome, reason, signature = _ended(node, state)
            if state.result is None:
                break
            jobs.append(self._job(index, state.result))
            artifacts |= {artifact.name: artifact.digest for artifact in state.result.outputs}
            if outcome is not Outcome.PASSED:
                break
        comparison = movement = None
        wanted = outcome is Outcome.PASSED and kinds()[stage].compared
        if wanted and matching(artifacts, EXPECTED):
            comparison, movement, outcome, reason = self._compared_outputs(artifacts)
        elif wanted:
            reason = NOT_COMPARED
        repeats = tuple(self._repeat(index) for index in cell.repeats)
        reason = reason or (_lacking(repeats) if outcome is Outcome.PASSED else "")
        told = replace(
            told,
            outcome=outcome,
            stage=stage,
            jobs=tuple(job.key for job in jobs),
            beside=tuple(each.job.key for each in repeats if each.job and not each.round and not each.again),
            reproduce=reproduce_command(self._plan, cell, jobs),
            reason=without_folders(reason),
            comparison=comparison,
            movement=movement,
            compared=not wanted or comparison is not None,
            **self._told(signature),
        )
        compiled = next((job for job in jobs if exchanged(job.inputs)), None)
        self._look_into(told, compiled, artifacts)
        taken = exchanged(artifacts)
        return Subject(
            cell=told,
            compiled=compiled,
            repeats=repeats,
            mlir_bytes=self._size(artifacts[taken]) if self._size and jobs and taken else None,
        )

    def _told(self, signature: Signature | None) -> dict[str, Any]:
        """What a cell keeps of a signature; the next step is in the record once for all cells."""
        if signature is None:
            return {}
        self._steps.setdefault(signature.name, {"next": signature.next_step})
        return {
            "signature": signature.name,
            "message": without_folders(signature.message),
            "means": without_folders(signature.means),
            "values": {name: without_folders(value) for name, value in signature.values},
        }

    def _look_into(self, cell: Cell, compiled: FinishedJob | None, artifacts: Mapping[str, str]) -> None:
        """The module of a cell with times; cells that differ only in later stages share one."""
        key = compiled.key if compiled else cell.axes["model"]  # a model may be a `.vmfb`
        if self._audit and (module := module_of(artifacts)) and key not in self._modules:
            try:
                found = self._audit(artifacts[module])
            except BlobDamaged:  # the next run that needs it makes it again
                return
            strings = {kind: found.count(kind) for kind in LEAKS.values()}
            self._modules[key] = Module(
                axes=cell.axes,
                bytes=found.size,
                parts=dict(found.parts),
                strings=strings,
                unscanned_bytes=found.unscanned,
            )

    def _job(self, index: int, result: JobResult) -> FinishedJob:
        if index not in self.jobs:
            node, end = self._plan.nodes[index], result.end
            made = {each.name: each.digest for each in result.outputs}
            measured = node.kind.measure(made, end.log, self._read) if result.outcome is Outcome.PASSED else {}
            self.jobs[index] = FinishedJob(
                key=result.key,
                stage=result.stage,
                outcome=result.outcome,
                lock=node.request.lock.name if node.request else "",
                lock_sha256=node.request.lock.digest if node.request else "",
                engine=result.engine,
                environment=result.environment,
                command=result.command,
                inputs=dict(result.inputs),
                artifacts={each.name: File(sha256=each.digest, bytes=each.size) for each in result.outputs},
                end=end.end,
                exit_code=end.exit_code,
                signal=end.signal,
                seconds=end.seconds,
                cpu_seconds=end.cpu_seconds,
                peak_bytes=end.peak_bytes or None,
                log_bytes=end.log_bytes,
                finished_at=result.finished_at,
                machine=result.machine,
                measurements=measured,
                attempts=tuple(map(Attempt.of, result.attempts)),
            )
        return self.jobs[index]

    def _repeat(self, index: int) -> Repeat:
        node, state = self._plan.nodes[index], self._states[index]
        outcome, reason = _standing(node, state)
        number = round_of(node) if node.kind.rounds else 0
        again = node.repeat > 0 and not number and (state.result is None or not node.kind.turns)
        repeat = Repeat(round=number, twin=bool(number) and is_twin(node), again=again)
        if state.result is None:
            return replace(repeat, reason=reason)
        job = self._job(index, state.result)
        if outcome not in (Outcome.PASSED, Outcome.FLAKY):
            found = signature_of(state.result)
            reason = f"{outcome} at {node.stage}: {found.name if number else found.means or found.name}"
        elif number and not job.measurements:
            reason = f"{Path(job.command[0]).name} wrote no sample"
        return replace(repeat, job=job, reason=reason)

    def _realised(self, jobs: Iterable[FinishedJob]) -> tuple[dict[str, RealisedEnvironment], dict[str, StorePath]]:
        """The environments of jobs, and their paths in a Nix store, each path once."""
        environments: dict[str, RealisedEnvironment] = {}
        paths: dict[str, StorePath] = {}
        for digest in dict.fromkeys(job.environment for job in jobs):
            record = json.loads(self._environments.get(digest, "{}"))
            for path, row in record.pop(STORE_PATHS, {}).items():
                paths[path] = StorePath(path=path, size=row["bytes"], references=tuple(row["references"]))
            environments[digest] = _environment(digest, record)
        return environments, dict(sorted(paths.items()))

    def is_wrong(self, artifacts: Mapping[str, str]) -> bool:
        """Whether a cell that ran to its end with these artifacts has wrong outputs."""
        return bool(matching(artifacts, EXPECTED)) and self._compared_outputs(artifacts)[2] is Outcome.WRONG_OUTPUT

    def _compared_outputs(
        self, artifacts: Mapping[str, str]
    ) -> tuple[Comparison | None, Movement | None, Outcome, str]:
        """What a cell that ran is found to be. Bytes that changed on this disk say nothing about a release."""
        try:
            comparison, movement = self._compare(artifacts), self._movement(artifacts)
        except BlobDamaged as damaged:
            return None, None, Outcome.INFRASTRUCTURE, f"{damaged}; {damaged.tip}"
        return comparison, movement, Outcome.PASSED if comparison.equal else Outcome.WRONG_OUTPUT, ""

    def _compare(self, artifacts: Mapping[str, str]) -> Comparison:
        outputs = tuple(artifacts[name] for name in matching(artifacts, OUTPUT))
        expected = tuple(artifacts[name] for name in matching(artifacts, EXPECTED))
        key = (outputs, expected)
        if key not in self.compared:
            size = self._size or (lambda _: 0)
            refused = far_larger([size(digest) for digest in outputs], [size(digest) for digest in expected])
            self.compared[key] = refused or compare_outputs(
                [self._read(digest) for digest in outputs],
                [self._read(digest) for digest in expected],
                self._plan.spec.tolerance,
                read_dtypes(self._read(record)) if (record := record_of(artifacts)) else (),
            )
        return self.compared[key]

    def _movement(self, artifacts: Mapping[str, str]) -> Movement | None:
        """What the front end of a cell says of its reference; None where it has none, or the reference was given."""
        digest = record_of(artifacts)
        if digest and digest not in self._movements:
            said = read_movement(self._read(digest), self._plan.spec.tolerance)
            self._movements[digest] = replace(said, unknown=without_folders(said.unknown))
        return self._movements.get(digest)


def _environment(digest: str, record: Mapping[str, Any]) -> RealisedEnvironment:
    """From the bytes in a store, even if they are damaged."""
    kinds_of = {each.name: dict if each.name == "distributions" else str for each in fields(RealisedEnvironment)}
    known = {name: record[name] for name, kind in kinds_of.items() if isinstance(record.get(name), kind)}
    rest = {name: value for name, value in record.items() if name not in known}
    return RealisedEnvironment(**{**known, "digest": digest, "evidence": rest})


def _labels(values: Iterable[AxisValue]) -> tuple[str, ...]:
    return tuple(value.label for value in values)


def _axis(plan: Plan, name: str) -> RunAxis:
    """The facts of an axis for tables. A value that was built from source has its origin."""
    values = plan.axes[name]
    builds = [next((part.build for part in value.parts.values() if part.build), None) for value in values]
    own = name in plan.spec.own_axes
    return RunAxis(
        name=name,
        values=tuple(
            RunValue(label=value.label, note=value.note, release=build.release if build else "")
            for value, build in zip(values, builds, strict=True)
        ),
        tied=plan.spec.ties.get(name, ""),
        exporter=own and any(part.packages for value in values for part in value.parts.values()),
    )


def _ended(node: Node, state: NodeState) -> tuple[Outcome, str, Signature | None]:
    """How a node ended. Of one that only loads a module, as its device is not here, only a refusal by a gate counts."""
    outcome, reason = _standing(node, state)
    absent, result = dict(node.parameters).get(ABSENT, ""), state.result
    known = outcome in (Outcome.PASSED, Outcome.FLAKY)
    signature = signature_of(result) if result and not known else None
    if absent and result and not (signature and signature.name in gates()):
        return Outcome.UNTESTED, absent, None
    return outcome, reason, signature


def _standing(node: Node, state: NodeState) -> tuple[Outcome, str]:
    if state.result is not None:
        return state.result.outcome, _reason(state.result)
    if state.obstacle is not None:
        return state.obstacle
    return Outcome.UNTESTED, f"{node.stage} is planned, not run yet"


def _lacking(repeats: Iterable[Repeat]) -> str:
    """Why stages that measure left no figure, each reason once."""
    return "; ".join(dict.fromkeys(each.lacking for each in repeats if each.lacking))


def _reason(result: JobResult) -> str:
    """Why a job that ended has no verdict."""
    if result.outcome is not Outcome.FLAKY:
        return result.end.error
    ends = ", then ".join(each.status for each in (*result.attempts, result.end))
    return f"the same job ended differently each time: {ends}"
