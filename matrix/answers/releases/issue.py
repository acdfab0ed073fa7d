"""An issue for the project that released it, ready to paste: what happens, since when, the fewest commands. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matrix.answers.causes import orders
from matrix.answers.costs import CostChange
from matrix.answers.differences import axis_words
from matrix.answers.releases.triage import TriagedCell, TriageGroup
from matrix.plan.stages import environments, exchanged, front_end, kinds
from matrix.results.run import Cell, FinishedJob, Run
from matrix.results.times import PLACEMENT, machine_words

OWN_PACKAGES = ("iree-",)
"""Beginnings of the packages whose releases an issue names; what they depend on comes with them."""
LONGEST_MODULE_SHOWN = 4000
"""Characters of a module that an issue shows; a larger one is attached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallModule:
    """A part of a model as MLIR that fails as the whole does: `operations` left and of the whole, `asked` smaller
    modules were compiled, `least`: no single operation can go. `path` is where it was written."""

    text: str
    operations: tuple[int, int]
    whole_bytes: int
    asked: int
    least: bool
    path: str = ""

    @property
    def shown(self) -> bool:
        """Whether it is short enough to stand in the issue."""
        return len(self.text) <= LONGEST_MODULE_SHOWN

    @property
    def words(self) -> str:
        left, count = self.operations
        least = "no tensor of them can go" if self.least else "the budget was spent before the search ended"
        return (
            f"{left} of {count} operations of the model, {len(self.text.encode())} of {self.whole_bytes} bytes: "
            f"{self.asked} parts were compiled with both releases; {least}"
        )


def shown_cell(group: TriageGroup) -> TriagedCell:
    """The confirmed cell that is the easiest to look at."""
    return min((each for each in group.cells if each.confirmed), key=_size)


def failure_issue(
    group: TriageGroup, axis: str, before: str, after: str, small: SmallModule | None = None
) -> Iterator[str]:
    """A group of new failures, shown by its smallest confirmed cell; by a part of its module, if there is one."""
    shown = shown_cell(group)
    cell = shown.after
    cells = [each.after for each in group.cells]
    order = orders(cells, dict.fromkeys(name for each in cells for name in each.axes))
    yield f"# {axis} {after}: {cell.words} (passed with {axis} {before})"
    yield ""
    yield "## What happens"
    yield ""
    yield from _fenced([cell.said])
    yield ""
    yield f"{cell.means}." if cell.means else "The message has no known cause."
    yield ""
    yield "## What was expected"
    yield ""
    yield f"With {axis} {before}, and everything else the same, it passes{_together(shown)}."
    yield ""
    yield from _steps(shown.run, cell, small)
    yield ""
    yield "## Also affected"
    yield ""
    yield f"{len(cells)} of the measured combinations: {axis_words(cells, order)}."
    yield f"Confirmed: {shown.why}."
    yield ""
    yield from _surroundings(shown.run, cell)


def cost_issue(change: CostChange, axis: str, before: str, after: str) -> Iterator[str]:
    """A cost that grew, of one place of a run."""
    run = change.run
    cell = next(
        (each for each in run.cells if each.axes.get(axis) == after and change.axes.items() <= each.axes.items()), None
    )
    yield f"# {axis} {after}: {change.place}: {change.measure.name} {change.words}"
    yield ""
    yield "## What happens"
    yield ""
    floor = f"; the noise floor of the run is {100 * (change.noise_floor - 1):.1f} %" if change.noise_floor else ""
    yield f"{change.measure.name}, {axis} {before} -> {after}: {change.words}{floor}. Both were measured in one run."
    if change.measure.within is None:
        yield f"Note: {PLACEMENT}."
    if cell:
        yield ""
        yield from _steps(run, cell)
        yield ""
        yield f"The same with {axis} {before} is the number to compare with."
        yield ""
        yield from _surroundings(run, cell)


def _size(cell: TriagedCell) -> tuple[bool, int, str]:
    """Cells that run on this kind of machine first, then the smallest model."""
    jobs = cell.run.jobs_of(cell.after)
    files = [file.bytes for job in jobs for name, file in job.artifacts.items() if exchanged((name,))]
    return bool(_notes(cell.run, cell.after)), sum(files), cell.after.name


