"""What a job cannot do to others: to their processes, their memory, their files, this machine."""

from __future__ import annotations

import functools
import importlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import eventually, marked
from worker_talk import ENV, PYTHON, SH, WORKER, Talk

EAT = "x = bytearray(200 << 20); import time; time.sleep(60)"
DETACHED = "import os, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); "
"""A daemon: no parent, no session of a job."""
MEMORY_CGROUP = Path("/sys/fs/cgroup/memory")


# -- whose process it is


def test_the_end_of_a_job_leaves_the_detached_helper_of_another_alone(fresh, tmp_path):
    talk = fresh(slots=2)
    helper = f"{DETACHED} time.sleep(0.4); open({str(tmp_path / 'made')!r}, 'w')"
    long = talk.submit(SH, "-c", f'{PYTHON} -ISc "{helper}"; sleep 1')
    talk.started(long)
    for _ in range(5):
        talk.shell("true")
    assert talk.finished(long)["end"] == "exited"
    assert (tmp_path / "made").exists()


def test_memory_of_a_daemon_counts_for_its_job_and_for_no_other(fresh):
    talk = fresh(slots=2)
    other = talk.submit(SH, "-c", "sleep 1", limits={"memory_bytes": 100 << 20})
    talk.started(other)
    end = talk.run(SH, "-c", f'{PYTHON} -ISc "{DETACHED} {EAT}"; sleep 20', limits={"memory_bytes": 100 << 20})
    assert end["end"] == "out_of_memory"
    assert talk.finished(other)["end"] == "exited"


def test_a_fork_bomb_ends_at_a_number_of_processes(fresh):
    talk = fresh(slots=2)
    marker = f"bomb {talk.process.pid}"
    leave = "os.setsid() if os.getsid(0) != os.getpid() else 0"
    bomb = f"import os, time\nfor _ in range(11): os.fork()\n{leave}; time.sleep(60)"
    end = talk.run(PYTHON, "-ISc", bomb, env={**ENV, "MARKER": marker}, limits={"memory_bytes": 64 << 30})
    assert end["end"] == "over_limit"
    assert "processes at a time, of at most 1000" in end["error"]
    assert eventually(lambda: marked(marker) == [])
    talk.still_works()


def test_a_job_that_kills_its_keeper_is_lost_with_all_that_it_started(fresh):
    talk = fresh(slots=2)
    marker = f"keeper {talk.process.pid}"
    end = talk.shell("setsid sleep 60 & kill -KILL $PPID; sleep 60", env={**ENV, "MARKER": marker})
    assert (end["end"], end["exit_code"]) == ("lost", 0)
    assert "keeper was killed" in end["error"]
    assert eventually(lambda: marked(marker) == [])
    talk.still_works()


def test_signals_to_a_keeper_are_ignored(fresh):
    end = fresh(slots=1).shell("kill -TERM $PPID; kill -INT $PPID; kill -HUP $PPID; sleep 0.05; exit 3")
    assert (end["end"], end["exit_code"]) == ("exited", 3)


def keeper_of(talk: Talk, job: str) -> int:
    keeper = talk.started(job)["pid"]
    assert talk.finished(job)["end"] == "exited"
    return keeper


def test_a_keeper_takes_one_job_after_another(fresh):
    talk = fresh(slots=1)
    first, *others = [keeper_of(talk, talk.submit("true")) for _ in range(3)]
    assert others == [first, first]


@pytest.mark.parametrize("change", ["prlimit --pid $PPID --nofile=64:64", "renice -n 5 -p $PPID"])
def test_a_keeper_that_a_job_has_changed_gets_no_other(fresh, change):
    talk = fresh(slots=1)
    first = keeper_of(talk, talk.submit(SH, "-c", f"{change} > /dev/null"))
    assert keeper_of(talk, talk.submit(SH, "-c", "exit 0")) != first
    assert talk.shell("ulimit -n; nice")["log"] == subprocess.check_output([SH, "-c", "ulimit -n; nice"], text=True)


def test_a_keeper_that_was_killed_while_it_had_no_job_is_replaced(fresh):
    talk = fresh(slots=1)
    first = keeper_of(talk, talk.submit("true"))
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: not Path(f"/proc/{first}").exists())
    assert keeper_of(talk, talk.submit("true")) != first


