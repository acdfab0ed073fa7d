"""The seam to other programs: how every ending is told, and that nothing is left running."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from matrix.core import processes
from matrix.core.errors import ProgramKilled


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def gone(pid: int) -> bool:
    """The process has ended: no entry any more, or a zombie that nobody has reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture(autouse=True)
def short_grace(monkeypatch):
    """What is killed here deserves none."""
    monkeypatch.setattr(processes, "TERMINATION_SECONDS", 0.3)


def wait_for(condition, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_program_that_ends_well():
    done = processes.run(python("import sys; print(sys.stdin.read()[::-1])"), timeout=20, stdin="abc")
    assert done.ok
    assert done.stdout == "cba\n"


def test_exit_code_and_both_streams_are_kept():
    done = processes.run(python("import sys; print('out'); sys.stderr.write('err'); sys.exit(3)"), timeout=20)
    assert (done.exit_code, done.stdout, done.stderr) == (3, "out\n", "err")
    assert done.output == "err\nout"
    assert not done.ok


def test_a_signal_is_a_negative_exit_code():
    done = processes.run(python("import os; os.kill(os.getpid(), 9)"), timeout=20)
    assert done.exit_code == -signal.SIGKILL
    error = processes.failure(done, "cannot do it")
    assert "killed by signal 9" in str(error)
    assert isinstance(error, ProgramKilled)


def test_a_missing_program_is_told_and_not_raised():
    done = processes.run(["no-such-program-anywhere"], timeout=1)
    assert done.exit_code == processes.NOT_FOUND
    assert "no-such-program-anywhere" in done.output


def test_the_environment_is_the_one_given():
    code = "import os; print(os.environ.get('HOME'), os.environ['A'])"
    done = processes.run(python(code), timeout=20, env={"A": "b"})
    assert done.stdout == "None b\n"


def test_a_timeout_kills_the_grandchild_too(tmp_path):
    note = tmp_path / "pid"
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        "print('begun', flush=True); time.sleep(60)"
    )
    done = processes.run(python(code), timeout=0.7)
    assert done.timed_out
    assert not done.ok
    assert "begun" in done.stdout
    assert done.seconds < 10
    assert wait_for(lambda: gone(int(note.read_text())))


def test_a_program_that_ignores_sigterm_is_killed():
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    started = time.monotonic()
    assert processes.run(python(code), timeout=0.5).timed_out
    assert time.monotonic() - started < 10


def test_kill_all_ends_what_other_threads_run(tmp_path):
    note = tmp_path / "pid"
    code = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    ends: list[processes.Completed] = []
    thread = threading.Thread(target=lambda: ends.append(processes.run(python(code), timeout=60)))
    thread.start()
    assert wait_for(lambda: note.exists() and note.read_text() != "")
    processes.kill_all()
    thread.join(10)
    assert ends[0].exit_code == -signal.SIGKILL


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(process, stdin, timeout):
        (tmp_path / "pid").write_text(str(process.pid))
        raise KeyboardInterrupt

    monkeypatch.setattr(processes, "_communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        processes.run(python("import time; time.sleep(60)"), timeout=60)
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_failure_can_be_replayed():
    done = processes.run(python("print('line one'); raise SystemExit(4)"), timeout=20, env=dict(os.environ))
    error = processes.failure(done, "cannot do it")
    assert done.command in str(error)
    assert "exit code 4" in str(error)
    assert "line one" in str(error)
    assert error.tip
