"""What `armv6-smoke` compares with: outcomes and checks in results/armv6, digests of runtimes in images/armv6."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from matrix.builds import tools
from matrix.builds.expected import (
    BUILT_FILE,
    BoardFindings,
    accept,
    built_text,
    differences,
    read_built,
    read_expected,
    write_built,
)
from matrix.builds.linkage import BoardCell
from matrix.core.data import data_root
from matrix.core.errors import LockFault
from matrix.core.records import Outcome
from matrix.plan.question import Question
from matrix.run.planning import load_spec, plan_of

ONE, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The committed data without what was found on the board."""
    shutil.copytree(tools.images(), tmp_path / "images" / "armv6", ignore=shutil.ignore_patterns(BUILT_FILE, "target"))
    monkeypatch.setenv("IREE_MATRIX_DATA", str(tmp_path))
    return tmp_path


def found(*, outcome: Outcome = Outcome.PASSED, binary: str = ONE, hello: str = "right") -> BoardFindings:
    detail = "" if outcome is Outcome.PASSED else "elf-imports"
    row = BoardCell(model="exp", route="vmvx", runner="zig-static", outcome=outcome, detail=detail)
    return BoardFindings(release="3.13.0", checks={"hello": hello}, binaries={"zig-static": binary}, rows=(row,))


def expected(data: Path) -> Path:
    return data / "results" / "armv6" / "expected.json"


def unlike(data: Path, now: BoardFindings) -> list[str]:
    """What differs from what was accepted."""
    return differences(now, read_expected(expected(data)), read_built(tools.images()), ["matmul"])


def test_what_was_accepted_is_as_expected(data):
    accept(found(), expected(data), tools.images())
    assert read_built(tools.images()) == {"3.13.0": {"zig-static": ONE}}
    assert json.loads(expected(data).read_text()) == {
        "format": 1,
        "checks": {"hello": "right"},
        "cells": {"exp vmvx zig-static": "passed"},
    }
    assert unlike(data, found()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"outcome": Outcome.FAILED}, "exp vmvx zig-static: expected passed, is failed: elf-imports"),
        ({"outcome": Outcome.WRONG_OUTPUT}, "exp vmvx zig-static: expected passed, is wrong_output (elf-imports)"),
        ({"binary": OTHER}, f"binary zig-static: expected {ONE}, is {OTHER}"),
        ({"binary": ""}, f"binary zig-static: expected {ONE}, is not measured"),
        ({"hello": "SIGILL"}, "hello: expected right, is SIGILL"),
    ],
)
def test_every_kind_of_difference_is_named(change, said, data):
    accept(found(), expected(data), tools.images())
    assert unlike(data, found(**change)) == [said]


def test_what_is_missing_and_what_is_new_are_differences(data):
    accept(found(), expected(data), tools.images())
    before = json.loads(expected(data).read_text())
    cells = {"matmul vmvx zig-static": "passed", "mobilenet_v2 vmvx zig-static": "passed"}
    expected(data).write_text(json.dumps({**before, "cells": cells}))
    assert unlike(data, found()) == [
        "exp vmvx zig-static: expected nothing, is passed",
        "matmul vmvx zig-static: expected passed, is not measured",  # mobilenet_v2 was not asked for
    ]


def test_accepting_keeps_the_cells_of_models_that_were_not_measured(data):
    accept(found(), expected(data), tools.images())
    other = replace(found(outcome=Outcome.FAILED).rows[0], model="conv")
    accept(replace(found(), rows=(other,)), expected(data), tools.images())
    assert read_expected(expected(data))["cells"] == {
        "conv vmvx zig-static": "failed: elf-imports",
        "exp vmvx zig-static": "passed",
    }


def test_of_sources_of_ones_own_no_bytes_are_expected(data):
    accept(found(), expected(data), tools.images())
    own = replace(found(binary=OTHER), release="")
    assert unlike(data, own) == []
    accept(own, expected(data), tools.images())
    assert read_built(tools.images())["3.13.0"]["zig-static"] == ONE


def test_a_damaged_expectation_says_how_to_write_it_anew(tmp_path):
    (tmp_path / "expected.json").write_text("{}")
    with pytest.raises(LockFault, match=r"expected\.json cannot be read") as raised:
        read_expected(tmp_path / "expected.json")
    assert "--accept" in raised.value.tip


def test_digests_of_other_releases_and_toolchains_stay(tmp_path):
    write_built(tmp_path, "3.13.0", {"zig-static": ONE, "native": ONE})
    write_built(tmp_path, "3.9.0", {"zig-static": OTHER})
    write_built(tmp_path, "3.13.0", {"zig-static": OTHER})
    assert read_built(tmp_path) == {"3.9.0": {"zig-static": OTHER}, "3.13.0": {"zig-static": OTHER, "native": ONE}}
    assert list(read_built(tmp_path)) == ["3.9.0", "3.13.0"]


def test_all_faults_of_the_digests_are_named(tmp_path):
    (tmp_path / BUILT_FILE).write_text('format = 1\n["3.13.0"]\na = "x"\nb = 2\n')
    with pytest.raises(LockFault, match="2 faults") as raised:
        read_built(tmp_path)
    assert "3.13.0.a: read 'x', expected sha256:" in str(raised.value)


def test_what_is_committed_is_as_it_is_written():
    built = read_built(tools.images())
    assert (tools.images() / BUILT_FILE).read_text() == built_text(built)
    assert all(name in tools.toolchains() for digests in built.values() for name in digests)


@pytest.mark.parametrize("preset", ["armv6", "boards", "sources"])
def test_what_is_published_was_built_to_the_locked_bytes(preset):
    """By another stage, in other folders, than what wrote the lock."""
    built, spec = read_built(tools.images()), load_spec(preset)
    document = json.loads((data_root() / "results" / f"{preset}.json").read_text())
    found = {
        job["lock"].removeprefix("builder/"): job["artifacts"]["iree-run-module"]["sha256"]
        for job in document["jobs"].values()
        if job["stage"] == "build" and job["outcome"] == "passed"
    }
    plain = {name: build for name, build in spec.builds.items() if not build.options}
    assert plain
    for name, build in plain.items():
        assert built[build.source][build.toolchain] == f"sha256:{found[name]}"


def test_the_preset_accounts_for_every_cell_with_a_reason_for_each_that_it_leaves_out():
    plan = plan_of(Question(preset="armv6"))
    left_out = [cell for cell in plan.cells if cell.excluded]
    assert {cell.labels["model"] for cell in left_out} == {"mobilenet_v2", "quartznet_5x5", "llama_2l"}
    assert all("minutes" in cell.excluded for cell in left_out)
    routes = {(cell.labels["model"], cell.labels["route"]) for cell in plan.cells if not cell.excluded}
    assert len(routes) == 7 * 4, "every model by every route on one runtime at least"
    assert not [node.obstacle for node in plan.nodes if node.obstacle]
