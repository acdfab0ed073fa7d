"""Covering arrays: few cells with every allowed pair, counted by other means than those that made them."""

from __future__ import annotations

import itertools
import random
import time

import pytest
from pace import allowed
from samples import catalogue, plan_of, spec_of

from matrix.core.errors import MatrixError, SpecError
from matrix.core.records import AxisValue
from matrix.plan.axes import ordered_axes, resolve_axes
from matrix.plan.cells import Rules, boxes_of, points
from matrix.plan.covering import choice
from matrix.plan.covering.array import covering_array
from matrix.plan.covering.checking import count_coverage
from matrix.plan.covering.densify import find_denser
from matrix.plan.covering.space import make_space
from matrix.plan.graph import Plan

SIZES = (6, 13, 14, 15, 15, 3, 10, 8)
"""The axes of FACTS: Pythons, torches, turbines, compilers, runtimes, targets, sets of flags, models."""
RULES = (
    ({0: 2}, {1: 6}),
    ({1: 4}, {2: 10}),
    ({3: 5}, {4: 9}),
    ({5: 1}, {3: 3}),
    ({6: 2}, {5: 2}),
    ({7: 1}, {3: 7}),
)
"""Two conditions each: the first so many values of an axis, and the last values of another from a number on."""


def axes_of(sizes: tuple[int, ...] = SIZES, *, forbidden: bool = False) -> str:
    rows = [
        f'[axis.a{axis}.v{value}]\nrun = ["--{axis}={value}"]'
        for axis, size in enumerate(sizes)
        for value in range(size)
    ]
    for (first,), (last,) in ((one.items(), other.items()) for one, other in RULES if forbidden):
        few = [f"v{value}" for value in range(first[1])]
        many = [f"v{value}" for value in range(last[1], sizes[last[0]])]
        rows.append(f'[[exclude]]\nwhen = {{ a{first[0]} = {few}, a{last[0]} = {many} }}\nreason = "no"')
    return "\n".join(rows)


def labels(plan: Plan) -> list[tuple[str, ...]]:
    return [tuple(cell.labels.values()) for cell in plan.cells]


def tuples_in(cells: list[tuple[str, ...]], strength: int) -> set[tuple[tuple[int, str], ...]]:
    return {each for cell in cells for each in itertools.combinations(enumerate(cell), strength)}


def all_cells(body: str) -> list[tuple[str, ...]]:
    """Every cell that the rules allow, one by one."""
    plan = plan_of(body)
    return [tuple(cell.labels.values()) for cell in plan.cells if not cell.excluded]


@pytest.mark.parametrize(("strength", "most", "seconds"), [(2, 260, 1.0), (3, 3800, 15.0)])
@pytest.mark.parametrize("forbidden", [False, True])
def test_the_axes_of_the_facts(strength, most, seconds, forbidden):
    """59 million cells, with and without six rules."""
    spec = spec_of(axes_of(forbidden=forbidden) + f"\n[cover]\nstrength = {strength}\n")
    axes = resolve_axes(spec, catalogue())
    rules = Rules(spec, catalogue(), axes)
    begun = time.process_time()
    space = make_space(axes, rules, {}, ({},))
    made = covering_array(space, strength, seed=strength)
    assert time.process_time() - begun < allowed(seconds)
    assert len(made) <= most
    found = count_coverage([*boxes_of(axes, rules, {}, ({},))], axes, rules, [*map(space.labels_of, made)], strength)
    assert not found.missing and not found.forbidden
    if not forbidden:
        assert space.upper_count() == 58_968_000 and space.count(1000) is None
        own = [len(values) for values in axes.values() if len(values) > 1]
        product = sum(_product(each) for each in itertools.combinations(own, strength))
        assert found.covered == product


def _product(sizes: tuple[int, ...]) -> int:
    count = 1
    for size in sizes:
        count *= size
    return count


BODIES = {
    "rules": "[axes]\ncompiler = 'all'\nruntime = 'all'\nflags = ['default', 'again', 'o3']\n"
    "[[exclude]]\nwhen = { compiler = '<3.0', flags = 'o3' }\nreason = 'a'\n"
    "[[exclude]]\nwhen = { runtime = '3.7.1', flags = ['again', 'default'] }\nreason = 'b'\n"
    "[[include]]\nwhen = { compiler = '2.9.0', runtime = '3.10.0', flags = 'o3' }\nreason = 'c'\n",
    "ties and models": "[axes]\nmodel = ['linear', 'copy', 'given']\ncompiler = ['2.9.0', '3.0.0', '3.10.0']\n"
    "runtime = '= compiler'\nflags = ['default', 'o3']\ntarget = ['x86_64', 'aarch64']\n"
    "[[exclude]]\nwhen = { model = 'given', compiler = '3.0.0' }\nreason = 'a'\n",
    "tables": "[axes]\ncompiler = 'all'\nruntime = 'all'\nflags = ['default', 'again', 'o3']\n"
    "[[table]]\nrows = 'compiler'\ncolumns = 'runtime'\nwhere = { flags = 'o3' }\n"
    "[[table]]\nrows = 'compiler'\ncolumns = 'flags'\nwhere = { runtime = '3.7.0' }\n",
    "an include off the axes": "[axes]\ncompiler = ['3.0.0', '3.7.0']\nruntime = ['3.0.0', '3.7.0']\n"
    "flags = ['default', 'o3']\n[[include]]\nwhen = { runtime = '2.9.0', compiler = '3.7.0' }\nreason = 'one board'\n",
}


