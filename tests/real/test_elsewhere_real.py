"""Real releases, carried out by processes of `work`: the same cells and digests as here."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import RELEASES, ROOT, good, surroundings, write_spec
from sshd_here import ssh_server

pytestmark = pytest.mark.real


def test_by_command_is_as_here(tmp_path: Path, shared: Path, store: Path) -> None:
    spec = write_spec(tmp_path / "spec", compilers=RELEASES[::2], runtimes=RELEASES[::2])
    words = ("--format", "json", "--output")
    good("run", spec, "--store", shared, *words, tmp_path / "here.json")
    ran = good("run", spec, "--store", store, "--executor", "command", *words, tmp_path / "there.json")
    assert ran.jobs_run == 6
    good("compare", tmp_path / "here.json", tmp_path / "there.json")


@pytest.mark.full
def test_by_ssh_is_as_here(tmp_path: Path, shared: Path, store: Path) -> None:
    """The worker of `--worker "ssh HOST …"`, behind a real server, with a store of its own and the shared one."""
    spec = write_spec(tmp_path / "spec", compilers=RELEASES[::2], runtimes=RELEASES[::2])
    words = ("--format", "json", "--output")
    good("run", spec, "--store", shared, *words, tmp_path / "here.json")
    with ssh_server(own=True) as server:
        there = (
            f"cd {ROOT} && exec env HOME={tmp_path / 'home'} {sys.executable} -m matrix work --store {tmp_path / 'far'}"
        )
        worker = f"ssh -F {server.config} zero {shlex.quote(there)}"
        remote = ("--remote", tmp_path / "remote")
        asked = ("run", spec, "--store", store, *remote, "--executor", "command", "--worker", worker)
        ran = good(*asked, *words, tmp_path / "there.json")
        assert server.sessions() == []
    assert ran.jobs_run == 6
    assert (tmp_path / "far" / "environments").is_dir()
    good("compare", tmp_path / "here.json", tmp_path / "there.json")


def test_by_dask_is_as_here(tmp_path: Path, shared: Path, store: Path) -> None:
    """Workers of Dask that are processes, by TLS and with certificates of this run."""
    spec = write_spec(tmp_path / "spec", compilers=RELEASES[:1], runtimes=RELEASES[::2])
    words = ("--format", "json", "--output")
    good("run", spec, "--store", shared, *words, tmp_path / "here.json")
    ran = good("run", spec, "--store", store, "--executor", "dask", *words, tmp_path / "there.json")
    assert ran.jobs_run == 3
    good("compare", tmp_path / "here.json", tmp_path / "there.json")


def test_no_order_is_told(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "matrix", "work", "--store", str(tmp_path / "store")]
    environment = surroundings(PYTHONPATH=str(ROOT))
    done = subprocess.run(
        words, input="no order", capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 2 and "ERROR work: read 'no order', expected a work order as JSON" in done.stderr


def test_an_order_in_a_file_gives_rows(tmp_path: Path, store: Path) -> None:
    """`python -m matrix work < work.json > rows.jsonl`, for an environment alone."""
    from matrix.plan.question import Question
    from matrix.run.elsewhere.orders import work_order_text
    from matrix.run.planning import plan_of

    spec = write_spec(tmp_path / "spec", compilers=RELEASES[:1], runtimes=RELEASES[:1])
    requests = [each for each in plan_of(Question(preset=str(spec))).environments() if each.kind == "runtime"]
    (tmp_path / "work.json").write_text(work_order_text("venv", requests, []))
    words = [sys.executable, "-m", "matrix", "work", "--store", str(store)]
    with (tmp_path / "work.json").open() as order:
        done = subprocess.run(
            words, stdin=order, capture_output=True, text=True, timeout=120, check=True,
            env=surroundings(PYTHONPATH=str(ROOT)),
        )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["row"] for row in rows] == ["environment", "over"]
    assert len(rows[0]["digest"]) == 64 and json.loads(rows[0]["record"])["lock"] == "runtime/3.8.0"
