"""The doctor looks at everything and raises nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from matrix.cli import upkeep
from matrix.core import processes
from matrix.core.processes import Completed
from matrix.engines.docker.kind import DOCKER
from matrix.engines.kind import Finding
from matrix.engines.nix import sandbox
from matrix.engines.nix import store as nixstore
from matrix.engines.nix.kind import NIX
from matrix.environments import index, interpreters

V3 = "flags\t\t: fpu sse " + " ".join(upkeep.V3_FLAGS) + " avx512f\n"


def completed(exit_code: int = 0, stdout: str = "", stderr: str = "") -> Completed:
    return Completed(argv=("x",), exit_code=exit_code, stdout=stdout, stderr=stderr, seconds=0.1)


@pytest.fixture
def machine(monkeypatch):
    """A machine without programs, unless a test adds them: name of the program -> what it says."""
    programs: dict[str, Completed] = {}

    def run(argv, **options):
        return programs.get(Path(argv[0]).name, completed(127, stderr="no such program"))

    monkeypatch.setattr(processes, "run", run)
    monkeypatch.setattr(upkeep.shutil, "which", lambda name: f"/bin/{name}" if name in programs else None)
    monkeypatch.setattr(interpreters, "uv_binary", lambda: "/bin/uv")
    monkeypatch.setattr(index, "uv_binary", lambda: "/bin/uv")
    monkeypatch.setattr(interpreters, "find_all", lambda python: iter(()))
    _forget()
    yield programs
    _forget()


def _forget():
    """What is asked once a process."""
    nixstore.settings.cache_clear()
    sandbox.find_sandbox.cache_clear()


def by_name(store: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in upkeep.examine(store)}


def test_a_bare_machine_gets_a_whole_page_with_advice(machine, tmp_path):
    found = by_name(tmp_path / "not" / "made" / "yet")
    names = {"uv", "package index", "disk", "uv's cache", "CPU", "process isolation", "git", "Docker", "Nix"}
    assert names | {"qemu-aarch64", "qemu-arm", "Python 3.9", "Python 3.14"} <= found.keys()
    for name in ("Python 3.11", "uv", "git", "Docker", "qemu-arm", "process isolation"):
        assert found[name].state == "missing"
        assert found[name].advice
    assert not (tmp_path / "not").exists()


def test_a_check_that_breaks_is_a_finding(machine, tmp_path, monkeypatch):
    def broken() -> Finding:
        raise RuntimeError("boom")

    monkeypatch.setattr(upkeep, "ENGINE_KINDS", (dataclasses.replace(DOCKER, examine=broken),))
    found = by_name(tmp_path)["Docker"]
    assert (found.state, found.found) == ("warning", "could not be checked: boom")


def test_a_damaged_wanted_file_still_gives_a_page(machine, tmp_path):
    (tmp_path / "wanted.toml").write_text("format =")
    names = [finding.name for finding in upkeep.examine(tmp_path, locks=tmp_path)]
    assert names[0] == f"Python {interpreters.running().minor}"
    assert "Docker" in names


def test_all_interpreters_of_a_version_are_named(monkeypatch):
    other = interpreters.PythonInfo(
        path=Path("/b"), version="3.11.2", implementation="cpython", c_library="glibc 2", machine="x86_64"
    )
    monkeypatch.setattr(interpreters, "find_all", lambda python: iter((interpreters.running(), other)))
    found = upkeep._python("3.11")
    assert found.state == "ok"
    assert interpreters.running().version in found.found
    assert "also 3.11.2 at /b" in found.found


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (completed(0, "uv 0.13.8 (x86_64-unknown-linux-gnu)\n"), "ok", "0.13.8"),
        (completed(0, "uv 0.7.22\n"), "warning", "too old"),
        (completed(0, "nonsense\n"), "missing", "nonsense"),
    ],
)
def test_uv_is_asked_for_its_version(machine, answer, state, words):
    machine["uv"] = answer
    found = upkeep._uv()
    assert found.state == state
    assert words in found.found


def test_the_index_is_asked_a_real_question(machine):
    machine["uv"] = completed(0, "iree-base-compiler==3.13.0\n")
    assert upkeep._package_index().state == "ok"
    machine["uv"] = completed(2, stderr="error: Failed to fetch: x\n  cause: Connection refused (os error 111)\n")
    found = upkeep._package_index()
    assert found.state == "warning"
    assert "Connection refused" in found.found
    assert "PIP_INDEX_URL" in found.advice


def test_little_space_is_a_warning(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 3 * 10**9})
    monkeypatch.setattr(upkeep.shutil, "disk_usage", lambda path: usage)
    found = upkeep._disk(tmp_path / "new")
    assert (found.state, found.found) == ("warning", "3 GB free at the store")
    assert "12 GB" in found.advice


@pytest.mark.parametrize(
    ("cpuinfo", "machine_name", "state", "words"),
    [
        (V3, "x86_64", "ok", "x86-64-v3"),
        (V3.replace(" avx2", "").replace(" fma", ""), "x86_64", "warning", "no avx2, fma"),
        ("", "x86_64", "warning", "no avx"),
        ("Features : neon\n", "aarch64", "warning", "aarch64"),
    ],
)
def test_the_cpu_must_run_the_shipped_target(tmp_path, cpuinfo, machine_name, state, words):
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    found = upkeep._cpu(tmp_path / "cpuinfo", machine_name)
    assert found.state == state
    assert words in found.found


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (completed(0, "29.1.0\n"), "ok", "daemon 29.1.0"),
        (completed(1, stderr="Cannot connect to the Docker daemon\nmore\n"), "warning", "Cannot connect"),
        (completed(0, "\n"), "warning", "client only"),
    ],
)
def test_docker_is_client_and_daemon(machine, answer, state, words):
    machine["docker"] = answer
    found = DOCKER.examine()
    assert found.state == state
    assert words in found.found
    assert "more" not in found.found


SET = {"sandbox": True, "substitute": True, "substituters": [], "build-users-group": ""}


@pytest.mark.parametrize(
    ("programs", "state", "words"),
    [
        ({}, "missing", "no nix-build is on the PATH"),
        ({"nix-store": completed(1, stderr="error: cannot connect to socket at '/x'")}, "warning", "does not answer"),
        ({"nix-store": completed()}, "warning", "2.8.0, builds in a sandbox; sandbox of jobs: none: bubblewrap is not"),
        ({"nix-store": completed(), "bwrap": completed()}, "ok", "sandbox of jobs: bubblewrap"),
        ({"nix-store": completed(), "bwrap": completed(1, stderr="No permissions\n")}, "warning", "No permissions"),
    ],
)
def test_nix_is_its_version_and_its_sandboxes(machine, monkeypatch, programs, state, words):
    monkeypatch.setattr(sandbox, "namespace_prefix", lambda: ())
    if programs:
        settings = {name: {"value": value} for name, value in SET.items()}
        machine["nix-build"] = completed(stdout="nix-build (Nix) 2.8.0\n")
        machine["nix"] = completed(stdout=json.dumps(settings))
    machine.update(programs)
    found = NIX.examine()
    assert (found.state, words in found.found) == (state, True), found
    assert bool(found.advice) == (state != "ok")


def test_an_emulator_may_be_the_static_one(machine):
    machine["qemu-arm-static"] = completed(0, "qemu-arm version 10.0.2 (Debian)\nCopyright\n")
    assert upkeep._qemu("arm").found == "10.0.2 (Debian)"
