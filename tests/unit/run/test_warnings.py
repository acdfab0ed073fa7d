"""A cell says where its module assumes what the device of its driver does not have: from the bytes of real modules."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

from modules import MODULES, vulkan_modules
from reports import PASSED, npy, report_of
from samples import catalogue, result, spec_of

from matrix.core.keys import sha256
from matrix.core.records import Artifact, JobResult
from matrix.plan.graph import Plan, make_plan
from matrix.results.files import read_run
from matrix.results.formats import as_csv, as_table, run_as_json
from matrix.results.measured.assumed import subgroup_warning
from matrix.results.run import Run
from matrix.run.stored.assumed import with_warnings

DEFAULT, OWN = MODULES / "vulkan-default-3.13.0.vmfb", vulkan_modules() / "vulkan-3.13.0.vmfb"
SAID = (
    "the module assumes subgroups of 64, the device of lavapipe has subgroups of 8: numbers can be wrong, and no "
    "runtime refuses it"
)
BODY = "[axes]\nmodel='given'\ncompiler='3.0.0'\nruntime='3.0.0'\nflags=['default', 'o3']\n"


def planned(driver: str = "lavapipe") -> Plan:
    known = catalogue()
    target = replace(known.targets["x86_64"], driver=driver)
    return make_plan(spec_of(BODY), replace(known, targets={**known.targets, "x86_64": target}))


def compiled(path: Path) -> JobResult:
    return result("compile", outputs=[Artifact(name="module.vmfb", digest=sha256(path), size=path.stat().st_size)])


def warned(plan: Plan, *, last: JobResult | None = PASSED[2], at: dict[str, Path] | None = None, value: int = 1) -> Run:
    """The first set of flags gives the module that fits the device, the second one what compilers assume."""
    modules = iter((OWN, DEFAULT))
    results = [compiled(next(modules)) if node.stage == "compile" else last for node in plan.nodes]
    if last:
        output = Artifact(name="output_0.npy", digest="output_0.npy", size=1)
        results = [replace(each, outputs=(output,)) if each and each.stage == "run" else each for each in results]
    files = {sha256(path): path for path in (OWN, DEFAULT)}
    run = report_of(plan, results, {"output_0.npy": npy(value)})
    return with_warnings(run, plan, lambda digest: (at or files)[digest])


def warnings(run: Run) -> dict[str, str]:
    return {cell.axes["flags"]: cell.warning for cell in run.cells}


def test_a_module_without_the_sizes_of_the_device_is_warned_of_and_its_numbers_are_judged():
    run = warned(planned())
    assert warnings(run) == {"default": "", "o3": SAID}
    assert [cell.outcome for cell in run.cells] == ["passed", "passed"]
    assert f"{SAID}: 1 cell; 1 of 1 compared are right: flags o3" in as_table(run)
    wrong = warned(planned(), value=2)
    assert [cell.outcome for cell in wrong.cells] == ["wrong_output", "wrong_output"]
    assert f"{SAID}: 1 cell; 0 of 1 compared are right: flags o3" in as_table(wrong)


def test_the_warning_is_there_before_the_module_runs():
    run = warned(planned(), last=None)
    assert [cell.outcome for cell in run.cells] == ["untested", "untested"]
    assert warnings(run)["o3"] == SAID
    assert f"{SAID}: 1 cell: flags o3" in as_table(run)


def test_json_and_csv_have_it(tmp_path):
    run = warned(planned())
    path = tmp_path / "r.json"
    path.write_text(run_as_json(run))
    assert warnings(read_run(path)) == warnings(run)
    rows = list(csv.DictReader(io.StringIO(as_csv(run))))
    assert [row["warning"] for row in rows] == ["", SAID]
    assert "warning" not in as_csv(warned(planned(""))).splitlines()[0]


def test_nothing_is_said_without_a_driver_and_of_files_that_are_no_longer_the_module(tmp_path):
    assert set(warnings(warned(planned(""))).values()) == {""}
    other = tmp_path / "module.vmfb"
    other.write_bytes(DEFAULT.read_bytes()[:-1])
    for path in (other, tmp_path / "gone"):
        at = {sha256(each): path for each in (OWN, DEFAULT)}
        assert set(warnings(warned(planned(), at=at)).values()) == {""}


def test_one_common_size_is_enough_and_nothing_is_said_of_what_is_unknown():
    assert subgroup_warning((32, 64), "it", (8, 32)) == ""
    assert subgroup_warning((), "it", (8,)) == subgroup_warning((64,), "it", ()) == ""
    assert subgroup_warning((64, 32), "it", (8, 4)).startswith(
        "the module assumes subgroups of 32 or 64, it has subgroups of 4 or 8"
    )
