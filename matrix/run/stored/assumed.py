"""What the modules of a run's cells assume of their device, read from the modules in the store."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from matrix.artifacts.contents.compiled_for import device_subgroups
from matrix.artifacts.vmfb_archive import open_container
from matrix.core.errors import FileFault
from matrix.core.keys import sha256
from matrix.plan.graph import Plan, PlannedCell
from matrix.plan.stages import module_of
from matrix.results.measured.assumed import subgroup_warning
from matrix.results.run import Cell, Run

if TYPE_CHECKING:
    from matrix.builds.drivers import Driver


def with_warnings(run: Run, plan: Plan, place: Callable[[str], Path]) -> Run:
    """The run, whose cells say where a module assumes what the device of its driver does not have. It is known as soon
    as the module is compiled, and whatever the numbers are."""

    @functools.cache
    def assumed(digest: str) -> tuple[int, ...]:
        return _assumed(place(digest), digest)

    names = [_driver_of(plan, cell) for cell in plan.cells]
    if not any(names):
        return run
    from matrix.builds.drivers import shipped_drivers  # it imports what fetches packages, which few runs need

    drivers = shipped_drivers()
    cells = list(run.cells)
    for index, (name, planned) in enumerate(zip(names, plan.cells, strict=True)):
        digest = _module(run, plan, planned, cells[index])
        if name in drivers and digest:
            warning = _warning(drivers[name], assumed(digest))
            cells[index] = replace(cells[index], warning=warning)
    return replace(run, cells=tuple(cells))


def _warning(driver: Driver, assumed: tuple[int, ...]) -> str:
    return subgroup_warning(assumed, f"the device of {driver.name}", driver.sizes)


def _driver_of(plan: Plan, cell: PlannedCell) -> str:
    """The name of the locked driver that the cell's module runs on; empty without one."""
    requests = (plan.nodes[node].request for node in cell.nodes)
    return next((request.driver for request in requests if request and request.driver), "")


def _module(run: Run, plan: Plan, planned: PlannedCell, cell: Cell) -> str:
    """The sha256 of the cell's module, compiled or given; empty as long as there is none."""
    found = {name: digest for index in planned.nodes for name, _, digest in plan.nodes[index].given}
    for job in run.jobs_of(cell):
        found |= {name: made.sha256 for name, made in job.artifacts.items()}
    return found.get(module_of(found), "")


def _assumed(path: Path, digest: str) -> tuple[int, ...]:
    """Nothing of a file that is gone, has other bytes, or is no module: who runs it says so."""
    try:
        if sha256(path) != digest:
            return ()
        with open_container(path) as container:
            return device_subgroups(container.module)
    except (OSError, FileFault):
        return ()
