"""Reports of runtimes built from source."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from reports import npy, report_of
from samples import catalogue, result, spec_of

from matrix.core.records import Build, JobResult
from matrix.plan.backends.iree.source_builds import PlannedBuild
from matrix.plan.graph import make_plan
from matrix.results.run import Run

EMULATOR = ("qemu-aarch64-static", "-cpu", "cortex-a53")


BUILT = """
[axes]
model = "given"
compiler = ["2.9.0", "3.0.0"]
runtime = ["3.0.0", "mine", "board"]
target = ["x86_64", "aarch64"]
[[table]]
rows = "compiler"
columns = "runtime"
where = { target = "x86_64", runtime = ["3.0.0", "mine"] }
[[table]]
rows = "compiler"
columns = "runtime"
where = { target = "aarch64", runtime = "board" }
[builds.mine]
source = "3.0.0"
toolchain = "native"
[builds.board]
source = "3.0.0"
toolchain = "cross"
"""


def built_report(ends: dict[tuple[str, str], JobResult]) -> Run:
    """A wheel, a build for this machine and one for another; `ends` by runtime and compiler."""
    known = catalogue()
    arm = dataclasses.replace(known.targets["aarch64"], emulator=EMULATOR)
    builds = {name: planned_build(name, machine) for name, machine in (("mine", "x86_64"), ("board", "aarch64"))}
    known = dataclasses.replace(known, targets={**known.targets, "aarch64": arm}, builds=builds)
    plan = make_plan(spec_of(BUILT), known)
    results: list[JobResult | None] = [result(node.stage) for node in plan.nodes]
    for cell in plan.cells:
        place = (cell.labels["runtime"], cell.labels["compiler"])
        results[cell.nodes[-1]] = ends.get(place, result("run"))
    return report_of(plan, results, {"expected_0.npy": npy(1)})


def planned_build(name: str, machine: str) -> PlannedBuild:
    build = Build(
        name=name, release="3.0.0", tree=None, toolchain=name, sets=(), tools=Path(), digest=name, machine=machine
    )
    return PlannedBuild(build=build, words=("--", "make"))