@pytest.mark.parametrize("strength", [1, 2, 3])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_every_tuple_of_every_allowed_cell_is_in_a_chosen_one(body, strength):
    whole = all_cells(body)
    for seed in range(3):
        chosen = labels(plan_of(body + f"[cover]\nstrength = {strength}\nseed = {seed}\n"))
        assert {*chosen} <= {*whole}
        assert tuples_in(chosen, strength) == tuples_in(whole, strength)
        assert len(chosen) == len({*chosen})
        if strength == 1:
            assert len(chosen) < len(whole) / 2


def test_the_same_seed_chooses_the_same_cells_and_another_one_others():
    body = BODIES["rules"] + "[cover]\nstrength = 1\n"
    assert labels(plan_of(body)) == labels(plan_of(body))
    assert len({tuple(labels(plan_of(body + f"seed = {seed}\n"))) for seed in range(5)}) > 1


def test_measured_cells_come_first_and_spare_others():
    from matrix.plan.graph import make_plan

    spec = spec_of(BODIES["rules"] + "[cover]\n")
    alone = labels(make_plan(spec, catalogue()))
    half = alone[::2]
    assert labels(make_plan(spec, catalogue(), first=half)) == alone  # an interrupted run goes on with its own cells
    measured = random.Random(1).sample(all_cells(BODIES["rules"]), 25)
    beside = labels(make_plan(spec, catalogue(), first=[*measured, ("nonsense",) * len(measured[0])]))
    assert {*measured} <= {*beside}
    assert len(beside) - len(measured) < len(alone)
    assert tuples_in(beside, 2) == tuples_in(alone, 2)


def test_a_wrong_array_is_never_planned(monkeypatch):
    """The count has its own means: an array without one of its cells is found out."""
    monkeypatch.setattr(choice, "covering_array", lambda *words: covering_array(*words)[1:])
    with pytest.raises(MatrixError, match="allowed tuples are in no cell"):
        plan_of(BODIES["tables"] + "[cover]\n")


def test_the_count_finds_cells_that_a_rule_forbids():
    spec = spec_of(BODIES["rules"])
    axes = resolve_axes(spec, catalogue())
    rules = Rules(spec, catalogue(), axes)
    every = [tuple(value.label for value in values) for values in points(axes, rules, {}, ({},))]
    found = count_coverage([*boxes_of(axes, rules, {}, ({},))], axes, rules, every, 2)
    allowed_ones = {*all_cells(BODIES["rules"])}
    assert {*found.forbidden} == {*every} - allowed_ones
    assert found.forbidden and not found.missing


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ("strength = 4", "cover.strength: read 4, expected 1 (each value), 2 (each pair) or 3 (each triple)"),
        ("seed = -1", "cover.seed: read -1, expected a whole number from 0"),
        ("seed = true", "cover.seed: read True, expected a whole number from 0"),
        ("densify = 0", "cover.densify: read 0, expected a whole number from 1"),
        ("strenght = 2", "unknown key 'strenght', expected one of strength, seed, densify; did you mean 'strength'?"),
    ],
)
def test_a_fault_of_the_table_is_told(table, fault):
    with pytest.raises(SpecError) as told:
        spec_of(f"[cover]\n{table}\n")
    assert fault in str(told.value)


# -- cells between and around


def test_a_boundary_is_followed_to_its_end():
    """A staircase in a square: from one pair of cells that differ, both sides of every boundary are reached."""
    spec = spec_of("[axes]\ncompiler = 'all'\nruntime = 'all'\nflags = ['default', 'o3']\n[cover]\nstrength = 1\n")
    space = make_space(axes := resolve_axes(spec, catalogue()), Rules(spec, catalogue(), axes), {}, ({},))
    names = ordered_axes(spec)
    at = {name: {value.label: place for place, value in enumerate(axes[name])} for name in names}

    def end(cell: tuple[str, ...]) -> str:
        label: dict[str, str] = dict(zip(names, cell, strict=True))
        return "passed" if at["compiler"][label["compiler"]] >= at["runtime"][label["runtime"]] else "failed"

    every = {cell: end(space.labels_of(cell)) for cell in space.cells()}
    known = {cell: every[cell] for cell in covering_array(space, 1, seed=0)}
    while more := {cell: every[cell] for cell in find_denser(space, known).cells}:
        assert not more.keys() & known.keys()
        known |= more
    pairs = {frozenset(pair) for pair in find_denser(space, known).boundaries}
    assert pairs == {frozenset(pair) for pair in find_denser(space, every).boundaries}
    assert pairs and len(known) < len(every)


def test_a_cell_that_cannot_be_measured_is_passed_over():
    spec = spec_of("[axes]\nruntime = 'all'\n[cover]\nstrength = 1\n")
    space = make_space(axes := resolve_axes(spec, catalogue()), Rules(spec, catalogue(), axes), {}, ({},))
    line = sorted(space.cells(), key=lambda cell: [*map(_release, space.labels_of(cell))])
    ends = {line[0]: "failed", line[-1]: "passed"}
    middle = find_denser(space, ends).cells
    assert middle == (line[(len(line) - 1) // 2],)
    assert find_denser(space, ends, closed=line[1:-1]).boundaries == ((line[0], line[-1]),)


def _release(label: str) -> tuple[int, ...]:
    return tuple(int(part) for part in label.split(".")) if label.replace(".", "").isdigit() else ()


def test_nothing_is_added_where_all_end_alike():
    spec = spec_of("[axes]\nruntime = 'all'\n[cover]\nstrength = 1\n")
    space = make_space(axes := resolve_axes(spec, catalogue()), Rules(spec, catalogue(), axes), {}, ({},))
    assert isinstance(next(iter(axes.values()))[0], AxisValue)
    assert find_denser(space, dict.fromkeys(space.cells(), "passed")).cells == ()
