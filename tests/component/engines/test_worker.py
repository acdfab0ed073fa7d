"""The orchestrator's side of the protocol, against the real worker and against impostors."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest
from waiting import eventually, marked

from matrix.core import errors
from matrix.core.records import Limits
from matrix.engines import channel, worker
from matrix.engines.worker import Finished, Lost, Order, Ready, Started, WorkerEvent, WorkerProcess

SCRIPT = Path(__file__).parents[3] / "scripts" / "worker.py"
SH = shutil.which("sh") or "sh"
LIMITS = Limits(seconds=20, memory_bytes=2 << 30, log_bytes=4096)
HELLO = {
    "type": "hello",
    "protocol": 1,
    "python": "3.11.7",
    "implementation": "cpython",
    "c_library": "glibc 2.36",
    "machine": "x86_64",
    "pid": 1,
    "slots": 1,
    "versions": {},
}

FINISHED = {
    "type": "finished",
    "id": "a",
    "end": "exited",
    "exit_code": 0,
    "signal": 0,
    "seconds": 0.1,
    "cpu_seconds": 0.1,
    "peak_bytes": 1,
    "log": "",
    "log_bytes": 0,
    "error": "",
}


class Client:
    """A WorkerProcess and a queue of its events, as the runner has them."""

    def __init__(self, *, script: Path = SCRIPT, slots: int = 2, marker: str = "", **more: object) -> None:
        self.events: SimpleQueue[WorkerEvent] = SimpleQueue()
        self.process = WorkerProcess(
            interpreter=Path(sys.executable),
            script=script,
            slots=slots,
            on_event=self.events.put,
            name="w1",
            env={**os.environ, "MARKER": marker},
            **more,
        )
        self.marker = marker

    def next(self, seconds: float = 10.0) -> WorkerEvent:
        return self.events.get(timeout=seconds)

    def shell(self, job_id: str, code: str) -> None:
        env = {"PATH": os.environ["PATH"], "MARKER": self.marker}
        order = Order(job_id=job_id, argv=(SH, "-c", code), cwd=Path("/"), env=env, limits=LIMITS)
        self.process.submit(order)

    def nothing_more(self) -> bool:
        with contextlib.suppress(Empty):
            self.events.get(timeout=0.05)
            return False
        return True


@pytest.fixture(params=["namespace", "plain"])
def client(request, tmp_path, monkeypatch) -> Iterator[Callable[..., Client]]:
    """Clients with and without a PID namespace."""
    if request.param == "plain":
        monkeypatch.setattr(channel, "namespace_prefix", tuple)
    elif not channel.namespace_prefix():
        pytest.skip("this machine allows no PID namespace")
    with contextlib.ExitStack() as stack:

        def start(**more: object) -> Client:
            client = Client(marker=str(tmp_path), **more)
            stack.callback(client.process.terminate)
            return client

        yield start
    assert eventually(lambda: marked(str(tmp_path)) == [])


@pytest.fixture
def impostor(tmp_path) -> Iterator[Callable[[str], Client]]:
    """A script of a few lines in the worker's place."""
    with contextlib.ExitStack() as stack:

        def start(code: str) -> Client:
            script = tmp_path / "impostor.py"
            script.write_text(code)
            client = Client(script=script)
            stack.callback(client.process.terminate)
            return client

        yield start


def worker_pid(marker: str) -> int:
    """The worker itself, not the `unshare` above it."""
    for pid in marked(marker):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1:3] == [b"-I", os.fsencode(SCRIPT)]:
                return pid
    raise AssertionError("no worker runs")


def test_the_life_of_a_job(client):
    c = client(version_of=["pytest"])
    ready = c.next()
    assert isinstance(ready, Ready)
    assert ready.hello.protocol == 1
    assert ready.hello.slots == 2
    assert ready.hello.versions == {"pytest": pytest.__version__}
    c.shell("a", "echo hi; exit 3")
    assert c.next() == Started(worker="w1", job_id="a")
    finished = c.next()
    assert isinstance(finished, Finished)
    assert (finished.end.key, finished.end.end, finished.end.exit_code, finished.end.log) == ("a", "exited", 3, "hi\n")
    c.process.close()
    c.process.close()
    assert c.nothing_more()


