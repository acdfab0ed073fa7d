"""The worker itself, over its real protocol, with real processes, on every Python from 3.9 on that is found."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import eventually, marked
from worker_talk import ENV, LIMITS, PYTHON, PYTHONS, SH, WORKER, Talk

EAT = "x = bytearray(200 << 20); import time; time.sleep(60)"
SETSID_GRANDCHILD = "setsid sh -c 'trap \"\" TERM; sleep 60' & "
COUNT_CORES = "import os, time; time.sleep(0.05); print(len(os.sched_getaffinity(0)))"


@pytest.fixture(scope="module", params=sorted(PYTHONS))
def talk(request) -> Iterator[Talk]:
    """One worker for all tests of a Python: what one test's job does must not hurt the next."""
    talk = Talk(PYTHONS[request.param])
    yield talk
    talk.still_works()
    talk.stop()


def environment(marker: str) -> dict:
    return {**ENV, "MARKER": marker}


def test_the_oldest_and_the_newest_pythons_are_compared():
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in PYTHONS


def test_hello(talk):
    assert talk.hello["protocol"] == 1
    assert talk.hello["slots"] == 2
    assert talk.hello["python"].startswith("3.")
    assert talk.hello["machine"] == os.uname().machine
    assert "warm_error" not in talk.hello


def test_exit_code_output_folder_and_environment_are_kept(talk, tmp_path):
    end = talk.shell("pwd; echo $COLOUR; echo error >&2; exit 7", cwd=str(tmp_path), env={**ENV, "COLOUR": "blue"})
    assert (end["end"], end["exit_code"], end["signal"], end["error"]) == ("exited", 7, 0, "")
    assert end["log"] == f"{tmp_path}\nblue\nerror\n"
    assert end["log_bytes"] == len(end["log"])
    assert 0 < end["seconds"] < 5


def test_a_crash_is_signalled(talk):
    end = talk.shell("kill -SEGV $$")
    assert (end["end"], end["signal"], end["exit_code"]) == ("signalled", signal.SIGSEGV, 0)
    talk.still_works()


def test_a_hang_times_out_at_its_limit_with_all_that_it_started(talk):
    code = SETSID_GRANDCHILD + "trap '' TERM; sleep 60 & wait"
    end = talk.shell(code, limits={"seconds": 0.15}, env=environment(f"hang {talk.process.pid}"))
    assert end["end"] == "timed_out"
    assert 0.15 <= end["seconds"] < 1
    assert marked(f"hang {talk.process.pid}") == []
    talk.still_works()


def test_too_much_memory(talk):
    end = talk.run(PYTHON, "-ISc", EAT, limits={"memory_bytes": 100 << 20})
    assert end["end"] == "out_of_memory"
    assert end["peak_bytes"] > 100 << 20
    talk.still_works()


def test_output_is_cut_in_the_middle(talk):
    end = talk.shell("echo first; yes | head -c 1000000; echo; echo last")
    assert end["log"].startswith("first\ny\n")
    assert end["log"].endswith("\nlast\n")
    assert end["log_bytes"] == 1_000_012
    assert f"... {1_000_012 - 4096:,} bytes left out ..." in end["log"]
    assert len(end["log"]) < 4200


def test_a_leftover_with_the_pipe_open_delays_nothing(talk):
    marker = f"leftover {talk.process.pid}"
    end = talk.shell("setsid sleep 60 & sleep 60 & echo main; exit 0", env=environment(marker))
    assert (end["end"], end["log"]) == ("exited", "main\n")
    assert end["seconds"] < 1
    assert marked(marker) == []
    talk.still_works()


def test_kill(talk):
    marker = f"kill {talk.process.pid}"
    job = talk.submit(SH, "-c", SETSID_GRANDCHILD + "sleep 60", env=environment(marker))
    talk.started(job)
    talk.send({"type": "kill", "id": job})
    assert talk.finished(job)["end"] == "killed"
    assert marked(marker) == []
    talk.still_works()


