"""How to link for the board: the result of every route on every runtime, and the conclusions. Pure.

A route is how IREE's code reaches the CPU. A runtime is IREE's runtime built by one C toolchain, or a program with a
model in it.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from matrix.builds.board_programs import ProgramFacts
from matrix.core.records import Outcome
from matrix.plan.backends.iree.names import BUILD, RUN
from matrix.plan.backends.iree.source_builds import RUNNER
from matrix.results.run import Cell, File, Run
from matrix.results.sections import Column, Grid, grid
from matrix.results.signatures import UNRECOGNISED

REPAIRED = "embedded-repaired"
EMBEDDED = (REPAIRED, "embedded")
"""Routes that run machine code and need no C library on the board, the preferred one first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardCell:
    """A cell as it is shown and compared. `detail` is the error, the signature or the signal."""

    model: str
    route: str
    runner: str
    outcome: Outcome
    detail: str = ""

    @property
    def cell(self) -> str:
        return f"{self.model} {self.route} {self.runner}"

    @property
    def verdict(self) -> str:
        """`passed`, `failed: elf-imports`: the expectation for a cell. Wrong numbers may differ."""
        failed = self.outcome in (Outcome.FAILED, Outcome.CRASHED)
        return f"{self.outcome.value}: {self.detail}" if failed else self.outcome.value


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRuntime:
    """The result of a toolchain for the board: IREE's runtime, or programs with a model in them.

    `size` is in bytes (of programs: the largest), `routes` are those whose models it runs, `whole` is False for a
    program that holds one model.
    """

    name: str
    size: int
    facts: ProgramFacts
    routes: tuple[str, ...]
    whole: bool = True

    @property
    def dynamic(self) -> bool:
        return bool(self.facts.needs)

    @property
    def needs(self) -> str:
        """What the board needs besides it."""
        return ", ".join(self.facts.needs)


def programs_of(run: Run, stage: str) -> dict[str, File]:
    """The program that a stage made for each runtime, if the stage or, for a linked program, the cell passed; the
    largest if there are several."""
    found: dict[str, File] = {}
    for cell in run.cells:
        job = next((job for job in run.jobs_of(cell) if job.stage == stage and job.outcome is Outcome.PASSED), None)
        if job and (stage == BUILD or cell.passed):
            name, made = cell.axes["runtime"], job.artifacts[RUNNER]
            found[name] = max(found.get(name, made), made, key=lambda file: file.bytes)
    return found


def row_of(run: Run, cell: Cell) -> BoardCell:
    """A cell that was measured or blocked, without the axes that all cells have in common."""
    labels = cell.axes
    return BoardCell(
        model=labels["model"],
        route=labels["route"],
        runner=labels["runtime"],
        outcome=cell.outcome,
        detail="" if cell.passed else _detail(run, cell),
    )


def _detail(run: Run, cell: Cell) -> str:
    """The signature, the signal, or the text of an unknown error; before the run also the stage."""
    end = run.jobs_of(cell)[-1] if cell.jobs else None
    if cell.outcome is Outcome.CRASHED and end:
        text = signal.Signals(end.signal).name
    elif cell.signature == UNRECOGNISED and end:
        text = f"exit code {end.exit_code}: {cell.message[:120]}"
    else:
        text = cell.signature or cell.said
    return text if cell.stage in ("", RUN) else f"{cell.stage}: {text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """The results of the models for one route on one runtime."""

    route: str
    runner: BoardRuntime
    rows: tuple[BoardCell, ...]

    def among(self, *outcomes: Outcome) -> str:
        return f"{sum(row.outcome in outcomes for row in self.rows)}/{len(self.rows)}"

    @property
    def reasons(self) -> str:
        return "; ".join(dict.fromkeys(row.detail for row in self.rows if row.outcome is not Outcome.PASSED))


LINKAGE_COLUMNS = (
    Column(title="route", value=lambda each: each.route),
    Column(title="link", value=lambda each: "dynamic" if each.runner.dynamic else "static"),
    Column(title="float ABI", value=lambda each: each.runner.facts.float_abi),
    Column(title="runner", value=lambda each: each.runner.name),
    Column(title="loads", value=lambda each: each.among(Outcome.PASSED, Outcome.WRONG_OUTPUT)),
    Column(title="right", value=lambda each: each.among(Outcome.PASSED)),
    Column(title="bytes", value=lambda each: each.runner.size, text="{:,}".format),
    Column(title="the board must have", value=lambda each: each.runner.needs or "nothing"),
    Column(title="why not", value=lambda each: each.reasons),
)


def linkage_table(rows: Sequence[BoardCell], runners: Sequence[BoardRuntime]) -> Grid:
    """Route x runtime: link, float ABI, how many models load and are right, size, what the board needs."""
    routes = dict.fromkeys(route for runner in runners for route in runner.routes)
    pairs = ((route, runner) for route in routes for runner in runners if route in runner.routes)
    return grid(
        LINKAGE_COLUMNS, [Linked(route=route, runner=runner, rows=_of(rows, route, runner)) for route, runner in pairs]
    )


def _of(rows: Sequence[BoardCell], route: str, runner: BoardRuntime) -> tuple[BoardCell, ...]:
    return tuple(row for row in rows if (row.route, row.runner) == (route, runner.name))


def advice(rows: Sequence[BoardCell], runners: Sequence[BoardRuntime]) -> tuple[str, str]:
    """Two sentences: what to put on the board, and what works without the repaired linker."""
    runners = [runner for runner in runners if runner.whole]
    right = {
        (route, runner.name)
        for runner in runners
        for route in runner.routes
        if {row.outcome for row in _of(rows, route, runner)} == {Outcome.PASSED}
    }
    by_size = sorted(runners, key=lambda runner: (runner.dynamic, runner.size))
    return _best(by_size, right), _as_shipped(by_size, right)


def _best(runners: Sequence[BoardRuntime], right: set[tuple[str, str]]) -> str:
    for runner in runners:
        for route in EMBEDDED:
            if (route, runner.name) in right:
                needs = f"needs {runner.needs or 'nothing else'}"
                link = "dynamic" if runner.dynamic else "static"
                what = f"{runner.name} ({runner.size / 1e6:.1f} MB, {runner.facts.float_abi} float ABI)"
                return (
                    f"Link {link}ally: the {link} runner {what} {needs} and runs every model tried as machine code by "
                    f"the route {route}."
                )
    return "No runner runs every model tried as machine code by an embedded route."


def _as_shipped(runners: Sequence[BoardRuntime], right: set[tuple[str, str]]) -> str:
    """The routes by which every runtime works completely without the repaired linker."""
    shipped = {
        runner.name: [route for route in runner.routes if route != REPAIRED and (route, runner.name) in right]
        for runner in runners
    }
    parts = [f"{name} has {', '.join(routes) or 'no route'}" for name, routes in shipped.items()]
    needing = [f"{runner.name} needs {runner.needs}" for runner in runners if runner.needs]
    return "With IREE's own linker " + ", ".join(parts) + "".join(f" ({need} on the board)" for need in needing) + "."