def test_script_order(client, tmp_path):
    (tmp_path / "job.py").write_text("def run(arguments): print(arguments['x'])")
    c = client(warm=["wave"])
    order = Order(job_id="s", script=tmp_path / "job.py", arguments={"x": [1]}, cwd=tmp_path, env={}, limits=LIMITS)
    c.process.submit(order)
    ends = [c.next() for _ in range(3)]
    assert ends[2].end.log == "[1]\n"


def test_warm_error(client):
    assert "no_such_module" in client(warm=["no_such_module"]).next().hello.warm_error


def test_kill(client):
    c = client()
    c.shell("a", "sleep 60")
    assert [type(c.next()) for _ in range(2)] == [Ready, Started]
    c.process.kill("a")
    assert c.next().end.end == "killed"


def test_close_waits_for_jobs_and_then_no_longer(client):
    c = client()
    c.shell("a", "sleep 0.05")
    c.shell("b", "setsid sleep 60")
    assert [type(c.next()) for _ in range(3)] == [Ready, Started, Started]
    started = time.monotonic()
    c.process.close(seconds=0.25)
    assert 0.25 <= time.monotonic() - started < 3
    assert c.next().end.key == "a"
    assert eventually(lambda: marked(c.marker) == [])


def test_terminate_takes_the_tree_down(client):
    c = client()
    c.shell("a", "setsid sh -c 'trap \"\" TERM; sleep 60' & sleep 60")
    assert [type(c.next()) for _ in range(2)] == [Ready, Started]
    started = time.monotonic()
    c.process.terminate()
    assert time.monotonic() - started < 1
    assert eventually(lambda: marked(c.marker) == [])
    assert not any(isinstance(event, Lost) for event in drained(c))


def drained(client: Client) -> list[WorkerEvent]:
    events = []
    with contextlib.suppress(Empty):
        while True:
            events.append(client.events.get(timeout=0.05))
    return events


def test_a_stopped_worker_is_terminated_with_its_tree(client, monkeypatch):
    monkeypatch.setattr(channel, "GRACE_SECONDS", 0.1)
    c = client()
    c.shell("a", "setsid sleep 60")
    assert [type(c.next()) for _ in range(2)] == [Ready, Started]
    os.kill(worker_pid(c.marker), 19)
    c.process.terminate()
    assert eventually(lambda: marked(c.marker) == [])


def test_a_killed_worker_is_lost_once_and_takes_its_jobs_along(client):
    c = client(slots=1)
    c.shell("a", "setsid sleep 60")
    c.shell("b", "true")
    assert [type(c.next()) for _ in range(2)] == [Ready, Started]
    os.kill(worker_pid(c.marker), 9)
    lost = c.next()
    assert isinstance(lost, Lost)
    assert lost.exit_status != 0
    assert lost.job_ids == ("a", "b")
    c.shell("late", "true")
    late = c.next()
    assert (late.end.key, late.end.end) == ("late", "lost")
    c.process.terminate()
    assert c.nothing_more()
    if channel.namespace_prefix():
        assert eventually(lambda: marked(c.marker) == [])
    else:  # a spawned program has no other tie to its worker
        for pid in marked(c.marker):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)


def test_with_block(client):
    with client().process as process:
        pass
    assert process.name == "w1"
    with pytest.raises(ZeroDivisionError), client().process:
        raise ZeroDivisionError


