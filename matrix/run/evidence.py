"""The results of earlier runs, without running anything."""

from __future__ import annotations

import itertools
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from matrix.core.blobs import RUN_AGAIN, read_exactly
from matrix.core.data import default_store
from matrix.core.errors import BlobDamaged, EngineMissing, FileFault, MatrixError
from matrix.core.keys import sha256
from matrix.core.records import DEFAULT_ENGINE, AxisValue, EnvironmentRequest, JobResult, Outcome
from matrix.engines.choice import lookup_engine
from matrix.engines.contract import Engine
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.plan.graph import NodeState, Plan
from matrix.plan.question import Question, one_of, question_from
from matrix.plan.stages import Node, is_file, make_job
from matrix.plan.user_inputs import model_names
from matrix.results.run import Cell, Run
from matrix.run.judging import Judge
from matrix.run.own.models import files_of
from matrix.run.planning import plan_of
from matrix.run.schedule import Schedule
from matrix.run.store import Store
from matrix.run.stored.assumed import with_warnings
from matrix.run.stored.profiles import with_profiles

if TYPE_CHECKING:
    from matrix.artifacts.vmfb_audit import VmfbAudit


def no_result(_: JobResult) -> bool:
    """Chooses no result to be measured again."""
    return False


def replay(plan: Plan, store: Store, engine: Engine, *, again: Callable[[JobResult], bool] = no_result) -> Schedule:
    """A schedule that has advanced as far as the store's results allow, without those that `again` chooses. Nodes
    without a result stay as they are."""
    schedule = Schedule(plan)
    digests = known_digests(plan, store, engine, schedule.obstruct)
    while (node := schedule.take()) is not None:
        if node.request not in digests:
            schedule.park(node)
            continue
        above = [made for index in node.above if (made := schedule.states[index].result)]
        result = found_result(node, schedule.artifacts(node), above, store, digests[node.request])
        if result is not None and not again(result):
            schedule.finish(node.index, result)
    return schedule


def found_result(
    node: Node, artifacts: Mapping[str, str], above: Sequence[JobResult], store: Store, environments: Sequence[str]
) -> JobResult | None:
    """The result of a node with these artifacts and results above it. Machines whose results were put together may have
    had several environments for a request, and have gone on from other bytes: the first combination counts that has a
    result."""
    variants = [artifacts]
    for made in above:
        for other in store.alternatives(made.key):
            variants.append({**artifacts, **{artifact.name: artifact.digest for artifact in other.outputs}})
    for variant, environment in itertools.product(variants, environments):
        job = make_job(node, environment=environment, artifacts=variant)
        if (result := store.result(job.key)) is not None:
            return result
    return None


def known_digests(
    plan: Plan, store: Store, engine: Engine, obstruct: Callable[[EnvironmentRequest, Outcome, str], None]
) -> dict[EnvironmentRequest | None, tuple[str, ...]]:
    """The digests of the environments that some run has realised, here or elsewhere, those with most results first.
    `obstruct` is told why there is none."""
    digests: dict[EnvironmentRequest | None, tuple[str, ...]] = {}
    for request in plan.environments():
        recipe, missing = "", ""
        try:
            recipe = engine.recipe(request)
        except EngineMissing as error:
            missing = f"{error}; {error.tip}"
        known = store.environments_known(request, recipe, engine.name)
        if made := tuple(each.digest for each in known if each.digest):
            digests[request] = made
        elif known:
            obstruct(request, Outcome.NOT_INSTALLABLE, known[0].refusal)
        elif missing:
            obstruct(request, Outcome.UNTESTED, missing)
    return digests


def store_run(preset: str, folder: Path, *, engine: str = DEFAULT_ENGINE) -> Run:
    """The record of a preset or a spec from the store; nothing is run. Raises StoreUnusable and the errors of
    planning."""
    planned = plan_of(Question(preset=preset), folder)
    with Store(folder, read_only=True) as store:
        looking = lookup_engine(engine, store.places)
        return judged_cells(planned, replay(planned, store, looking).states, store)


def judged_cells(plan: Plan, states: Sequence[NodeState], store: Store) -> Run:
    """The cells of a plan in their order, judged with the artifacts of the store, warned of, and profiled."""
    place = _place_of(plan, store)
    return with_profiles(with_warnings(judge_of(plan, states, store).run(), plan, place), place)


