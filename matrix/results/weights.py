"""The sizes of modules and programs, as sections: a `.vmfb` by part, with what it reveals and the flags that remove it;
a runtime from source, with the memory that modules need on it. No times. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import fields
from functools import partial

from matrix.artifacts.compiler.statistics import CompileStatistics
from matrix.plan.axes import NONE
from matrix.plan.backends.iree.environments import COMPILER, FLAGS, RUNTIME
from matrix.plan.backends.iree.names import VMFB
from matrix.plan.backends.iree.source_builds import RUNNER, UNSTRIPPED
from matrix.results.measured.figures import Module
from matrix.results.run import Cell, FinishedJob, Run
from matrix.results.sections import Block, Column, Section, Words, by_axes, differing, grid

MIB = 1 << 20
WEIGHED_PARTS = {
    "code": ("code",),
    "constants": ("constants",),
    "debug": ("executable debug", "VM debug"),
}
"""A column of the table -> the parts of the file that it adds up; the rest is `other`."""
LEAKS = {
    "paths": "absolute path",
    "file names": "file name",
    "dispatches": "dispatch name",
    "libraries": "library name",
    "functions": "function name",
}
"""A column -> the kind of string whose number in the file it shows."""


def _weight(module: Module, title: str) -> int:
    return sum(module.parts.get(part, 0) for part in WEIGHED_PARTS[title])


def _strings(module: Module, kind: str) -> int:
    return module.strings.get(kind, 0)


def _other(module: Module) -> int:
    return module.bytes - sum(_weight(module, title) for title in WEIGHED_PARTS)


def _kilobytes(size: int) -> str:
    return f"{size / 1e3:.1f}"


MODULE_COLUMNS = (
    Column(title="kB", value=lambda module: module.bytes, text=_kilobytes),
    *(Column(title=title, value=partial(_weight, title=title), text=_kilobytes) for title in WEIGHED_PARTS),
    Column(title="other", value=_other, text=_kilobytes),
    *(Column(title=title, value=partial(_strings, kind=kind)) for title, kind in LEAKS.items()),
)


def _modules(run: Run) -> Iterator[Block]:
    """All audited modules, and what removes the strings, in words."""
    if run.modules:
        axes = differing(run.names, [each.axes for each in run.modules], always=COMPILER)
        yield Words(text="what is in each .vmfb: kB by part, and strings that tell where it comes from, as counts")
        yield grid([*by_axes(axes, lambda module: module.axes), *MODULE_COLUMNS], run.modules)
        for sentence in recipe(run):
            yield Words(text=sentence)


MODULE_WEIGHTS = Section(name="modules", blocks=_modules)


STATISTIC_NAMES = tuple(field.name for field in fields(CompileStatistics))


def statistics_of(run: Run, cell: Cell) -> dict[str, int]:
    """What the compiler said of the cell's module, by the names of `CompileStatistics`; empty if it did not."""
    found = {name: value for job in run.jobs_of(cell) for name, value in job.measurements.items()}
    return {name: found[name] for name in STATISTIC_NAMES if type(found.get(name)) is int}


def _statistics(run: Run) -> dict[str, dict[str, int]]:
    found = {cell.name: statistics_of(run, cell) for cell in run.cells}
    return {name: each for name, each in found.items() if each}


def _figure(row: dict[str, int], name: str) -> int | None:
    return row.get(name)


COMPILE_STATISTICS = Section(
    name="compile statistics",
    blocks=lambda _: (),  # a line a compile would be longer than all the rest; `why`, `diff` and the data have them
    columns=tuple(Column(key=name, value=partial(_figure, name=name)) for name in STATISTIC_NAMES),
    rows=_statistics,
    on_site=False,
)


def recipe(run: Run) -> Iterator[str]:
    """For each kind of string: the flag sets whose modules have none, or that there is no such set."""
    by_flags: dict[str, list[Module]] = {}
    for module in run.modules:
        by_flags.setdefault(module.axes.get(FLAGS, NONE), []).append(module)
    for kind in LEAKS.values():
        holding = [flags for flags, modules in by_flags.items() if any(each.strings.get(kind) for each in modules)]
        clean = [flags for flags in by_flags if flags not in holding]
        if not holding:
            yield f"{kind}s: in no module, whatever the flags"
        elif clean:
            yield f"{kind}s: flags {', '.join(clean)} leave none in any module; {', '.join(holding)} do"
        else:
            yield f"{kind}s: none of the flags {', '.join(by_flags)} removes them from all modules"


# -- runtimes built from source


def _bytes(size: int) -> str:
    return f"{size:,}"


def _size(job: FinishedJob, name: str) -> int:
    file = job.artifacts.get(name)
    return file.bytes if file else 0


def _mebibytes(peak: int | str) -> str:
    """`-` if the run ended before it was measured."""
    return peak if isinstance(peak, str) else f"{peak / MIB:.0f}"


PROGRAM_COLUMNS = (
    Column(title=RUNTIME, value=lambda row: row[0], align="left"),
    Column(title=RUNNER, value=lambda row: _size(row[1], RUNNER), text=_bytes),
    Column(title="with debug symbols", value=lambda row: _size(row[1], UNSTRIPPED), text=_bytes),
)
RAN_COLUMNS = (
    Column(title=".vmfb bytes", value=lambda row: max(_size(job, VMFB) for job in row[1]), text=_bytes),
    Column(title="peak MiB", value=lambda row: row[1][-1].peak_bytes or NONE, text=_mebibytes),
)


def _builds(run: Run) -> Iterator[Block]:
    """The programs, then every module that passed on one of them, of the newest compiler."""
    programs = {cell.axes[RUNTIME]: job for cell in run.cells for job in run.jobs_of(cell) if _built(job)}
    if not programs:
        return
    yield Words(text="runtimes built from source: bytes on the board, and with debug symbols")
    yield grid(PROGRAM_COLUMNS, sorted(programs.items()))
    if cells := _ran(run, programs):
        axes = [axis.name for axis in run.axes if len({cell.axes.get(axis.name) for cell in cells}) > 1]
        yield Words(
            text="what ran right on them, by the newest compiler that does; an emulator's memory is in the peak"
        )
        rows = [(cell, run.jobs_of(cell)) for cell in cells]
        yield grid([*by_axes(axes, lambda row: row[0].axes), *RAN_COLUMNS], rows)


BUILDS = Section(name="builds", blocks=_builds)


def _built(job: FinishedJob) -> bool:
    """It built a runtime; a program with a model in it has no separate debug symbols."""
    return job.artifacts.keys() >= {RUNNER, UNSTRIPPED}


def _ran(run: Run, programs: Container[str]) -> list[Cell]:
    """The last cell that passed, in the order of the compilers, for each place on the other axes, in order."""
    rank = {(axis.name, label): index for axis in run.axes for index, label in enumerate(axis.labels)}
    others = [axis.name for axis in run.axes if axis.name != COMPILER]

    def place(cell: Cell) -> tuple[int, ...]:
        return tuple(rank.get((axis, cell.axes.get(axis, NONE)), -1) for axis in others)

    ran = [cell for cell in run.cells if cell.passed and cell.axes.get(RUNTIME) in programs]
    ran = [cell for cell in ran if any(map(_built, run.jobs_of(cell)))]  # not one without a runtime
    ran.sort(key=lambda cell: rank.get((COMPILER, cell.axes.get(COMPILER, NONE)), -1))
    return sorted({tuple(cell.axes.get(axis) for axis in others): cell for cell in ran}.values(), key=place)
