"""The measured square set `exporters`, asked again from few cells: what they find, beside what all 1060 said.

docs/spec.md has the figure.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from matrix.core.records import Outcome
from matrix.plan.covering.densify import find_denser
from matrix.plan.covering.space import Labels, Options
from matrix.plan.question import Question
from matrix.results.files import read_run
from matrix.results.run import Cell, Run
from matrix.run.planning import plan_of

ROOT = Path(__file__).parents[3]
SEEDS = range(5)


@pytest.fixture(scope="module")
def measured() -> Run:
    return read_run(ROOT / "results" / "exporters.json")


def neighbours(run: Run) -> set[frozenset[Labels]]:
    """The boundaries of the whole run, found without the code under test: on each line of releases, measured cells next
    to each other that end differently."""
    found = set()
    lines: dict[tuple[object, ...], list[Cell]] = {}
    for cell in run.cells:
        for axis in run.axes:
            if cell.measured and axis.name not in run.ties and len(axis.labels) > 1 and axis.name != "model":
                tied = [name for name, other in run.ties.items() if other == axis.name]
                rest = {name: label for name, label in cell.axes.items() if name != axis.name and name not in tied}
                lines.setdefault((axis.name, *rest.items()), []).append(cell)
    for (name, *_), cells in lines.items():
        line = sorted(cells, key=lambda cell: _release(cell.axes[str(name)]))
        for one, other in itertools.pairwise(line):
            if one.words != other.words:
                found.add(frozenset({tuple(one.axes.values()), tuple(other.axes.values())}))
    return found


def _release(label: str) -> tuple[int, ...]:
    return tuple(map(int, label.split(".")))


def replayed(run: Run, seed: int) -> tuple[list[Cell], set[frozenset[Labels]]]:
    """The cells that `--cover 1 --densify` asks for, answered by the run; and the boundaries that it ends with."""
    ends = {tuple(cell.axes.values()): cell for cell in run.cells}
    plan = plan_of(Question(preset="exporters", cover="1", seed=str(seed)))
    assert plan.chosen
    space = plan.chosen.space
    asked: dict[Options, Cell] = {}

    def ask(cells: Iterator[Labels]) -> bool:
        new = {space.options_of(labels): ends[labels] for labels in cells}
        before = len(asked)
        asked.update({options: cell for options, cell in new.items() if options})
        return len(asked) > before

    ask(tuple(cell.labels.values()) for cell in plan.cells)
    while True:
        known = {options: cell.words for options, cell in asked.items() if cell.measured}
        found = find_denser(space, known, [options for options in asked if options not in known])
        if not ask(map(space.labels_of, found.cells)):
            pairs = {frozenset(map(space.labels_of, pair)) for pair in found.boundaries}
            return [*asked.values()], pairs


def test_a_sixth_of_the_cells_finds_every_failure_class_and_every_boundary(measured):
    classes = {cell.words for cell in measured.cells if cell.outcome.red}
    boundaries = neighbours(measured)
    assert len(classes) > 1 and len(boundaries) > 50
    counts = []
    for seed in SEEDS:
        cells, found = replayed(measured, seed)
        assert {cell.words for cell in cells if cell.outcome.red} == classes
        assert found == boundaries
        assert all(cell.measured or cell.outcome is Outcome.UNTESTED for cell in cells)
        counts.append(len(cells))
    assert max(counts) <= len(measured.cells) / 4
    said = re.search(
        r"(\d+) to (\d+) of the (\d+) cells of `exporters` find all (\d+) classes of failures and all (\d+) boundaries",
        " ".join((ROOT / "docs" / "spec.md").read_text(encoding="utf-8").split()),
    )
    assert said, counts
    assert [*map(int, said.groups())] == [min(counts), max(counts), len(measured.cells), len(classes), len(boundaries)]