def test_a_request_that_is_too_long_for_a_keeper_reaches_a_new_one(fresh):
    talk = fresh(slots=1)
    for count in (1, 5, 1):
        assert talk.run("printf", "%s", *["x" * 100_000] * count)["log_bytes"] == count * 100_000
    talk.still_works()


def test_the_cpu_time_of_a_job_is_not_that_of_the_one_before(fresh):
    talk = fresh(slots=1)
    spin = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    assert talk.run(PYTHON, "-ISc", spin)["cpu_seconds"] >= 0.3
    assert talk.run("true")["cpu_seconds"] < 0.1


# -- the kernel's OOM killer


@pytest.fixture
def out_of_memory() -> Iterator[functools.partial]:
    """A function that makes the kernel's OOM killer end a process in a cgroup of its own."""
    group = MEMORY_CGROUP / f"iree-matrix-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"NOT TESTED: no cgroup of memory can be made here: {error}")
    (group / "memory.limit_in_bytes").write_text(str(32 << 20))

    def kill() -> None:
        code = f"open('{group}/cgroup.procs', 'w').write('0'); bytearray(200 << 20)"
        assert subprocess.run([PYTHON, "-ISc", code], check=False).returncode == -signal.SIGKILL

    yield kill
    assert eventually(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


@pytest.mark.exclusive
def test_an_older_oom_kill_is_not_counted_for_a_later_signal(fresh, out_of_memory):
    talk = fresh(slots=1)
    out_of_memory()
    end = talk.shell("kill -KILL $$")
    assert (end["end"], end["signal"]) == ("signalled", 9)


@pytest.mark.exclusive
def test_a_failure_while_this_machine_ran_out_of_memory_is_no_finding(fresh, out_of_memory):
    talk = fresh(slots=1)
    for ending in ("kill -KILL $$", "exit 1"):
        job = talk.submit(SH, "-c", f"read line < {WORKER}; sleep 0.5; {ending}")
        talk.started(job)
        out_of_memory()
        end = talk.finished(job)
        assert end["end"] == "crowded_out"
        assert "this machine ran out of memory" in end["error"]
    job = talk.submit(SH, "-c", "sleep 0.5")
    talk.started(job)
    out_of_memory()
    assert talk.finished(job)["end"] == "exited"


# -- what it writes


def test_a_file_beyond_the_limit_of_outputs(fresh, tmp_path):
    talk = fresh(slots=1)
    limits = {"output_bytes": 1 << 20}
    dd = ("dd", "if=/dev/zero", f"of={tmp_path / 'big'}", "bs=1M", "seek=1000000", "count=1")
    end = talk.run(*dd, limits=limits)
    assert end["end"] == "over_limit"
    assert end["error"] == "it wrote a file of more than 1048576 bytes, the limit of its outputs"
    assert (tmp_path / "big").stat().st_size <= 1 << 20
    script = tmp_path / "script.py"
    script.write_text("def run(arguments):\n    open('large', 'wb').truncate(1 << 40)\n")
    end = talk.run(script=str(script), arguments={}, cwd=str(tmp_path), limits=limits)
    assert "File too large" in end["log"]


@pytest.fixture
def confined(fresh, tmp_path, monkeypatch) -> functools.partial:
    """Runs Python code as a confined job with a folder of its own; skips without Landlock."""
    monkeypatch.syspath_prepend(WORKER.parent)
    if importlib.import_module("confine").landlock_version() < 6:
        pytest.skip("NOT TESTED: this kernel has no Landlock that covers signals")
    (tmp_path / "own").mkdir()
    talk = fresh(slots=2)

    def run(code: str, **more: object) -> dict:
        (tmp_path / "code.py").write_text(f"import os, socket\n{code}\n")
        return talk.run(PYTHON, "-IS", str(tmp_path / "code.py"), cwd=str(tmp_path / "own"), confined=True, **more)

    return run


REFUSED = "PermissionError"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("open('../other', 'w')", REFUSED),
        ("open('../kept', 'r+')", REFUSED),
        ("os.truncate('../kept', 0)", REFUSED),
        ("os.unlink('../kept')", REFUSED),
        ("os.rename('../kept', '../gone')", REFUSED),
        ("os.link('../kept', 'mine')", "cross-device"),
        ("os.rename('../kept', 'mine')", REFUSED),
        ("os.symlink('../kept', 'link'); open('link', 'w')", REFUSED),
        ("os.mkdir('../folder')", REFUSED),
        ("os.mkfifo('../pipe')", REFUSED),
        ("os.mknod('device', 0o60600, os.makedev(7, 0))", REFUSED),
        ("open('/tmp/iree-matrix-escaped', 'w')", REFUSED),
        ("open('/proc/sys/kernel/core_pattern', 'w')", REFUSED),
        ("socket.create_connection(('127.0.0.1', PORT), 2)", REFUSED),
        ("socket.socket().bind(('127.0.0.1', 0))", REFUSED),
        ("os.kill(VICTIM, 9)", REFUSED),
        ("os.kill(os.getppid(), 9)", REFUSED),
        ("open('/proc/VICTIM/mem', 'r+b')", REFUSED),
        ("import ctypes; assert not ctypes.CDLL(None).umount2(b'/dev/shm', 2)", "AssertionError"),
    ],
)
def test_what_a_confined_job_cannot_do(confined, tmp_path, code, said):
    (tmp_path / "kept").write_text("as it was")
    victim = subprocess.Popen(["sleep", "60"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        end = confined(code.replace("PORT", port).replace("VICTIM", str(victim.pid)))
    assert (end["end"], end["exit_code"]) == ("exited", 1), end
    assert said.lower() in end["log"].lower()
    assert (tmp_path / "kept").read_text() == "as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["code.py", "kept", "own"]
    assert victim.poll() is None
    victim.kill()
    victim.wait()


def test_what_a_confined_job_can_do(confined, tmp_path):
    end = confined(
        "os.mkdir('a'); open('a/file', 'w').write('x'); os.rename('a/file', 'file'); os.link('file', 'a/again')\n"
        "os.mkfifo('pipe'); os.symlink('file', 'link'); os.truncate('file', 0); os.unlink('link')\n"
        "open('/dev/null', 'w').write('x')\n"
        "import subprocess; p = subprocess.Popen(['sleep', '9']); p.kill(); p.wait()\n"
        "import multiprocessing; print(multiprocessing.Pool(2).map(abs, [-1, -2]))"
    )
    assert (end["end"], end["exit_code"], end["log"]) == ("exited", 0, "[1, 2]\n")


def test_programs_of_a_job_talk_by_tcp_within_a_network_of_its_own(confined):
    """Where the machine forbids namespaces, it has no TCP."""
    code = (
        "server = socket.create_server(('127.0.0.1', 0)); own = socket.create_connection(server.getsockname(), 2)\n"
        "print([name for _, name in socket.if_nameindex()])\n"
        "try: socket.create_connection(('127.0.0.1', PORT), 2)\n"
        "except ConnectionRefusedError: print('nobody else')"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        end = confined(code.replace("PORT", str(server.getsockname()[1])), loopback=True)
    assert end["log"] == "['lo']\nnobody else\n" or (REFUSED in end["log"] and "bind" in end["log"]), end


def test_a_cache_that_jobs_share_can_be_written_and_nothing_beside_it(confined, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "link").symlink_to("cache")
    code = "os.mkdir('../cache/folder'); open('../cache/folder/file', 'w').write('x')"
    assert REFUSED in confined(code)["log"]
    assert confined(code, writable=[str(tmp_path / "link")])["exit_code"] == 0
    assert REFUSED in confined("open('../beside', 'w')", writable=[str(tmp_path / "link")])["log"]
    assert (tmp_path / "cache" / "folder" / "file").read_text() == "x" and not (tmp_path / "beside").exists()


def test_shared_memory_is_of_one_job_and_counts(confined):
    code = "open('/dev/shm/left', 'wb').write(bytes(90 << 20)); x = bytearray(90 << 20); import time; time.sleep(20)"
    assert confined(code, limits={"memory_bytes": 120 << 20})["end"] == "out_of_memory"
    end = confined("open('/dev/shm/more', 'wb').write(bytes(30 << 20))", limits={"memory_bytes": 20 << 20})
    assert end["end"] == "out_of_memory" or "No space left" in end["log"]
    assert confined("open('/dev/shm/big', 'w'); print(os.listdir('/dev/shm'))")["log"] == "['big']\n"
    assert not {"left", "more", "big"} & {path.name for path in Path("/dev/shm").iterdir()}
