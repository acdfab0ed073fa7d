"""A real Slurm of one node from Debian: munged, slurmctld and slurmd on loopback, below one folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from debian_programs import program
from pace import allowed
from sshd_here import free_port

CONF = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=1,sched_interval=2
ReturnToService=2
KillWait=2
NodeName=here NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes=here Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """`conf` is what its commands need as SLURM_CONF."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.conf = folder, folder / "slurm.conf"

    def ask(self, *words: str) -> str:
        done = subprocess.run(
            words,
            env={**os.environ, "SLURM_CONF": str(self.conf)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def queue(self) -> list[str]:
        """A line for each job that is not over: its name, index and state."""
        return self.ask("squeue", "--noheader", "--array", "--format=%j %K %T %r").splitlines()

    def wait_until_over(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while left := self.queue:
            assert time.monotonic() < end, (left, self.logs())
            time.sleep(1.0)

    def logs(self) -> str:
        return "\n".join(path.read_text()[-2000:] for path in sorted(self.folder.glob("*.log")))


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """Only root may start one: jobs run as who submits them."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: Slurm's programs need root")
    program("slurmctld", "slurm-wlm", "munge")
    program("munged", "munge")
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(parents=True)
    names = {"folder": folder, "host": socket.gethostname().partition(".")[0], "cpus": os.cpu_count() or 1}
    made = Slurm(folder)
    made.conf.write_text(CONF.format(port=free_port(), node_port=free_port(), **names), encoding="utf-8")
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n", encoding="utf-8")
    programs: list[subprocess.Popen[bytes]] = []
    try:
        programs.append(_munge(folder / "munge"))
        for words in (["slurmctld", "-D", "-i"], ["slurmd", "-D", "-N", "here"]):
            path = shutil.which(words[0]) or f"/usr/sbin/{words[0]}"
            programs.append(_begin([path, *words[1:], "-f", str(made.conf)], folder))
        _wait(made, programs)
        yield made
    finally:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            made.ask("scancel", "--state=PENDING,RUNNING", "--user=root")
            made.wait_until_over(allowed(15))  # slurmd alone knows its steps, and leaves them when it ends
        for process in reversed(programs):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _begin(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "said.log").open("ab") as said:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)


def _munge(folder: Path) -> subprocess.Popen[bytes]:
    key = folder / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    paths = {"socket": "socket", "key-file": "key", "log-file": "log", "pid-file": "pid", "seed-file": "seed"}
    words = [f"--{name}={folder / path}" for name, path in paths.items()]
    munged = shutil.which("munged") or "/usr/sbin/munged"
    return _begin([munged, "--foreground", "--force", *words], folder.parent)


def _wait(made: Slurm, programs: list[subprocess.Popen[bytes]]) -> None:
    """Until the node takes jobs."""
    end = time.monotonic() + allowed(60)
    while True:
        assert all(each.poll() is None for each in programs), made.logs()
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            if made.ask("sinfo", "--noheader", "--format=%T").strip() == "idle":
                return
        assert time.monotonic() < end, made.logs()
        time.sleep(0.5)
