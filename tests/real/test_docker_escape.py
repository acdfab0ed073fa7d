"""Jobs that try to get out of their container. Each one runs through the engine like any other, says what it saw in
its log, and ends with 1 if it got anywhere."""

from __future__ import annotations

import json
import os
import socket
import textwrap
from dataclasses import replace

import pytest
from containers import containers_of, daemon_or_skip, new_engine, wait_until_no_container
from engine_contract import Driven, job_of, request_for

from matrix.engines import docker as docker_engine
from matrix.records import Limits, Stage

pytestmark = pytest.mark.real

TRIES = """
import ctypes, os, socket, stat, sys, time
libc = ctypes.CDLL(None, use_errno=True)
escaped = []

def tries(name, attempt):
    try:
        got = attempt()
    except (OSError, MemoryError) as error:
        print(name, "refused:", type(error).__name__, error, flush=True)
    else:
        print(name, "ESCAPED:", got, flush=True)
        escaped.append(name)

def calls(name, *arguments):
    def attempt():
        if getattr(libc, name)(*arguments):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    tries(name, attempt)

def writes(path):
    tries(f"write {path}", lambda: open(path, "wb").write(b"mine"))
"""
MIB = 1 << 20
SECRET = "the word of another job"


@pytest.fixture(scope="module")
def jail(tmp_path_factory):
    """An engine with small limits, and a runtime's environment whose Python is a tool."""
    daemon_or_skip().close()
    place = tmp_path_factory.mktemp("jail")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(docker_engine, "SCRATCH_BYTES", 64 * MIB)
        patch.setattr(docker_engine, "FILE_BYTES", 32 * MIB)
        patch.setattr(docker_engine.DockerEngine, "folder_bytes", 96 * MIB)
        driven = Driven(new_engine, place)
        environment = driven.engine.realise(request_for("runtime", "3.8.0"))
        yield Jail(driven, replace(environment, tools={**environment.tools, "python": "bin/python"}), place)
        driven.engine.terminate()
    wait_until_no_container(place)


class Jail:
    def __init__(self, driven, environment, place):
        self.driven, self.environment, self.place = driven, environment, place
        self.number = 0

    def job(self, code, seconds=30, memory=512):
        self.number += 1
        text = TRIES + textwrap.dedent(code) + "\nsys.exit(bool(escaped))\n"
        made = job_of(Stage.RUN, self.environment, ("python", "-I", "-c", text), number=self.number)
        return replace(made, limits=Limits(seconds=seconds, memory_bytes=memory * MIB), outputs=("*",))

    def run(self, code, inputs=None, **limits):
        """The end of one job; its folders are emptied after it."""
        job = self.job(code, **limits)
        try:
            return self.driven.do(job, self.environment, inputs or {})
        finally:
            self.driven.engine.discard(job)

    def confined(self, code, **options):
        """The log of a job that got nowhere."""
        end = self.run(code, **options)
        assert (end.end, end.exit_code) == ("exited", 0), end.log
        assert "ESCAPED" not in end.log and "refused" in end.log
        return end.log