def _place_of(plan: Plan, store: Store) -> Callable[[str], Path]:
    """The path of an artifact by its digest: of a file that was given, or of the store's copy."""
    given = {digest: path for node in plan.nodes for _, path, digest in node.given}
    return lambda digest: given.get(digest, store.blob(digest))


def judge_of(plan: Plan, states: Sequence[NodeState], store: Store) -> Judge:
    """A judge that reads the artifacts of the store."""
    place = _place_of(plan, store)

    def size(digest: str) -> int:
        try:
            return place(digest).stat().st_size
        except OSError:  # who reads it says so
            return 0

    def audit(digest: str) -> VmfbAudit:
        from matrix.artifacts import vmfb_audit  # it imports numpy, which few verbs need

        if sha256(place(digest)) != digest:
            raise BlobDamaged(f"the artifact {digest[:12]}…: its bytes changed on this disk", tip=RUN_AGAIN)
        return vmfb_audit.audit(place(digest))

    def differ(first: str, second: str) -> tuple[str, ...]:
        from matrix.answers.modules.comparison import compare_modules

        try:
            return compare_modules(place(first), place(second)).classes
        except FileFault:  # no module, or one that `clean` took away
            return ()

    return Judge(
        plan,
        states,
        lambda digest: read_exactly(place(digest), digest),
        store.environment_records(),
        size=size,
        audit=audit,
        differ=differ,
    )


def one_cell(run: Run, choices: Sequence[str], *, words: Sequence[str] = ()) -> Cell:
    """The one cell that AXIS=VALUE words select. `words` are the options of the question, for a command in an error.
    Raises CellUnknown if there is none, or more than one."""
    labels = [cell.axes for cell in run.cells]
    axes = [axis.name for axis in run.axes]
    return run.cells[one_of(labels, choices, axes=axes, name=run.preset, words=words)]


def repeated(options: Namespace) -> list[str]:
    """The words that name the same engine and store again; none for the usual ones."""
    store = [] if options.store == default_store() else ["--store", str(options.store)]
    return [*([] if options.engine == DEFAULT_ENGINE else ["--engine", options.engine]), *store]


# -- the whole store


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the store has of a question that was run before."""

    plan: Plan
    run: Run
    engine: Engine


def found_runs(store: Store, model: str) -> tuple[Answered, ...]:
    """What the store has of a model in all questions that were ever asked of it: `model` is a name, or a file, which is
    found by its digest under whatever name it was measured. In the records it has the name that the file gives it."""
    found = []
    for question, engine_name in map(question_from, dict.fromkeys(store.questions())):
        for asked in _with_model(question, model):
            try:
                plan = plan_of(asked, store.folder)
                labels = {value.label for value in plan.axes[MODEL_AXIS.name] if _is_model(value, model)}
                if not labels:
                    continue
                engine = lookup_engine(engine_name, store.places)
                run = judged_cells(plan, replay(plan, store, engine).states, store)
            except MatrixError:  # a spec, a file or an engine of then is gone
                continue
            name = label_of(model)
            cells = (cell if cell.axes[MODEL_AXIS.name] not in labels else _named(cell, name) for cell in run.cells)
            found.append(Answered(plan=plan, run=replace(run, cells=tuple(cells)), engine=engine))
            break
    return tuple(found)


def label_of(model: str) -> str:
    """The name of a model in tables: of a file, what its file name gives."""
    return next(iter(model_names([model]).values())) if is_file(model) else model


def _with_model(question: Question, model: str) -> Iterator[Question]:
    """The question, and the same one asked of a file: what was measured of a file that was moved has its digest."""
    only = tuple(word for word in question.only if word.partition("=")[0] != MODEL_AXIS.name)
    yield replace(question, only=only)
    if is_file(model):
        yield replace(question, only=only, models=(model,))


def _is_model(value: AxisValue, model: str) -> bool:
    if not is_file(model):
        return value.label == model
    path = Path(model)
    if not path.is_file() or not value.given or value.given[0][2] != sha256(path):
        return False
    beside = [digest for _, _, digest in value.given[1:]]
    return path.suffix != ".py" or beside == [digest for _, _, digest in files_of(path)]


def _named(cell: Cell, name: str) -> Cell:
    return replace(cell, axes={**cell.axes, MODEL_AXIS.name: name})
