"""Several runs of one preset, of different machines: names of their own, and a way from each to the others. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from matrix.core.errors import UsageError
from matrix.core.machine import CPU_FLAGS
from matrix.results.run import Run
from matrix.results.times import machine_words, machines_of

ON = ".on-"
"""Between the preset and the machine, in the name of a run that is not the first of its preset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnMachine:
    """A choice of the selector of machines; `link` is empty for the one that is shown."""

    machine: str
    link: str


def named_apart(runs: Sequence[Run]) -> list[Run]:
    """The runs; one of a preset that an earlier one has too gets a name with its machine. Raises UsageError for two
    runs of one preset on the same machine: they would write the same pages."""
    found: dict[str, Run] = {}
    first: dict[str, Run] = {}
    for run in runs:
        before = first.setdefault(run.preset, run)
        name = run.preset if before is run else f"{run.preset}{ON}{_short(run)}"
        twin = before if before is not run and machines_of(before) == machines_of(run) else found.get(name)
        if twin:
            raise UsageError(
                f"{twin.source} and {run.source}: both are of the preset {run.preset} on the same machine, expected "
                "one run of each",
                tip="publish one of the two; runs of other machines may stand beside it",
            )
        found[name] = replace(run, preset=name)
    return list(found.values())


def nearest_first(source: str) -> tuple[int, str]:
    """The order of files: those of a folder before those of the folders in it."""
    return len(PurePath(source).parts), source


def on_machines(run: Run, runs: Sequence[Run], link: Callable[[Run], str]) -> tuple[OnMachine, ...]:
    """The selector of a page of numbers: this run and those of its preset on other machines, where `link` has a page
    for them; empty if there is no other."""
    alike = [each for each in runs if _preset(each) == _preset(run) and (each is run or link(each))]
    if len(alike) < 2:
        return ()
    return tuple(
        OnMachine(machine=" and ".join(machines_of(each)), link="" if each is run else link(each)) for each in alike
    )


def _preset(run: Run) -> str:
    return run.preset.partition(ON)[0]


def _short(run: Run) -> str:
    """`amd-epyc-2-cores`: the machines without their architecture and flags, as a part of a file's name."""
    machines = dict.fromkeys(machine_words(job.machine) for job in run.jobs.values() if job.machine)
    named = [machine.partition(f", {CPU_FLAGS}")[0].partition(", ")[2] or machine for machine in machines]
    return re.sub(r"[^a-z0-9]+", "-", "-and-".join(named).lower()).strip("-")[:60] or "x"