def _notes(run: Run, cell: Cell) -> list[str]:
    return [note for axis, label in cell.axes.items() if (note := run.notes(axis).get(label))]


def _together(shown: TriagedCell) -> str:
    return ", in the same run on the same machine" if shown.together else ", in another run"


def _steps(run: Run, cell: Cell, small: SmallModule | None = None) -> Iterator[str]:
    """The commands of the cell's own jobs, each in an environment with the release that it was measured with. Of a
    small module only the command that fails."""
    yield "## Steps to reproduce"
    yield ""
    jobs = run.jobs_of(cell)
    if small:
        name = exchanged(jobs[-1].inputs)
        yield f"Save this as `{name}` ({small.words}):" if small.shown else f"Attached as `{name}`: {small.words}."
        yield ""
        if small.shown:
            yield from _fenced(small.text.splitlines())
            yield ""
        yield from _fenced(_tool_lines(run, jobs[-1], set()))
        if not small.shown:
            yield ""
            yield f"Please attach `{small.path}` as `{name}`: it is too long to stand here."
        return
    lines: list[str] = []
    made: set[str] = set()
    for job in jobs:
        lines += _export_lines(cell, job) if job.stage == front_end().name else _tool_lines(run, job, made)
    yield from _fenced(lines)
    yield from _attached(jobs)


def _attached(jobs: Sequence[FinishedJob]) -> Iterator[str]:
    """The files that the commands read, by their digests: those that no command makes, and the model as MLIR."""
    made = {name: file for job in jobs for name, file in job.artifacts.items()}
    given = {name: digest for job in jobs for name, digest in job.inputs.items() if name not in made}
    for name, digest in sorted(given.items()):
        yield ""
        yield f"Please attach `{name}` (sha256 `{digest}`): the commands read it and do not make it."
    for name, file in made.items():
        if exchanged((name,)):
            yield ""
            yield f"Please attach `{name}` ({file.bytes} bytes, sha256 `{file.sha256}`) if it cannot be made there."


def _export_lines(cell: Cell, job: FinishedJob) -> list[str]:
    """The model as a file, by this project: exporting it takes an environment with torch."""
    name = exchanged(job.artifacts)
    if not name:
        return [cell.reproduce]
    stem = name.rpartition(".")[0]
    options = [f"--{axis} {cell.axes[axis]}" for axis in ("python", *_front_axes()) if axis in cell.axes]
    lines = [f"python -m matrix export {shlex.quote(cell.axes['model'])} {' '.join(options)} --arrays -o {name}"]
    arrays = [other for other in job.artifacts if other.endswith(".npy")]
    return [*lines, *(f"mv {stem}.{other} {other}" for other in sorted(arrays))]


def _front_axes() -> tuple[str, ...]:
    return environments()[front_end().environment].axes


def _tool_lines(run: Run, job: FinishedJob, made: set[str]) -> list[str]:
    """The environment of a job, the first time, and its command in it."""
    environment = run.environments.get(job.environment)
    folder = job.lock.partition("/")[0] or job.stage
    lines = []
    if environment and job.environment not in made:
        made.add(job.environment)
        packages = [f"{n}=={v}" for n, v in environment.distributions.items() if n.startswith(OWN_PACKAGES)]
        python = "python" + ".".join(environment.python.split(".")[:2])
        lines.append(f"{python} -m venv {folder} && {folder}/bin/pip install {' '.join(packages)}")
    words = list(job.command)
    if words and kinds()[job.stage].script == "":
        words[0] = f"{folder}/bin/{words[0]}"
    return [*lines, shlex.join(words)]


def _surroundings(run: Run, cell: Cell) -> Iterator[str]:
    yield "## Surroundings"
    yield ""
    for job in run.jobs_of(cell):
        environment = run.environments.get(job.environment)
        python = f", Python {environment.python}, {environment.c_library}" if environment else ""
        yield f"- {job.stage}: {job.lock}{python}; {machine_words(job.machine)}; {job.finished_at[:10]}; {job.status}"
    for note in _notes(run, cell):
        yield f"- {note}"
    yield f"- the same question to this project: `{cell.reproduce}`"


def _fenced(lines: Sequence[str]) -> Iterator[str]:
    yield "```"
    yield from (line.replace("```", "` ` `") for line in lines)
    yield "```"
