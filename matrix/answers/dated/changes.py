"""What changed between two runs of the same cells without a new release: ends, environments, modules. Pure.

The cells that two runs have in common name the same releases. So whatever ends differently there has another cause: a
wheel that was repaired, packages beside it, another machine or engine, or a result that does not repeat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from matrix.core.text import counted
from matrix.results.run import Cell, FinishedJob, Run

UNEXPLAINED = "nothing that is known of changed: the result does not repeat"


def unprompted_lines(before: Run, after: Run) -> list[str]:
    """The findings under their heading; empty if nothing changed without a new release."""
    found = [*_environments(before, after), *_ends(before, after), *_artifacts(before, after)]
    return ["", "changed without a new release", *(f"  {line}" for line in found)] if found else []


def _environments(before: Run, after: Run) -> Iterator[str]:
    """Environments of the same name, Python and C library with other content."""
    old = {(each.lock, each.engine, each.python, each.c_library): each for each in before.environments.values()}
    for environment in after.environments.values():
        key = (environment.lock, environment.engine, environment.python, environment.c_library)
        was = old.get(key)
        if was is None or was.digest == environment.digest:
            continue
        versions = {*was.distributions.items()} ^ {*environment.distributions.items()}
        moved = sorted({name for name, _ in versions})
        if moved:
            what = f"packages beside its releases moved: {', '.join(moved[:5])}" + (" …" if len(moved) > 5 else "")
        elif was.lock_sha256 == environment.lock_sha256:
            what = "other content from the same lock: files were changed after they were installed, or are others"
        else:
            what = "the same versions from other files: a wheel was repaired or replaced"
        yield f"environment {environment.lock}: {what}"


def _ends(before: Run, after: Run) -> Iterator[str]:
    """Cells that end differently, by what else differs in their jobs."""
    was = {cell.name: cell for cell in before.cells if cell.measured}
    found: Counter[tuple[str, str, str]] = Counter()
    for cell in after.cells:
        old = was.get(cell.name)
        if old and cell.measured and old.words != cell.words:
            found[old.words, cell.words, _cause(before, old, after, cell)] += 1
    for (old_words, words, cause), count in found.most_common():
        yield f"{counted(count, 'cell')}: {old_words} -> {words}; {cause}"


def _cause(before: Run, old: Cell, after: Run, new: Cell) -> str:
    """What differs between the jobs of a cell, stage by stage."""
    first, second = ({job.stage: job for job in run.jobs_of(cell)} for run, cell in ((before, old), (after, new)))
    shared = [(first[stage], second[stage]) for stage in first if stage in second]
    differs = []
    for what, value in (("environment", _environment), ("machine", _machine), ("engine", _engine)):
        pairs = {(value(one), value(other)) for one, other in shared}
        ends = sorted((one, other) for one, other in pairs if one != other)
        differs += [f"{what} {one} -> {other}" if what != "environment" else f"{what} of {one}" for one, other in ends]
    return ", ".join(differs) or UNEXPLAINED


def _environment(job: FinishedJob) -> str:
    return f"{job.lock} ({job.environment[:8]})"


def _machine(job: FinishedJob) -> str:
    return job.machine


def _engine(job: FinishedJob) -> str:
    return job.engine


def _artifacts(before: Run, after: Run) -> Iterator[str]:
    """Jobs with the same key that left other bytes."""
    stages: Counter[str] = Counter()
    same: Counter[str] = Counter()
    for key in before.jobs.keys() & after.jobs.keys():
        one, other = before.jobs[key], after.jobs[key]
        names = one.artifacts.keys() & other.artifacts.keys()
        same[one.stage] += bool(names)
        stages[one.stage] += any(one.artifacts[name].sha256 != other.artifacts[name].sha256 for name in names)
    for stage, count in stages.items():
        if count:
            yield f"{count} of {counted(same[stage], f'{stage} job')} left other bytes from the same inputs"