def test_an_interpreter_that_is_not_there(tmp_path):
    with pytest.raises(errors.WorkerLost, match="no interpreter at"):
        WorkerProcess(interpreter=tmp_path / "python", script=SCRIPT, slots=1, on_event=print, name="w")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (f"print({json.dumps({**HELLO, 'protocol': 2})!r})", "speaks version 2 of the protocol, expected 1"),
        ("print('Welcome!')", "not this protocol"),
        ("""print('{"type": "started", "id": "a"}')""", "the first message is 'started', expected 'hello'"),
        (f"print({json.dumps(HELLO)[:-1]!r}[:30] + '}}')", "not this protocol"),
        ("import sys; sys.exit('no torch here')", "ended without being asked to, with status 1"),
    ],
)
def test_who_does_not_speak_the_protocol_is_lost(impostor, code, reason):
    lost = impostor(code).next()
    assert isinstance(lost, Lost)
    assert reason in lost.reason
    assert ("no torch here" in lost.stderr_tail) == ("no torch" in code)


def test_a_worker_that_only_closes_its_stdout_is_lost(impostor, monkeypatch):
    monkeypatch.setattr(channel, "namespace_prefix", tuple)
    monkeypatch.setattr(channel, "GRACE_SECONDS", 0.1)
    assert impostor("import os; os.close(1); import time; time.sleep(60)").next().exit_status == -9


def test_a_workers_error_is_the_end_of_it(impostor):
    error = {"type": "error", "message": "malformed request: x"}
    c = impostor(f"print({json.dumps(HELLO)!r}); print({json.dumps(error)!r}, flush=True); input()")
    assert isinstance(c.next(), Ready)
    assert c.next().reason == "malformed request: x"


def test_a_worker_that_never_says_hello(impostor, monkeypatch):
    monkeypatch.setattr(worker, "HELLO_SECONDS", 0.1)
    monkeypatch.setattr(worker, "SEE_SECONDS", 0.05)
    assert impostor("import time; time.sleep(60)").next().reason == "no hello within 0.1 s"


def stopped_early(client: Callable[..., Client], folder: Path, code: str) -> tuple[Client, int]:
    """A worker that is stopped before its first word, and its pid. The first process of a namespace cannot do it."""
    (folder / "late.py").write_text(code)
    c = client(script=folder / "late.py")
    assert eventually(lambda: b"late.py" in newest_line(c.marker))
    pid = marked(c.marker)[-1]
    os.kill(pid, 19)
    return c, pid


def line_of(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def newest_line(marker: str) -> bytes:
    line = line_of((marked(marker) or [0])[-1])
    return b"" if b"unshare" in line else line


def test_a_worker_that_is_stopped_before_its_hello_is_ended_within_seconds(client, tmp_path, monkeypatch):
    """Its warm imports may take minutes, so it is not waited for where anybody could see that they will never end."""
    monkeypatch.setattr(channel, "GRACE_SECONDS", 0.1)
    begun = time.monotonic()
    c, _ = stopped_early(client, tmp_path, "import time; time.sleep(60)")
    assert c.next(20.0).reason == "was stopped from outside before its first word"
    assert time.monotonic() - begun < 15


def test_a_worker_that_goes_on_after_a_stop_is_kept(client, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "SEE_SECONDS", 0.2)
    c, pid = stopped_early(client, tmp_path, f"import time; time.sleep(1); print({json.dumps(HELLO)!r}); input()")
    time.sleep(0.3)
    os.kill(pid, 18)
    c.process.close(seconds=5.0)
    assert isinstance(c.next(), Ready)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("exit_code", None), ("exit_code", "0"), ("exit_code", True), ("signal", -1), ("seconds", "1")],
        *[("cpu_seconds", [1]), ("peak_bytes", 1.5), ("peak_bytes", 10**30), ("log", 7), ("log_bytes", {})],
        *[("error", None), ("end", "forged"), ("end", ["exited"]), ("id", ["a"]), ("id", "another")],
    ],
)
def test_a_malformed_end_loses_the_worker_and_its_job(impostor, field, value):
    """The job is started again in another worker; what was read is in the reason, and nothing of it in a result."""
    said = json.dumps({**FINISHED, field: value})
    code = f"print({json.dumps(HELLO)!r}, flush=True); input(); print({said!r}, flush=True); import time; time.sleep(9)"
    c = impostor(code)
    c.shell("a", "true")
    assert isinstance(c.next(), Ready)
    lost = c.next()
    assert (type(lost), lost.job_ids) == (Lost, ("a",))
    assert repr(value) in lost.reason


