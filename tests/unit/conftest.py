"""Unit tests start no process: what does is in tests/component."""

from __future__ import annotations

import sys

import pytest

STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "os.exec"}
started: list[str] = []


def note(event: str, _arguments: tuple[object, ...]) -> None:
    if event in STARTS:
        started.append(event)


sys.addaudithook(note)


@pytest.fixture(autouse=True)
def no_process():
    started.clear()
    yield
    assert not started, "a unit test started a process: move it to tests/component"