def test_it_reaches_no_network(jail):
    """Nor a port of the host's loopback, nor an abstract socket, nor a daemon's."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        name = f"\\0matrix-{os.getpid()}"
        abstract.bind(name.encode().decode("unicode_escape"))
        abstract.listen()
        log = jail.confined(
            f"""
            def connects(family, address):
                with socket.socket(family) as one:
                    one.settimeout(2)
                    one.connect(address)
            for address in ("127.0.0.1", "172.17.0.1", "10.0.0.1", "169.254.169.254"):
                tries(address, lambda: connects(socket.AF_INET, (address, {server.getsockname()[1]})))
            tries("abstract", lambda: connects(socket.AF_UNIX, "{name}"))
            for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"):
                tries(path, lambda: connects(socket.AF_UNIX, path))
            tries("name", lambda: socket.getaddrinfo("example.org", 80))
            tries("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
            print("interfaces:", sorted(name for _, name in socket.if_nameindex()))
            """
        )
    assert "127.0.0.1 refused: ConnectionRefusedError" in log
    assert "/var/run/docker.sock refused: FileNotFoundError" in log
    assert "interfaces: ['lo']" in log


def test_it_writes_to_its_folder_and_scratch_only(jail, tmp_path):
    (tmp_path / "input").write_bytes(b"given")
    log = jail.confined(
        """
        assert open("/in/input", "rb").read() == open("/out/input", "rb").read() == b"given"
        for path in ("/new", "/in/new", "/in/input", "/out/input", "/scripts/worker.py", "/etc/passwd",
                     "/opt/env/bin/python", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/new",
                     "/dev/new", "/var/new"):
            writes(path)
        tries("chmod", lambda: os.chmod("/in/input", 0o777))
        tries("remove", lambda: os.unlink("/in/input"))
        tries("link", lambda: os.link("/in/input", "/out/hard"))
        writable = []
        for root, folders, _ in os.walk("/"):
            folders[:] = [name for name in folders if root != "/" or name != "proc"]
            if os.access(root, os.W_OK):
                writable.append(root)
        print("writable:", sorted(writable))
        """,
        inputs={"input": tmp_path / "input"},
    )
    assert (tmp_path / "input").read_bytes() == b"given"
    assert "write /in/input refused: OSError [Errno 30]" in log
    told = json.loads(log.rpartition("writable: ")[2].splitlines()[0].replace("'", '"'))
    assert set(told) <= {"/tmp", "/out", "/dev/shm", "/dev/mqueue"}


def test_it_sees_nothing_of_other_jobs_or_the_store(jail):
    """Neither what the job before it left in the same container, nor one that runs beside it, nor the store."""
    leave = f"""
        open("/dev/mqueue/word", "w")
        for place in ("/out", "/tmp", "/dev/shm"):
            os.makedirs(place + "/deep/er")
            for name in ("/word", "/deep/er/word"):
                open(place + name, "w").write({SECRET!r})
            os.chmod(place + "/deep/er", 0)
        print(os.uname().nodename, "left refused")
    """
    beside = jail.job(leave + "\n        time.sleep(60)\n", seconds=60)
    jail.driven.engine.start(beside, jail.environment, {})
    jail.confined(leave)
    before = {each["Id"] for each in containers_of(jail.place)}
    log = jail.confined(
        f"""
        held = [os.path.join(root, name) for top in ("/out", "/tmp", "/dev/shm", "/dev/mqueue")
                for root, folders, names in os.walk(top) for name in folders + names]
        print("held:", held)
        escaped += held
        for path in ({str(jail.place)!r}, {str(jail.place / "scratch")!r}, "/proc/1/cwd/host", "/host"):
            tries(path, lambda: os.listdir(path))
        """
    )
    assert "held: []" in log
    assert {each["Id"] for each in containers_of(jail.place)} == before, "it was not the same container"
    box = jail.driven.engine._jobs[beside.key]
    assert (box.exchange / "out" / "word").read_text() == SECRET
    jail.driven.engine._daemon.remove(box.container)
    assert jail.driven.ended(beside.key).end == "lost"
    jail.driven.engine.discard(beside)


def test_it_does_not_become_root(jail):
    log = jail.confined(
        """
        for name in ("setuid", "setgid", "seteuid"):
            tries(name, lambda: getattr(os, name)(0))
        tries("setgroups", lambda: os.setgroups([0]))
        calls("unshare", 0x10000000)  # a user namespace
        calls("unshare", 0x00020000)  # a mount namespace
        calls("mount", b"none", b"/tmp", b"tmpfs", 0, None)
        calls("chroot", b"/tmp")
        tries("device", lambda: os.mknod("/out/disk", 0o600 | stat.S_IFBLK, os.makedev(8, 0)))
        data = open("/opt/env/bin/python", "rb").read()
        open("/out/suid", "wb").write(data)
        os.chmod("/out/suid", 0o6755)
        import subprocess
        done = subprocess.run(["/out/suid", "-I", "-S", "-c", "import os; print(os.getresuid(), os.getresgid())"],
                              capture_output=True, text=True)
        print("setuid file:", done.stdout, done.stderr)
        escaped += ["setuid file"] * ("0" in done.stdout.replace("(", "").replace(")", "").replace(",", "").split())
        for line in open("/proc/self/status"):
            if line.startswith(("Uid", "Cap", "NoNewPrivs", "Seccomp:")):
                print(line.strip())
        """
    )
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in log
    assert "Uid:\t0" not in log


def test_it_forks_to_a_bound_and_the_next_job_runs(jail):
    log = jail.confined(
        """
        made = 0
        try:
            while made < 5000:
                if os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
                made += 1
        except OSError as error:
            print("fork refused:", error)
        print("forks:", made, flush=True)
        """,
        memory=4096,
    )
    assert 0 < int(log.rpartition("forks: ")[2].split()[0]) <= 512
    assert jail.run("print('next')", memory=4096).log == "next\n"


def test_it_fills_neither_scratch_nor_a_file(jail):
    log = jail.confined(
        """
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        def fill(path):
            with open(path, "wb", buffering=0) as file:
                for _ in range(200):
                    if file.write(bytes(1 << 20)) < 1 << 20:
                        raise OSError("a write was cut short")
        def fill_many():
            for number in range(8):
                with open(f"/tmp/{number}", "wb", buffering=0) as file:
                    for _ in range(16):
                        file.write(bytes(1 << 20))
        tries("file", lambda: fill("/out/big"))
        tries("scratch", fill_many)
        """
    )
    assert "scratch refused: OSError [Errno 28]" in log
    assert jail.run("print(os.listdir('/tmp'))").log == "[]\n"


def test_it_does_not_fill_the_disk_with_many_files(jail):
    end = jail.run(
        """
        for number in range(1000):
            with open(f"/out/{number}", "wb", buffering=0) as file:
                for _ in range(16):
                    file.write(os.urandom(1 << 20))
            time.sleep(0.05)
        """
    )
    assert end.end == "lost"
    assert "filled its folder" in end.error
    assert jail.run("print('next')").log == "next\n"


@pytest.mark.parametrize("ending", ["sys.exit(0)", "time.sleep(60)"])
def test_it_does_not_outlive_its_job(jail, ending):
    """A daemon of its own session and group, twice forked, writes on: until its job is over, and no longer."""
    jail.run(
        f"""
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                while True:
                    open("/tmp/alive", "a").write("x")
                    time.sleep(0.01)
            os._exit(0)
        while not os.path.exists("/tmp/alive"):
            time.sleep(0.01)
        {ending}
        """,
        seconds=2,
    )
    log = jail.confined(
        """
        time.sleep(0.1)
        tries("alive", lambda: os.stat("/tmp/alive"))
        names = sorted(open(f"/proc/{pid}/comm").read().strip() for pid in os.listdir("/proc") if pid.isdigit())
        print("processes:", names)
        """
    )
    assert len(json.loads(log.rpartition("processes: ")[2].replace("'", '"'))) == 3  # init, worker, this job