def test_script_job(talk, tmp_path):
    script = write_script(tmp_path, "import os; print('hi', arguments['n'], os.getcwd(), os.environ['A'])")
    end = talk.run(script=script, arguments={"n": 5}, cwd=str(tmp_path), env={"A": "b"})
    assert (end["end"], end["exit_code"], end["log"]) == ("exited", 0, f"hi 5 {tmp_path} b\n")
    write_script(tmp_path, "raise KeyError('edited')")
    end = talk.run(script=script, arguments={}, cwd=str(tmp_path))
    assert (end["end"], end["exit_code"]) == ("exited", 1)
    assert end["log"].startswith("Traceback") and end["log"].endswith("KeyError: 'edited'\n")
    talk.still_works()


def write_script(folder: Path, body: str) -> str:
    path = folder / "script.py"
    path.write_text(f"def run(arguments):\n    {body}\n")
    return str(path)


@pytest.fixture(scope="module")
def one() -> Iterator[Talk]:
    """A worker of this Python alone, for what does not depend on the Python."""
    talk = Talk(slots=1)
    yield talk
    talk.still_works()
    talk.stop()


@pytest.mark.parametrize(
    ("body", "ended", "text"),
    [
        ("import os; print('lost?', flush=True); os._exit(3)", ("exited", 3), "lost?\n"),
        ("import os, signal; print('before'); os.kill(os.getpid(), signal.SIGSEGV)", ("signalled", 11), "before\n"),
        (
            "print('to stdout'); import sys; print('to stderr', file=sys.stderr)",
            ("exited", 0),
            "to stdout\nto stderr\n",
        ),
        ("raise SystemExit('no')", ("exited", 1), "SystemExit: no"),
        ("import os; os.system('echo child')", ("exited", 0), "child\n"),
        ("print(open('/dev/stdin').read() or 'no input')", ("exited", 0), "no input\n"),
        ("import signal; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)", ("exited", 0), "True\n"),
    ],
)
def test_script_ends(one, tmp_path, body, ended, text):
    message = one.run(script=write_script(tmp_path, body), arguments={}, cwd=str(tmp_path), env={})
    assert (message["end"], message["exit_code"] or message["signal"]) == ended
    assert text in message["log"]
    one.still_works()


def test_a_script_sees_none_of_the_workers_files(one, tmp_path):
    body = "import os; print([fd for fd in range(256) if os.path.lexists(f'/proc/self/fd/{fd}')])"
    end = one.run(script=write_script(tmp_path, body), arguments={}, cwd=str(tmp_path), env={})
    assert end["log"] == "[0, 1, 2]\n"


def test_a_script_that_hangs_in_a_fork_of_its_own(one, tmp_path):
    body = "import os, time; os.fork(); os.setsid() if os.getpid() != os.getsid(0) else None; time.sleep(60)"
    script = write_script(tmp_path, body)
    end = one.run(script=script, arguments={}, cwd=str(tmp_path), env={}, limits={"seconds": 0.15})
    assert end["end"] == "timed_out"
    assert len(tree(one.process.pid)) <= 2  # the worker, and a keeper without a job


def test_memory_of_a_grandchild_counts(one):
    end = one.run(SH, "-c", f"{PYTHON} -ISc '{EAT}' & wait", limits={"memory_bytes": 100 << 20})
    assert end["end"] == "out_of_memory"
    one.still_works()


def test_memory_of_a_detached_grandchild_counts(one):
    end = one.run(SH, "-c", f"({PYTHON} -ISc '{EAT}' &) ; sleep 60", limits={"memory_bytes": 100 << 20})
    assert end["end"] == "out_of_memory"


