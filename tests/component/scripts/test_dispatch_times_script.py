"""The program that captures the times of dispatches: its port, and what it refuses."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"
PROGRAM = SCRIPTS / "dispatch_times.py"
WORDS = ("3", "traced", "profiled", "--", "iree-benchmark-module")


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    import dispatch_times

    return dispatch_times


def package(folder: Path, *tools: str) -> None:
    """A package `iree` with programs that do nothing."""
    for name in tools:
        place = folder / "iree" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("#!/bin/sh\nexit 7\n")
        place.chmod(0o755)


def ran(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"}
    argv = [sys.executable, "-S", PROGRAM, *WORDS]
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_a_runtime_without_the_tools_is_refused_with_the_reason(tmp_path):
    package(tmp_path, "_runtime_libs/iree-benchmark-module", "_runtime_libs_tracy/iree-benchmark-module")
    done = ran(tmp_path)
    assert done.returncode == 1
    assert "dispatch times: refused: this runtime has no _runtime_libs_tracy/iree-tracy-capture" in done.stdout


def test_a_program_that_ends_before_it_listens_has_its_own_status(tmp_path):
    package(tmp_path, "_runtime_libs_tracy/iree-benchmark-module", "_runtime_libs_tracy/iree-tracy-capture")
    assert ran(tmp_path).returncode == 7


def test_a_port_counts_only_if_the_traced_program_has_it(script):
    port = script.free_port()
    code = f"import socket, time; server = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert script.listens(process, port)
        with socket.create_server(("127.0.0.1", 0)) as other:
            assert not script.listens(process, other.getsockname()[1])
    finally:
        process.kill()
        process.wait()
    assert not script.listens(process, port)
