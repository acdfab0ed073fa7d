"""A store that two machines share, with real releases: the second one runs nothing and installs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import RELEASES, good, matrix, write_spec
from put_server import serving

pytestmark = pytest.mark.real


def test_a_second_machine_runs_no_job_and_makes_no_environment(tmp_path: Path) -> None:
    spec = write_spec(tmp_path / "spec", compilers=RELEASES[:1], runtimes=RELEASES[::2])
    with serving() as server:
        for name in ("a", "b"):
            json = ("--format", "json", "--output", tmp_path / f"{name}.json")
            ran = good("run", spec, "--remote", server.address, "--store", tmp_path / name, *json)
        assert ran.jobs_run == 0 and "environments made" not in ran.err
        assert "remote: 3 results found there, 0 put there" in ran.err
        assert {name.split("/")[1] for name in server.files} == {"ac", "cas"}
    good("compare", tmp_path / "a.json", tmp_path / "b.json")


def test_all_that_is_found_is_measured_again_and_ends_alike(tmp_path: Path) -> None:
    spec = write_spec(tmp_path / "spec", compilers=RELEASES[:1], runtimes=RELEASES[::2])
    remote = ("--remote", tmp_path / "shared")
    good("run", spec, *remote, "--store", tmp_path / "a")
    ran = good("run", spec, *remote, "--remote-check", 100, "--store", tmp_path / "b")
    assert ran.jobs_run == 3 and "remote: 3 results measured again, 0 of them end otherwise here" in ran.err


def test_a_check_without_a_remote_is_told(tmp_path: Path) -> None:
    for words, said in ((("--remote-check", 5), "--remote URL beside it"), (("--remote-check", "all"), "read 'all'")):
        ran = matrix("run", "quick", *words, "--store", tmp_path / "store")
        assert ran.status == 2 and said in ran.err


def test_a_remote_that_is_none_is_told(tmp_path: Path) -> None:
    ran = matrix("run", "quick", "--remote", "gs://bucket", "--store", tmp_path / "store")
    assert ran.status == 2 and "--remote: read 'gs://bucket', expected a folder, http://HOST" in ran.err
    assert not (tmp_path / "store").exists()


@pytest.mark.full
def test_portability_on_a_second_machine_runs_no_job(tmp_path: Path) -> None:
    remote = ("--remote", tmp_path / "shared")
    for name in ("a", "b"):
        json = ("--format", "json", "--output", tmp_path / f"{name}.json")
        ran = good("run", "portability", *remote, "--store", tmp_path / name, *json, timeout=900.0)
    assert ran.jobs_run == 0 and "environments made" not in ran.err
    good("compare", tmp_path / "a.json", tmp_path / "b.json")