def test_100_megabytes_of_output_cost_little_memory(one):
    before = resident_peak(one.process.pid)
    end = one.shell("yes | head -c 100000000")
    assert (end["end"], end["log_bytes"]) == ("exited", 100_000_000)
    assert len(end["log"]) < 4200
    assert resident_peak(one.process.pid) - before < 4 << 20
    one.still_works()


def resident_peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_bytes_that_are_no_text(one):
    assert one.shell("printf 'a\\377b'")["log"] == "a\\xffb"


def test_cpu_time_counts_children(one, tmp_path):
    spin = "import time\nwhile time.process_time() < 0.1: pass"
    assert one.shell(f"{PYTHON} -ISc '{spin}'; true")["cpu_seconds"] >= 0.1
    spun = tmp_path / "spun"
    orphan = f'setsid {PYTHON} -ISc \'{spin}\nopen("{spun}", "w")\nwhile True: pass\' &'
    assert one.shell(f"{orphan} until [ -e {spun} ]; do sleep 0.02; done")["cpu_seconds"] >= 0.1


def test_peak_is_of_the_job_and_not_of_the_worker(one):
    assert one.shell("exit 0")["peak_bytes"] == 0
    # more than this very process may have: its size before the exec counts as the worker's own
    assert 512 << 20 < one.run(PYTHON, "-ISc", "bytearray(512 << 20)")["peak_bytes"] < 560 << 20


def test_killed_by_someone_else_is_signalled(one):
    end = one.shell("kill -KILL $$")
    assert (end["end"], end["signal"]) == ("signalled", 9)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"argv": ["/no/such/tool"]}, "cannot start /no/such/tool: No such file"),
        ({"argv": ["/etc/passwd"]}, "cannot start /etc/passwd: Permission denied"),
        ({"argv": [SH, "a\0b"]}, "embedded null byte"),
        ({"argv": [SH], "cwd": "/no/such/folder"}, "no folder /no/such/folder"),
        ({"script": "/no/script.py", "arguments": {}}, "cannot start /no/script.py: No such file"),
        ({"script": str(WORKER), "arguments": {}, "cwd": "/no/such/folder"}, "no folder /no/such/folder"),
    ],
)
def test_not_started(one, fields, text):
    end = one.run(**fields)
    assert end["end"] == "not_started"
    assert text in end["error"]
    assert end["seconds"] >= 0
    one.still_works()


GOOD = {"type": "job", "id": "x", "argv": [SH], "cwd": "/", "env": {}, "limits": LIMITS}


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (b"{nonsense\n", "malformed"),
        (b"\xff\xfe\n", "malformed"),
        ([1], "not an object"),
        ({"type": "dance"}, "unknown type 'dance'"),
        ({**GOOD, "id": 5}, "id is missing or of the wrong type: 5"),
        ({**GOOD, "argv": []}, "exactly one of argv and script"),
        ({**GOOD, "argv": [SH, 1]}, "must hold strings"),
        ({**GOOD, "limits": {"seconds": "1"}}, "seconds is missing or of the wrong type: '1'"),
        ({"type": "kill"}, "id is missing"),
    ],
)
def test_malformed_requests(one, request_, text):
    one.send(request_)
    assert text in one.wait_for(lambda message: message["type"] == "error")["message"]
    one.still_works()


def test_jobs_wait_for_a_slot_in_their_order(fresh):
    talk = fresh(slots=1)
    jobs = [talk.submit(SH, "-c", "sleep 0.05") for _ in range(3)]
    talk.started(jobs[0])
    talk.send({"type": "kill", "id": jobs[0], "queued_only": True})
    talk.send({"type": "kill", "id": jobs[1], "queued_only": True})
    assert [talk.finished(job)["end"] for job in jobs] == ["exited", "killed", "exited"]


