"""What a job left is a stranger's: whatever it is, it concerns that job alone, and no more than its limits is read."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import pytest
from answering import NOISY, plan_in
from tracy_files import capture

from matrix.artifacts.timings.dispatch_times import read_kept_times
from matrix.core.errors import DiskFull
from matrix.core.records import Job, JobEnd, Limits, Outcome
from matrix.engines.contract import outputs_in
from matrix.plan.backends.iree.names import DISPATCH_TIMES
from matrix.plan.backends.iree.timing import TIMED_CALLS, TRACED_FILE
from matrix.plan.stages import complete
from matrix.results.judge import outcome_of
from matrix.results.signatures import recognise
from matrix.run.executor import Work
from matrix.run.local import collecting
from matrix.run.local.collecting import Collected, Collector
from matrix.run.store import Store

JOB = Job(key="k", stage="run", label="", environment="", inputs=(), outputs=("output_*.npy",))
TIMES_JOB = replace(JOB, stage=DISPATCH_TIMES, outputs=(TRACED_FILE,))
GOOD = JobEnd(key="k", end="exited", log="Running /srv/x/tool\n")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job").mkdir()
    return tmp_path / "job"


@pytest.fixture
def collect(store, folder, tmp_path) -> Callable[..., Collected]:
    """What is taken of the folder, for a job of a stage."""
    request = plan_in(tmp_path / "models", "").nodes[0].request
    assert request is not None

    def take(*, stage: str = "run", pattern: str = "output_*.npy", limits: Limits | None = None) -> Collected:
        job = replace(JOB, stage=stage, outputs=(pattern,), limits=limits or Limits())
        came: SimpleQueue[Collected] = SimpleQueue()
        Collector(store, came.put).take(Work(job=job, request=request), GOOD, outputs_in(folder, job))
        return came.get(timeout=10)

    return take


def judged(found: Collected, job: Job = JOB) -> Outcome:
    assert found.fault is None
    whole = complete(job, [artifact.name for artifact in found.outputs])
    return outcome_of(found.end, has_outputs=whole, recognised=None)


def test_outputs_go_into_the_store(collect, folder, store):
    (folder / "output_0.npy").write_bytes(b"abc")
    found = collect()
    assert [store.read(artifact.digest) for artifact in found.outputs] == [b"abc"]
    assert judged(found) is Outcome.PASSED


@pytest.mark.parametrize(
    "leave",
    [
        lambda path: path.mkdir(),
        os.mkfifo,
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to("output_0.npy"),
    ],
    ids=["folder", "fifo", "link", "loop"],
)
def test_what_is_no_file_is_no_output(collect, folder, leave):
    leave(folder / "output_0.npy")
    found = collect()
    assert (found.outputs, judged(found)) == ((), Outcome.FAILED)


def test_a_file_that_its_owner_may_not_read_is_read(collect, folder, store):
    (folder / "output_0.npy").write_bytes(b"abc")
    (folder / "output_0.npy").chmod(0)
    assert [store.read(artifact.digest) for artifact in collect().outputs] == [b"abc"]


def test_a_file_that_cannot_be_read_fails_its_job_and_says_so(collect, folder, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    (folder / "output_0.npy").write_bytes(b"abc")
    monkeypatch.setattr(Path, "chmod", refuse)
    found = collect()
    assert judged(found) is Outcome.FAILED
    assert found.end.error == "the output output_0.npy cannot be read: Permission denied"


def test_a_full_disk_is_no_fault_of_the_job(collect, folder, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (folder / "output_0.npy").write_bytes(b"abc")
    (folder / "another name").hardlink_to(folder / "output_0.npy")
    monkeypatch.setattr(shutil, "copyfile", full)
    assert isinstance(collect().fault, DiskFull)


def test_a_file_of_somebody_else_stays_as_it_is(collect, folder, tmp_path, store):
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"abc")
    (folder / "output_0.npy").hardlink_to(theirs)
    mode = theirs.stat().st_mode
    (taken,) = collect().outputs
    theirs.write_bytes(b"changed")
    assert (theirs.stat().st_mode, store.read(taken.digest)) == (mode, b"abc")


def test_a_sparse_terabyte_is_beyond_the_limit_and_never_read(collect, folder):
    with (folder / "output_0.npy").open("wb") as file:
        file.truncate(1 << 40)
    found = collect()
    assert (found.end.end, judged(found)) == ("over_limit", Outcome.FAILED)
    assert "hold 1,099,511,627,776 bytes, of at most 8,589,934,592" in found.end.error
    with (folder / "output_0.npy").open("wb") as file:
        file.truncate(101)
    assert collect(limits=replace(Limits(), output_bytes=100)).end.end == "over_limit"


def test_too_many_outputs(collect, folder, monkeypatch):
    monkeypatch.setattr(collecting, "MOST_OUTPUTS", 3)
    for number in range(4):
        (folder / f"output_{number}.npy").write_bytes(b"abc")
    assert collect().end.error == "it left 4 outputs, of at most 3"


def test_a_large_output_is_read_in_blocks(collect, folder, store):
    size = 300 << 20
    with (folder / "output_0.npy").open("wb") as file:
        file.truncate(size)
    before = resident_peak()
    (taken,) = collect().outputs
    assert taken.size == size
    assert resident_peak() - before < 50 << 20


def resident_peak() -> int:
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


def test_what_is_private_is_stripped_from_a_benchmark_unless_it_is_too_large(collect, folder, store, monkeypatch):
    (folder / "benchmark.json").write_bytes(NOISY)
    (taken,) = collect(stage="benchmark", pattern="benchmark.json").outputs
    assert b"workshop-7" not in store.read(taken.digest)
    (folder / "benchmark.json").write_bytes(NOISY)
    monkeypatch.setattr(collecting, "STRIPPED_BYTES", 10)
    assert collect(stage="benchmark", pattern="benchmark.json").end.end == "over_limit"


def times(collect, folder, content: bytes) -> Collected:
    (folder / TRACED_FILE).write_bytes(content)
    return collect(stage=DISPATCH_TIMES, pattern=TRACED_FILE)


def test_of_a_capture_names_and_times_are_kept(collect, folder, store):
    found = times(collect, folder, WHOLE)
    (kept,) = found.outputs
    assert read_kept_times(store.read(kept.digest), "kept").least == 5
    assert found.end.log == "" and judged(found, TIMES_JOB) is Outcome.PASSED


ONE_CALL = [("main$async_dispatch_0", [5])]
WHOLE = capture([ONE_CALL] * TIMED_CALLS)
OTHER_VERSION = capture([ONE_CALL] * TIMED_CALLS, version=(0, 12, 0))


@pytest.mark.parametrize(
    "content", [b"", b"no capture", b"tr\xfdP\x01\x04\xff\xff", WHOLE[:-5], WHOLE[: len(WHOLE) // 2], OTHER_VERSION]
)
def test_a_capture_that_is_not_whole_or_not_known_is_our_fault_and_leaves_nothing(collect, folder, content):
    found = times(collect, folder, content)
    assert found.outputs == ()
    assert judged(found, TIMES_JOB) is Outcome.INFRASTRUCTURE
    assert found.end.error.startswith((f"{TRACED_FILE}: byte ", f"{TRACED_FILE}: unpacked byte "))
    assert ("a capture of Tracy 0.12.0, expected 0.11.0 or 0.11.2" in found.end.error) is (content == OTHER_VERSION)


def test_a_capture_without_a_dispatch_is_not_measured_with_the_reason(collect, folder):
    found = times(collect, folder, capture([[]] * TIMED_CALLS))
    assert found.outputs == ()
    signature = recognise(found.end.log, stage=DISPATCH_TIMES)
    assert signature and signature.name == "times-refused" and "no dispatch ran on the thread" in signature.means
