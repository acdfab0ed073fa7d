"""What `armv6-smoke` compares with: outcomes and checks in results/armv6, digests of runtimes in images/armv6."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from matrix.builds import tools
from matrix.builds.board_check import Smoke
from matrix.builds.digests import FILE, built_text, read_built, write_built
from matrix.builds.routes import Row
from matrix.builds.tasks import Tasks
from matrix.cli import board
from matrix.core.data import data_root
from matrix.core.errors import EXIT_NO, EXIT_OK, LockFault
from matrix.core.records import Outcome
from matrix.plan.question import Question
from matrix.run.planning import load_spec, plan_of

ONE, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The committed data without what was found on the board."""
    shutil.copytree(tools.images(), tmp_path / "images" / "armv6", ignore=shutil.ignore_patterns(FILE, "target"))
    monkeypatch.setenv("IREE_MATRIX_DATA", str(tmp_path))
    return tmp_path


def found(tmp_path: Path, *, outcome: Outcome = Outcome.PASSED, binary: str = ONE, hello: str = "right") -> Smoke:
    state = Smoke(tasks=Tasks(tmp_path / "store"), say=lambda _: None, release="3.13.0")
    state.rows.append(Row(model="exp", route="vmvx", runner="zig-static", outcome=outcome, detail="elf-imports"))
    state.checks |= {"hello zig-static": hello, "binary zig-static": binary}
    return state


def smoked(state: Smoke, monkeypatch: pytest.MonkeyPatch, *words: str, source: Path | None = None) -> int:
    """The verb, with `state` for what it would have measured."""
    monkeypatch.setattr(board, "smoke", lambda *_, **__: state)
    options = Namespace(store=Path(), model=[], compiler=None, source=source, accept="--accept" in words)
    return board.armv6_smoke(options)


def test_what_was_accepted_is_as_expected(data, tmp_path, monkeypatch, capsys):
    assert smoked(found(tmp_path), monkeypatch) == EXIT_OK
    assert "no outcomes are committed" in capsys.readouterr().out
    assert smoked(found(tmp_path), monkeypatch, "--accept") == EXIT_OK
    assert read_built(data / "images" / "armv6") == {"3.13.0": {"zig-static": ONE}}
    assert json.loads(board.expected_path().read_text()) == {
        "format": 1,
        "checks": {"hello zig-static": "right"},
        "cells": {"exp vmvx zig-static": "passed"},
    }
    capsys.readouterr()
    assert smoked(found(tmp_path), monkeypatch) == EXIT_OK
    assert "as expected: 2 checks and 1 cells" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"outcome": Outcome.FAILED},
            "exp vmvx zig-static: expected passed, is failed: elf-imports",
        ),
        ({"binary": OTHER}, f"binary zig-static: expected {ONE}, is {OTHER}"),
        ({"hello": "SIGILL"}, "hello zig-static: expected right, is SIGILL"),
    ],
)
def test_a_difference_is_named_and_is_exit_status_1(change, said, data, monkeypatch, capsys):
    smoked(found(data), monkeypatch, "--accept")
    assert smoked(found(data, **change), monkeypatch) == EXIT_NO
    assert f"1 not as expected:\n  {said}\n" in capsys.readouterr().out


def test_what_is_missing_is_a_difference(data, tmp_path, monkeypatch, capsys):
    smoked(found(tmp_path), monkeypatch, "--accept")
    state = found(tmp_path)
    del state.checks["binary zig-static"]
    state.rows.clear()
    expected = json.loads(board.expected_path().read_text())
    board.expected_path().write_text(json.dumps({**expected, "cells": {"matmul vmvx zig-static": "passed"}}))
    assert smoked(state, monkeypatch) == EXIT_NO
    out = capsys.readouterr().out
    assert "matmul vmvx zig-static: expected passed, is not measured" in out
    assert f"binary zig-static: expected {ONE}, is not measured" in out


def test_of_sources_of_ones_own_no_bytes_are_expected(data, tmp_path, monkeypatch):
    smoked(found(tmp_path), monkeypatch, "--accept")
    assert smoked(found(tmp_path, binary=OTHER), monkeypatch, source=tmp_path) == EXIT_OK
    smoked(found(tmp_path, binary=OTHER), monkeypatch, "--accept", source=tmp_path)
    assert read_built(tools.images())["3.13.0"]["zig-static"] == ONE


def test_digests_of_other_releases_and_toolchains_stay(tmp_path):
    write_built(tmp_path, "3.13.0", {"zig-static": ONE, "native": ONE})
    write_built(tmp_path, "3.9.0", {"zig-static": OTHER})
    write_built(tmp_path, "3.13.0", {"zig-static": OTHER})
    assert read_built(tmp_path) == {"3.9.0": {"zig-static": OTHER}, "3.13.0": {"zig-static": OTHER, "native": ONE}}
    assert list(read_built(tmp_path)) == ["3.9.0", "3.13.0"]


def test_all_faults_of_the_digests_are_named(tmp_path):
    (tmp_path / FILE).write_text('format = 1\n["3.13.0"]\na = "x"\nb = 2\n')
    with pytest.raises(LockFault, match="2 faults") as raised:
        read_built(tmp_path)
    assert "3.13.0.a: read 'x', expected sha256:" in str(raised.value)


def test_what_is_committed_is_as_it_is_written():
    built = read_built(tools.images())
    assert (tools.images() / FILE).read_text() == built_text(built)
    assert all(name in tools.toolchains() for digests in built.values() for name in digests)


@pytest.mark.parametrize("preset", ["armv6", "sources"])
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