@pytest.mark.parametrize("slots", [1, 2])
def test_slots_share_the_cores_evenly(fresh, slots):
    cores = len(os.sched_getaffinity(0))
    talk = fresh(slots=slots)
    jobs = [talk.submit(PYTHON, "-ISc", COUNT_CORES) for _ in range(3)]
    shares = [int(talk.finished(job)["log"]) for job in jobs]
    if slots > cores:
        assert shares == [cores] * 3
    else:
        assert all(cores // slots <= share <= -(-cores // slots) for share in shares)


def test_an_orphan_in_a_running_jobs_session_is_spared(fresh):
    talk = fresh(slots=2)
    long = talk.submit(SH, "-c", "(sh -c 'sleep 0.15; echo orphan' &); sleep 0.3")
    talk.started(long)
    for _ in range(3):
        talk.shell("true")
    assert talk.finished(long)["log"] == "orphan\n"


def test_a_double_id_is_refused(one):
    job = one.submit(SH, "-c", "sleep 0.05")
    one.send({**GOOD, "id": job})
    assert "already here" in one.wait_for(lambda message: message["type"] == "error")["message"]
    assert one.finished(job)["end"] == "exited"


def test_close_finishes_what_is_queued(fresh):
    talk = fresh(slots=1)
    jobs = [talk.submit(SH, "-c", "sleep 0.05; exit 2") for _ in range(2)]
    talk.send({"type": "close"})
    assert [talk.finished(job)["exit_code"] for job in jobs] == [2, 2]
    assert talk.process.wait(5) == 0


@pytest.mark.parametrize("how", ["end of input", "SIGTERM"])
def test_without_a_listener_everything_ends(fresh, how):
    talk = fresh(slots=1)
    marker = f"{how} {talk.process.pid}"
    job = talk.submit(SH, "-c", SETSID_GRANDCHILD + "sleep 60", env=environment(marker))
    talk.submit(SH, "-c", "sleep 60", env=environment(marker))
    talk.started(job)
    assert eventually(lambda: len(marked(marker)) >= 3)
    if how == "SIGTERM":
        talk.process.terminate()
    else:
        talk.process.stdin.close()
    talk.process.wait(5)
    assert marked(marker) == []


def test_sigkill_ends_forked_jobs(fresh, tmp_path):
    marker = str(tmp_path)
    talk = fresh(slots=1, env={"MARKER": marker})
    job = talk.submit(script=write_script(tmp_path, "import time; time.sleep(60)"), arguments={}, cwd="/", env={})
    talk.started(job)
    assert eventually(lambda: len(marked(marker)) == 3)  # the worker, the job's keeper, the job
    talk.process.kill()
    assert eventually(lambda: marked(marker) == [])


def test_warm_modules_are_there_before_the_fork(fresh, tmp_path):
    talk = fresh("--warm", "wave", "--version-of", "pytest", "--version-of", "no-such-distribution")
    script = write_script(tmp_path, "import sys; print('wave' in sys.modules)")
    assert talk.run(script=script, arguments={}, cwd="/", env={})["log"] == "True\n"
    assert talk.hello["versions"] == {"pytest": pytest.__version__}


def test_a_warm_import_that_fails_is_a_finding_of_each_script_job(fresh, tmp_path):
    talk = fresh("--warm", "no_such_module")
    assert "ModuleNotFoundError: No module named 'no_such_module'" in talk.hello["warm_error"]
    end = talk.run(script=write_script(tmp_path, "pass"), arguments={}, cwd="/", env={})
    assert (end["end"], end["exit_code"], end["log"]) == ("exited", 1, talk.hello["warm_error"])
    talk.still_works()


def test_start_log(fresh, tmp_path):
    talk = fresh(env={"IREE_MATRIX_START_LOG": str(tmp_path / "starts")})
    talk.shell("true")
    talk.shell("true")
    assert (tmp_path / "starts").read_text() == "job 1\njob 2\n"


@pytest.fixture
def children(monkeypatch):
    monkeypatch.syspath_prepend(WORKER.parent)
    return importlib.import_module("children")


@pytest.mark.parametrize("lists_children", [True, False], ids=["kernel lists children", "kernel does not"])
def test_both_ways_to_find_children_agree(children, monkeypatch, tmp_path, lists_children):
    """Not every kernel has /proc/PID/task/TID/children: both kinds, drawn in a folder."""
    me = os.getpid()
    below = {me: [me + 1, me + 2], me + 1: [me + 3], me + 2: [], me + 3: []}
    parents = {child: parent for parent, all_of_it in below.items() for child in all_of_it}
    for pid, own in below.items():
        (tmp_path / f"{pid}/task/{pid}").mkdir(parents=True)
        (tmp_path / f"{pid}/stat").write_text(f"{pid} (a) b) S {parents.get(pid, 1)} 1 1 0")
        if lists_children:
            (tmp_path / f"{pid}/task/{pid}/children").write_text("".join(f"{child} " for child in own))
    monkeypatch.setattr(children, "PROC", str(tmp_path))
    assert sorted(children.children_of(me)) == [me + 1, me + 2]
    assert sorted(children.descendants(me, children.family())) == [me + 1, me + 2, me + 3]
    assert children.descendants(me + 1, children.family()) == [me + 3]


@pytest.mark.parametrize("piece", [1, 3, 100])
@pytest.mark.parametrize("size", range(20))
def test_a_log_keeps_its_head_and_tail(children, size, piece):
    printed = bytes(range(65, 65 + size))
    log = children.Log(8)
    for start in range(0, size, piece):
        log.add(printed[start : start + piece])
    marker = f"\n... {size - 8} bytes left out ...\n".encode()
    whole = printed if size <= 8 else printed[:2] + marker + printed[-6:]
    assert (log.text().encode(), log.size) == (whole, size)


def test_many_short_jobs_are_cheap(fresh):
    talk = fresh(slots=2)
    started = cpu_seconds(talk.process.pid)
    jobs = [talk.submit(shutil.which("true") or "true") for _ in range(200)]
    assert {talk.finished(job)["end"] for job in jobs} == {"exited"}
    assert (cpu_seconds(talk.process.pid) - started) / 200 < 0.003  # measured: 0.0005, where nothing else runs


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("who", ["job", *(pytest.param(each, marks=pytest.mark.full) for each in ("keeper", "child"))])
def test_a_job_that_somebody_stops_is_lost_at_its_limit(talk, who):
    """Its time is no fault of a release."""
    job_id = talk.submit(SH, "-c", "sleep 60 & wait", limits={"seconds": 3})
    keeper = talk.started(job_id)["pid"]
    assert eventually(lambda: len(tree(keeper)) == 3)
    job, child = tree(keeper)[1:]
    os.kill({"job": job, "keeper": keeper, "child": child}[who], signal.SIGSTOP)
    end = talk.finished(job_id)
    assert (end["end"], end["error"]) == ("lost", "its processes were stopped from outside (SIGSTOP)")
    assert eventually(lambda: tree(keeper) == [])
    talk.still_works()


@pytest.mark.parametrize(("alone", "ended"), [(False, "exited"), (True, "lost")])
def test_a_job_that_was_stopped_for_a_while_goes_on_but_its_times_are_worth_nothing(talk, alone, ended):
    job_id = talk.submit("sleep", "2", alone=alone)
    keeper = talk.started(job_id)["pid"]
    assert eventually(lambda: len(tree(keeper)) == 2), tree(keeper)
    job = tree(keeper)[-1]
    os.kill(job, signal.SIGSTOP)
    time.sleep(0.05)
    os.kill(job, signal.SIGCONT)
    assert talk.finished(job_id)["end"] == ended


def tree(pid: int) -> list[int]:
    """A process and all below it, without zombies."""
    stats = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            state, parent = (process / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            if state != b"Z":
                stats[int(process.name)] = int(parent)
    found = [pid] if pid in stats else []
    for each in found:
        found += sorted(child for child, parent in stats.items() if parent == each)
    return found
