"""GPUs in containers: what a docker daemon is asked, with a stand-in for the hook of NVIDIA's container toolkit.

A daemon looks for that program when it starts, and has it put the GPUs into each container that asks for some."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from second_daemon import NoDaemon, SecondDaemon

from matrix.core.errors import EngineMissing
from matrix.engines.docker.daemon import Confinement, Daemon

pytestmark = [pytest.mark.real, pytest.mark.full]

HOOK = """#!/bin/sh
bundle=$(sed -n 's/.*"bundle":"\\([^"]*\\)".*/\\1/p')
cp "$bundle/config.json" {folder}/asked.json
echo "$@" >{folder}/words
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = tmp_path / "programs"
    programs.mkdir()
    hook = programs / "nvidia-container-runtime-hook"
    hook.write_text(HOOK.format(folder=tmp_path))
    hook.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path


@pytest.fixture
def daemon(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon of its own that finds the stand-in for NVIDIA's hook."""
    yield from own_daemon(folder, monkeypatch)


@pytest.fixture
def plain_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon of its own that finds no hook."""
    yield from own_daemon(tmp_path, monkeypatch)


def own_daemon(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    (folder / "own").mkdir()
    second = SecondDaemon(folder / "own", folder / "data")
    try:
        second.start()
    except (NoDaemon, OSError) as why:
        pytest.skip(f"NOT TESTED: {why}")
    monkeypatch.setenv("DOCKER_HOST", second.address)
    found = Daemon()
    yield found
    found.close()
    assert second.process
    second.process.terminate()
    second.process.wait(60)


def image_on(daemon: Daemon) -> str:
    """An image with nothing in it: its program is not there, and that is after the hook."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("nothing"))
    said = daemon.client.api.import_image_from_data(content.getvalue(), repository="empty")
    return str(json.loads(said.splitlines()[-1])["status"])


def confined(gpus: str) -> Confinement:
    return Confinement(memory_bytes=64 << 20, scratch_bytes=1 << 20, file_bytes=1 << 20, gpus=gpus)


def asked(daemon: Daemon, folder: Path, gpus: str) -> list[str]:
    made = daemon.create(image_on(daemon), ["/none"], confinement=confined(gpus), mounts={}, labels={})
    with pytest.raises(Exception, match="none"):
        daemon.run(made)
    if not (folder / "asked.json").exists():
        return []
    return [each for each in json.loads((folder / "asked.json").read_text())["process"]["env"] if "NVIDIA" in each]


@pytest.mark.parametrize(
    ("gpus", "visible"), [("all", "all"), ("2", "0,1"), ("device=GPU-1,GPU-2", "GPU-1,GPU-2"), ("", None)]
)
def test_a_container_gets_the_gpus_that_were_asked_for(
    daemon: Daemon, folder: Path, gpus: str, visible: str | None
) -> None:
    found = asked(daemon, folder, gpus)
    assert found == (
        [f"NVIDIA_VISIBLE_DEVICES={visible}", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"] if visible else []
    )
    assert (folder / "words").exists() is bool(visible)


def test_a_daemon_without_nvidias_toolkit_says_so(plain_daemon: Daemon) -> None:
    made = plain_daemon.create(image_on(plain_daemon), ["/none"], confinement=confined("all"), mounts={}, labels={})
    with pytest.raises(EngineMissing, match="the container daemon knows no GPUs") as refused:
        plain_daemon.run(made)
    assert "container toolkit" in refused.value.tip