def test_a_job_that_ends_twice_loses_the_worker(impostor):
    line = f"print({json.dumps(FINISHED)!r}, flush=True); "
    c = impostor(f"print({json.dumps(HELLO)!r}, flush=True); input(); {line * 2} import time; time.sleep(9)")
    c.shell("a", "true")
    assert [type(c.next()) for _ in range(3)] == [Ready, Finished, Lost]


def test_stderr_is_kept_in_bounds(impostor):
    c = impostor("import sys; sys.stderr.write('x' * 10_000_000 + 'end'); sys.exit(2)")
    lost = c.next()
    assert lost.exit_status == 2
    assert lost.stderr_tail.endswith("xxend")
    assert len(lost.stderr_tail) == worker.STDERR_BYTES


def test_submit_never_waits_for_a_worker_that_reads_nothing(impostor):
    c = impostor("import time; time.sleep(60)")
    started = time.monotonic()
    for number in range(300):
        c.shell(str(number), "x" * 1000)
    assert time.monotonic() - started < 1


def test_a_worker_that_has_hardly_begun_is_ended_at_once(impostor):
    """`unshare` that is killed between its fork and what it does next leaves its child."""
    begun = time.monotonic()
    for tried in range(150):
        c = impostor("import time; time.sleep(60)")
        time.sleep(0.0005 + tried / 150_000)  # the moment was seen at 0.96 ms
        c.process.terminate()
    assert time.monotonic() - begun < 20


def test_a_worker_that_another_process_tells_to_end_loses_its_jobs(client):
    """Nobody here asked for it: the jobs are lost, and the worker takes no more."""
    c = client(slots=1)
    c.shell("a", "sleep 60")
    c.shell("b", "true")
    assert [type(c.next()) for _ in range(2)] == [Ready, Started]
    os.kill(worker_pid(c.marker), 15)
    finished = c.next()
    assert (finished.end.key, finished.end.end) == ("a", "lost")
    assert finished.end.error == "worker w1 was told to end by another process"
    assert c.process.gone
    lost = c.next()
    assert (type(lost), lost.job_ids) == (Lost, ("b",))


def test_a_worker_that_is_stopped_is_ended(client, monkeypatch):
    monkeypatch.setattr(channel, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(worker, "ASK_SECONDS", 0.05)
    c = client(slots=1)
    c.shell("a", "sleep 60")
    assert [type(c.next()) for _ in range(2)] == [Ready, Started]
    assert not eventually(lambda: not c.events.empty(), seconds=1.0)  # it answers, however long the job takes
    os.kill(next(pid for pid in marked(c.marker) if line_of(pid).startswith(b"sleep")), 19)
    assert not eventually(lambda: not c.events.empty(), seconds=1.0)  # and while a job is stopped
    os.kill(worker_pid(c.marker), 19)
    lost = c.next()
    assert (type(lost), lost.job_ids) == (Lost, ("a",))
    assert lost.reason == "gave no sign of life for 0.1 s: it was stopped from outside"
    c.process.terminate()
    if not channel.namespace_prefix():  # a spawned program has no other tie to its worker
        for pid in marked(c.marker):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)


def test_a_worker_without_jobs_may_be_silent(impostor, monkeypatch):
    monkeypatch.setattr(worker, "ASK_SECONDS", 0.02)
    c = impostor(f"print({json.dumps(HELLO)!r}, flush=True); input()")
    assert isinstance(c.next(), Ready)
    assert not eventually(lambda: not c.events.empty(), seconds=0.5)


def test_a_silent_impostor_with_a_job_is_lost(impostor, monkeypatch):
    monkeypatch.setattr(worker, "ASK_SECONDS", 0.02)
    c = impostor(f"print({json.dumps(HELLO)!r}, flush=True); import time; time.sleep(60)")
    assert isinstance(c.next(), Ready)
    c.shell("a", "true")
    assert c.next().job_ids == ("a",)
