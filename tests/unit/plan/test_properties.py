"""Laws of planning, keys and scheduling, on specs and outcomes that hypothesis makes up."""

from __future__ import annotations

import dataclasses
import itertools
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import RELEASES, STAGES, catalogue, result, spec_of

from matrix.core.errors import MatrixEmpty
from matrix.core.keys import job_key
from matrix.core.records import Limits, Outcome, Stage
from matrix.plan.axes import resolve_axes
from matrix.plan.graph import NOTHING_TO_DO, Plan, make_plan
from matrix.plan.spec import OwnValue, Rule, Spec
from matrix.plan.stages import kinds
from matrix.run.judging import Judge
from matrix.run.schedule import Schedule

few = settings(derandomize=True, max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
BASE, KNOWN = spec_of(), catalogue()


def some(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True).map(tuple)


AXES = {
    "model": some(("linear", "copy", "given")),
    "python": some(("3.9", "3.10", "3.11")),
    "torch": st.just(("2.9.1",)),
    "turbine": st.just(("3.9.0",)),
    "compiler": some(RELEASES),
    "runtime": some(RELEASES),
    "target": some(("x86_64", "aarch64")),
    "flags": some(("default", "again", "o3")),
}
FLAGS = st.sampled_from(((), ("-a",), ("-b",)))
OWN = st.dictionaries(
    st.sampled_from(("u", "v", "w")),
    st.builds(OwnValue, flags=st.fixed_dictionaries({"compile": FLAGS, "run": FLAGS})),
    min_size=1,
    max_size=3,
)


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    own = {"size": draw(OWN)} if draw(st.booleans()) else {}
    axes = {axis: draw(values) for axis, values in AXES.items()} | {axis: tuple(own[axis]) for axis in own}
    conditions = st.fixed_dictionaries({}, optional={axis: AXES[axis] for axis in ("compiler", "runtime", "python")})
    rules = {
        key: tuple(
            Rule(place=f"{key}[{index}]", when=when, reason=f"{key} {index}")
            for index, when in enumerate(draw(st.lists(conditions.filter(bool), max_size=2)))
        )
        for key in ("exclude", "include")
    }
    stages = STAGES[: draw(st.integers(1, 3))]
    return dataclasses.replace(BASE, axes=axes, own_axes=own, stages=stages, **rules)


def planned(spec: Spec) -> Plan | None:
    try:
        return make_plan(spec, KNOWN)
    except MatrixEmpty:
        assert spec.exclude or spec.stages == ("export",)
        return None


def meant(labels: dict[str, str]) -> tuple[str, ...]:
    """The cell of a point: a model that needs no export has no exporter."""
    nothing = ("python", "torch", "turbine") if labels["model"] == "given" else ()
    return tuple("-" if axis in nothing else label for axis, label in labels.items())


@few
@given(specs())
def test_cells_are_the_product_of_the_axes_and_what_includes_add(spec):
    plan = planned(spec)
    if plan is None:
        return
    axes = resolve_axes(spec, KNOWN)
    every = itertools.product(*([value.label for value in row] for row in axes.values()))
    product = {meant(dict(zip(axes, labels, strict=True))) for labels in every}
    cells = [tuple(cell.labels.values()) for cell in plan.cells]
    assert len(set(cells)) == len(cells)
    assert product <= set(cells)
    assert product == set(cells) or spec.include
    for cell in plan.cells:
        if tuple(cell.labels.values()) not in product:
            assert cell.note.startswith("include")


@few
@given(specs())
def test_every_cell_has_jobs_or_a_reason(spec):
    plan = planned(spec)
    if plan is None:
        return
    reasons = {rule.reason for rule in spec.exclude} | {NOTHING_TO_DO}
    for cell in plan.cells:
        assert bool(cell.nodes) is not bool(cell.excluded)
        assert not cell.excluded or cell.excluded in reasons
        if any(all(cell.labels[axis] in wanted for axis, wanted in rule.when.items()) for rule in spec.include):
            assert cell.note
            assert cell.excluded not in {rule.reason for rule in spec.exclude}


@few
@given(specs())
def test_the_nodes_of_a_cell_are_a_chain(spec):
    plan = planned(spec)
    if plan is None:
        return
    assert [node.index for node in plan.nodes] == list(range(len(plan.nodes)))
    for cell in plan.cells:
        before: tuple[int, ...] = ()
        for index in cell.nodes:
            assert plan.nodes[index].above == before
            before = (index,)
        if cell.nodes:
            stages = [plan.nodes[index].stage for index in cell.nodes]
            given_model = cell.labels["model"] == "given"
            assert stages == list(spec.stages)[1 if given_model else 0 :]
            brought = [name for name, _, _ in plan.nodes[cell.nodes[0]].given]
            assert (brought == ["linear.py"]) is not given_model


@few
@given(specs())
def test_two_cells_share_a_job_where_all_parts_up_to_its_stage_are_equal(spec):
    plan = planned(spec)
    if plan is None:
        return
    seen: dict[Stage, dict[tuple[object, ...], int]] = {stage: {} for stage in kinds()}
    for cell in plan.cells:
        upto: tuple[object, ...] = (next((value.given for value in cell.values if value.given), ()),)
        for index in cell.nodes:
            stage = plan.nodes[index].stage
            foreign = [value.label for value in cell.values if value.untested] if stage == "run" else []
            upto += (stage, *(value.parts[stage] for value in cell.values if stage in value.parts), *foreign)
            assert seen[stage].setdefault(upto, index) == index
    for stage, combinations in seen.items():
        nodes = [node.index for node in plan.nodes if node.stage == stage]
        assert sorted(combinations.values()) == nodes


OUTCOMES = (*(Outcome.PASSED,) * 6, Outcome.FAILED, Outcome.CRASHED, Outcome.TIMED_OUT, Outcome.INFRASTRUCTURE)


@few
@given(specs(), st.integers(0, 1 << 30))
def test_a_schedule_ends_every_node_and_counts_every_cell_once(spec, seed):
    plan = planned(spec)
    if plan is None:
        return
    luck, schedule = random.Random(seed), Schedule(plan)
    flying: list[int] = []
    offered: set[int] = set()
    ready: set[object] = set()
    while schedule.waiting or flying:
        node = schedule.take()
        if node is not None:
            assert not schedule.states[node.index].over
            assert all(schedule.states[above].result.outcome is Outcome.PASSED for above in node.above)
            if node.request not in ready:
                schedule.park(node)
                continue
            assert node.index not in offered
            offered.add(node.index)
            flying.append(node.index)
        if flying and (node is None or luck.random() < 0.5):
            index = flying.pop(luck.randrange(len(flying)))
            schedule.finish(index, result(plan.nodes[index].stage, luck.choice(OUTCOMES)))
        for request in [request for request in list(schedule._parked) if luck.random() < 0.7]:
            if luck.random() < 0.15:
                schedule.obstruct(request, Outcome.NOT_INSTALLABLE, "no wheels")
            else:
                ready.add(request)
                schedule.unpark(request)
    assert all(state.over for state in schedule.states)
    assert schedule.cells_done == len(plan.cells)
    assert schedule.cells_red == sum(1 for cell in plan.cells if ended(schedule, cell.nodes).red)
    report = Judge(plan, schedule.states, lambda _: b"the same", {}).run()
    assert sum(report.counts().values()) == len(plan.cells)
    assert Outcome.BLOCKED not in report.counts()


def ended(schedule: Schedule, nodes: tuple[int, ...]) -> Outcome:
    """The outcome of the first node that did not pass."""
    for index in nodes:
        state = schedule.states[index]
        outcome = state.obstacle[0] if state.result is None else state.result.outcome
        if outcome is not Outcome.PASSED:
            return outcome
    return Outcome.PASSED


TEXT = st.text("ab1-é", max_size=4)
PAIRS = st.dictionaries(TEXT, TEXT, max_size=4)
JOBS = st.fixed_dictionaries(
    {
        "stage": st.sampled_from(sorted(kinds())),
        "environment": TEXT,
        "script": TEXT,
        "inputs": PAIRS.map(lambda pairs: tuple(pairs.items())),
        "command": st.lists(TEXT, max_size=3).map(tuple),
        "arguments": PAIRS.map(lambda pairs: tuple(pairs.items())),
        "limits": st.builds(
            Limits, seconds=st.floats(1, 9), memory_bytes=st.integers(1, 9), log_bytes=st.integers(1, 9)
        ),
        "repeat": st.integers(0, 3),
    }
)


@few
@given(JOBS, st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_matter_to_a_key(job, luck):
    mixed = {name: tuple(luck.sample(job[name], len(job[name]))) for name in ("inputs", "arguments")}
    assert job_key(**(job | mixed)) == job_key(**job)


@few
@given(JOBS, JOBS)
def test_a_change_of_one_part_changes_a_key(job, other):
    for part in job:
        same = job[part] == other[part] or (part in ("inputs", "arguments") and dict(job[part]) == dict(other[part]))
        assert (job_key(**(job | {part: other[part]})) == job_key(**job)) is same, part
