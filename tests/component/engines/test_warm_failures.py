"""An exporter whose imports fail is a finding about its releases: its jobs end with the message, or the signal."""

from __future__ import annotations

import queue
import subprocess
import sys
from pathlib import Path

import pytest

from matrix.core.records import Environment, Job, JobEnd
from matrix.engines.venv.engine import VenvEngine
from matrix.engines.worker import Finished, Lost, WorkerEvent

SCRIPTS = Path(__file__).parents[3] / "scripts"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("environments", "scratch"):
        (tmp_path / name).mkdir()
    return tmp_path


def exporter(place: Path, torch: str) -> Environment:
    """A virtual environment whose torch is this text."""
    root = place / "environments" / "exporter"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    site = next(root.glob("lib/python*/site-packages"))
    (site / "numpy.py").write_text("")
    (site / "torch.py").write_text(torch)
    return Environment(
        request_label="exporter", engine="venv", digest="e", root=root, python_version="", c_library="", tools={},
        distributions=(),
    )  # fmt: skip


def ends(place: Path, torch: str, *, tries: int) -> list[JobEnd]:
    """How an export ends, and ends when it is tried again."""
    events: queue.SimpleQueue[WorkerEvent] = queue.SimpleQueue()
    engine = VenvEngine(
        folder=place / "environments",
        scratch=place / "scratch",
        scripts=SCRIPTS,
        slots=1,
        on_event=events.put,
        workshop=lambda: pytest.fail("an exporter is this machine's own"),
    )
    job = Job(key="k", stage="export", label="", environment="e", inputs=(), outputs=(), script="export.py")
    environment = exporter(place, torch)
    found: list[JobEnd] = []
    try:
        while len(found) < tries:
            engine.start(job, environment, {})
            while True:
                event = events.get(timeout=60)
                if isinstance(event, Lost):
                    found.append(JobEnd(key="k", end="lost", log=event.stderr_tail))
                elif isinstance(event, Finished):
                    found.append(event.end)
                else:
                    continue
                break
            engine.clear(job)
    finally:
        engine.terminate()
    return found


def test_an_import_that_raises_ends_the_job_with_its_message(place):
    (end,) = ends(place, "raise ImportError('libfoo.so: undefined symbol: _ZN3foo')", tries=1)
    assert (end.end, end.exit_code) == ("exited", 1)
    assert "ImportError: libfoo.so: undefined symbol: _ZN3foo" in end.log


def test_an_import_that_crashes_takes_the_worker_and_then_is_the_crash_of_the_job(place):
    first, second = ends(place, "import os; os.abort()", tries=2)
    assert first.end == "lost"
    assert (second.end, second.signal) == ("signalled", 6)
