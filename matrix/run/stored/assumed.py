"""What the modules of a run's cells assume of their device, read from the modules in the store."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from matrix.artifacts.contents.compiled_for import device_subgroups
from matrix.artifacts.vmfb_archive import open_container
from matrix.core.errors import FileFault
from matrix.core.keys import sha256
from matrix.plan.graph import Plan, PlannedCell
from matrix.plan.stages import module_of
from matrix.results.measured.assumed import subgroup_warning
from matrix.results.run import Cell, Run


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

    known = {name: (f"the device of {name}", driver.sizes) for name, driver in shipped_drivers().items()}
    known |= {name: (f"this machine's {name} device", sizes) for name, sizes in _own_sizes(run).items()}
    cells = list(run.cells)
    for index, (name, planned) in enumerate(zip(names, plan.cells, strict=True)):
        digest = _module(run, plan, planned, cells[index])
        if name in known and digest:
            cells[index] = replace(cells[index], warning=subgroup_warning(assumed(digest), *known[name]))
    return replace(run, cells=tuple(cells))


def _own_sizes(run: Run) -> dict[str, tuple[int, ...]]:
    """The sizes of subgroups of this machine's own devices, as far as a runtime of the run said them."""
    found: dict[str, tuple[int, ...]] = {}
    for environment in run.environments.values():
        facts = environment.evidence.get("driver")
        sizes = facts.get("subgroups") if isinstance(facts, dict) else None
        if isinstance(facts, dict) and isinstance(sizes, list) and sizes:
            found[str(facts.get("name"))] = tuple(size for size in sizes if isinstance(size, int))
    return found


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
