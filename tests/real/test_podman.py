"""Podman behind its Docker socket: the engine's contract and a matrix, in a storage that goes with the test.

Debian: `apt-get install podman catatonit runc`. What was seen with 4.3 stands in docs/engines.md.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from command_line import good, wait_for, write_spec
from containers import containers_of
from docker_contract import DockerContract

from matrix.core.errors import EngineMissing
from matrix.engines.docker.daemon import Daemon

pytestmark = [pytest.mark.real, pytest.mark.full]


def answers():
    try:
        Daemon().close()
    except EngineMissing:
        return False
    return True


@pytest.fixture(scope="module", autouse=True)
def podman():
    """A service of this module alone. Where cgroups v1 and v2 are mixed, crun starts nothing and runc does."""
    if shutil.which("podman") is None or os.geteuid():
        pytest.skip("NOT TESTED: Podman is not installed here, or this is not root")
    folder = Path(tempfile.mkdtemp(prefix="podman-"))
    runtime = ["--runtime", "runc"] if shutil.which("runc") else []
    places = [*runtime, "--root", folder / "root", "--runroot", folder / "run"]
    with pytest.MonkeyPatch.context() as patch, (folder / "log").open("w") as log:
        patch.setenv("DOCKER_HOST", f"unix://{folder}/socket")
        words = ["podman", *places, "system", "service", "--time=0", f"unix://{folder}/socket"]
        service = subprocess.Popen([*map(str, words)], stdout=log, stderr=log)
        try:
            wait_for(lambda: service.poll() is not None or answers(), seconds=30)
            assert service.poll() is None, (folder / "log").read_text()
            yield folder
        finally:
            service.terminate()
            service.wait(30)
            subprocess.run(["podman", *map(str, places), "rmi", "--all", "--force"], check=False)
            shutil.rmtree(folder, ignore_errors=True)


class TestPodman(DockerContract):
    """The contract of engines, as with Docker."""


def test_a_matrix_passes(tmp_path):
    spec = write_spec(tmp_path / "spec", compilers=("3.8.0",), runtimes=("3.8.0",))
    ran = good("run", spec, "--store", tmp_path / "store", "--engine", "docker", "--format", "csv")
    assert ran.out.count(",passed,") == 1, ran.out
    assert containers_of(tmp_path / "store") == []
    assert "shared layers counted once" in good("image", "list").out
