"""Jobs that try to get out of their container. Each one runs through the engine like any other, says what it saw in
its log, and ends with 1 if it got anywhere."""

from __future__ import annotations

import ast
import json
import os
import queue
import re
import socket
import textwrap
import time
from dataclasses import replace

import pytest
from command_line import wait_for
from containers import containers_of, daemon_or_skip, new_engine, wait_until_no_container
from engine_contract import Driven, job_of, request_for

from matrix.core.records import Limits
from matrix.engines.docker import boxes
from matrix.engines.docker.channel import ContainerChannel
from matrix.engines.docker.daemon import Confinement
from matrix.engines.worker import Lost, Started, Worker

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

def opens(path, flags=os.O_RDWR):
    tries(f"open {path}", lambda: os.close(os.open(path, flags | os.O_NONBLOCK)))

me = str(os.getpid())
others = sorted((pid for pid in os.listdir("/proc") if pid.isdigit() and pid != me), key=int)
"""
MIB = 1 << 20
SECRET = "the word of another job"


@pytest.fixture(scope="module")
def jail(tmp_path_factory):
    """An engine with small limits, and a runtime's environment whose Python is a tool."""
    daemon_or_skip().close()
    place = tmp_path_factory.mktemp("jail")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boxes, "SCRATCH_BYTES", 64 * MIB)
        patch.setattr(boxes, "FILE_BYTES", 32 * MIB)
        patch.setattr(boxes, "FOLDER_FILES", 4000)
        patch.setattr(boxes.Boxes, "folder_bytes", 96 * MIB)
        driven = Driven(new_engine, place)
        environment = driven.engine.realise(request_for("runtime", "3.8.0"))
        yield Jail(driven, replace(environment, tools={**environment.tools, "python": "bin/python"}), place)
        driven.engine.terminate()
    wait_until_no_container(place)


class Jail:
    def __init__(self, driven, environment, place):
        self.driven, self.environment, self.place = driven, environment, place
        self.number = 0
        self.container = ""
        """That of the last job."""

    def job(self, code, seconds=30, memory=512):
        self.number += 1
        text = TRIES + textwrap.dedent(code) + "\nsys.exit(bool(escaped))\n"
        made = job_of("run", self.environment, ("python", "-I", "-c", text), number=self.number)
        return replace(made, limits=Limits(seconds=seconds, memory_bytes=memory * MIB), outputs=("*",))

    def run(self, code, inputs=None, **limits):
        """The end of one job; its folders are emptied after it."""
        job = self.job(code, **limits)
        try:
            return self.driven.do(job, self.environment, inputs or {})
        finally:
            self.container = self.driven.engine._jobs[job.key].container
            self.driven.engine.clear(job)

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
    assert (box.exchange.folder / "out" / "word").read_text() == SECRET
    jail.driven.engine._daemon.remove(box.container)
    assert jail.driven.ended(beside.key).end == "lost"
    jail.driven.engine.clear(beside)


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


DEEP = """
        def deep(top, levels):
            os.chdir(top)
            for _ in range(levels):
                os.mkdir("d" * 100)
                os.chdir("d" * 100)
        """


def test_folders_of_any_depth_are_removed_after_it(jail):
    """Their paths are too long to open, and a recursion ends there."""
    end = jail.run(
        DEEP
        + """
        for top in ("/out", "/tmp", "/dev/shm"):
            deep(top, 3000)
            open("word", "w").write("left")
            os.chmod(".", 0)
        """
    )
    assert (end.end, end.exit_code) == ("exited", 0), end
    before = {each["Id"] for each in containers_of(jail.place)}
    log = jail.run("print([os.listdir(top) for top in ('/out', '/tmp', '/dev/shm')])").log
    assert log == "[[], [], []]\n"
    assert {each["Id"] for each in containers_of(jail.place)} == before, "it was not the same container"


def test_what_it_hides_below_long_paths_counts(jail):
    end = jail.run(
        DEEP
        + """
        deep("/out", 500)
        for number in range(1000):
            with open(f"{number}", "wb", buffering=0) as file:
                for _ in range(16):
                    file.write(os.urandom(1 << 20))
            time.sleep(0.05)
        """
    )
    assert end.end == "lost"
    assert "filled its folder" in end.error


def test_it_makes_files_up_to_a_bound(jail):
    end = jail.run(
        """
        for number in range(1000000):
            open(f"/out/{number}", "x").close()
        """,
        seconds=60,
    )
    assert end.end == "lost"
    assert "made too many files" in end.error
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
    assert len(json.loads(log.rpartition("processes: ")[2].replace("'", '"'))) == 3  # worker, keeper, this job


def test_it_reaches_neither_memory_nor_files_of_the_worker(jail):
    """Of no process but its own: results are written there, its own and those of later jobs."""
    log = jail.confined(
        """
        print("others:", others)
        class Span(ctypes.Structure):
            _fields_ = [("start", ctypes.c_void_p), ("length", ctypes.c_size_t)]
        here = ctypes.create_string_buffer(8)
        mine, theirs = Span(ctypes.addressof(here), 8), Span(0x400000, 8)
        numbers = {"x86_64": (438, 434, 312), "aarch64": (438, 434, 272)}[os.uname().machine]
        getfd, pidfd_open, kcmp = numbers
        def fails(name, call, *arguments):
            def attempt():
                ctypes.set_errno(0)
                if call(*arguments) == -1:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            tries(name, attempt)
        for pid in others:
            process = f"/proc/{pid}"
            for name in ("mem", "oom_score_adj", "clear_refs", "coredump_filter"):
                opens(f"{process}/{name}", os.O_WRONLY)
            for name in ("mem", "maps", "environ", "auxv", "pagemap", "syscall"):
                opens(f"{process}/{name}", os.O_RDONLY)
            for name in ("cwd", "root", "exe"):
                tries(f"follow {process}/{name}", lambda: os.stat(f"{process}/{name}"))
            for folder in (f"{process}/fd", f"{process}/task/{pid}/fd", f"{process}/map_files"):
                tries(f"list {folder}", lambda: os.listdir(folder))
            for number in range(16):
                opens(f"{process}/fd/{number}", os.O_WRONLY)
            number = int(pid)
            fails(f"ptrace attach {pid}", libc.ptrace, 16, number, None, None)
            fails(f"ptrace seize {pid}", libc.ptrace, 0x4206, number, None, None)
            fails(f"read memory of {pid}", libc.process_vm_readv, number, ctypes.byref(mine), 1,
                  ctypes.byref(theirs), 1, 0)
            fails(f"write memory of {pid}", libc.process_vm_writev, number, ctypes.byref(mine), 1,
                  ctypes.byref(theirs), 1, 0)
            handle = libc.syscall(pidfd_open, number, 0)
            fails(f"take a file of {pid}", libc.syscall, getfd, handle, 1, 0)
            fails(f"compare files of {pid}", libc.syscall, kcmp, number, number, 0, 0, 1)
        """
    )
    assert re.match(r"others: \['1', '\d+'\]\n", log)  # worker, keeper
    for way in ("open /proc/1/mem", "open /proc/1/fd/1", "list /proc/1/fd", "ptrace attach 1", "write memory of 1"):
        assert f"{way} refused: PermissionError" in log


def test_it_forges_no_result(jail, tmp_path):
    """A line of the protocol that says how this job and the next one ended, written wherever a file can be opened."""
    job = jail.job(
        """
        import json
        key = open("/in/key").read()
        lines = b""
        for name in (key, "f" * 64):
            forged = {"type": "finished", "id": name, "end": "exited", "exit_code": 0, "signal": 0, "seconds": 0.1,
                      "cpu_seconds": 0.1, "peak_bytes": 1, "log": "FORGED", "log_bytes": 6, "error": ""}
            lines += b"\\n" + json.dumps(forged).encode() + b"\\n"
        def forges(path):
            with open(path, "wb", buffering=0) as file:
                file.write(lines)
        for pid in others:
            for number in range(64):
                tries(f"forge {pid}/{number}", lambda: forges(f"/proc/{pid}/fd/{number}"))
        for number in range(3, 64):
            tries(f"forge own {number}", lambda: os.write(number, lines))
        os.write(1, lines)
        os.write(2, lines)
        sys.exit(7 + bool(escaped))
        """
    )
    (tmp_path / "key").write_text(job.key)
    end = jail.driven.do(job, jail.environment, {"key": tmp_path / "key"})
    jail.driven.engine.clear(job)
    assert (end.end, end.exit_code) == ("exited", 7), end.log
    assert "forge 1/1 refused: PermissionError" in end.log
    assert end.log.count('"log": "FORGED"') == 4
    assert jail.run("print('next')").log == "next\n"
    assert jail.driven.events.empty()


def test_it_leaves_no_system_v_object(jail):
    leave = f"""
        libc.shmat.restype = ctypes.c_void_p
        libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
        segment = libc.shmget(0x5EC, 4096, 0o1666)
        ctypes.memmove(libc.shmat(segment, None, 0), {SECRET!r}.encode(), {len(SECRET)})
        queue = libc.msgget(0x5EC, 0o1666)
        message = ctypes.c_long(1), {SECRET!r}.encode()
        libc.msgsnd(queue, bytes(message[0]) + message[1], {len(SECRET)}, 0)
        locks = libc.semget(0x5EC, 4, 0o1000)  # which nobody may read
        print("left refused", min(segment, queue, locks))
        for kind in ("shm", "msg", "sem"):
            print(kind, open(f"/proc/sysvipc/{{kind}}").read().count("\\n") - 1)
        """
    log = jail.confined(leave)
    assert "left refused -1" not in log
    assert "shm 1\nmsg 1\nsem 1" in log
    before = jail.container
    log = jail.confined(
        """
        for name, more in (("shmget", (0, 0)), ("msgget", (0,)), ("semget", (0, 0))):
            def attempt():
                if getattr(libc, name)(0x5EC, *more) >= 0:
                    return "found"
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            tries(name, attempt)
        for kind in ("shm", "msg", "sem"):
            print(kind, open(f"/proc/sysvipc/{kind}").read().count("\\n") - 1)
        """
    )
    assert "shm 0\nmsg 0\nsem 0" in log
    assert jail.container == before


def test_what_it_removed_but_keeps_open_dies_with_it(jail):
    """The pages of such a file come back, also where a process in a session of its own holds it."""
    fill = """
        for name in ("/tmp/one", "/tmp/other"):
            held = os.open(name, os.O_WRONLY | os.O_CREAT)
            os.write(held, bytes(24 << 20))  # of 64 MiB
            os.unlink(name)
        memory = os.memfd_create("held")
        os.write(memory, bytes(16 << 20))
        if os.fork() == 0:
            os.setsid()
            os.close(1), os.close(2)
            time.sleep(60)
        print("held", os.statvfs("/tmp").f_bavail * os.statvfs("/tmp").f_frsize >> 20)
        """
    assert jail.run(fill).log == "held 16\n"
    before = jail.container
    assert jail.run(fill).log == "held 16\n"
    assert jail.container == before


def test_it_neither_ends_nor_stops_the_worker(jail):
    """Linux keeps signals that nobody handles from the first process of a namespace, if they come from inside."""
    end = jail.run(
        """
        import signal
        for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTSTP, signal.SIGSEGV, signal.SIGHUP, signal.SIGUSR1):
            os.kill(1, number)
        time.sleep(0.1)
        print("sent")
        """
    )
    assert (end.end, end.exit_code, end.log) == ("exited", 0, "sent\n")
    before = jail.container
    assert jail.run("print('next')").log == "next\n"
    assert jail.container == before


@pytest.mark.parametrize(
    ("tamper", "look"),
    [
        ("resource.prlimit(1, resource.RLIMIT_FSIZE, (1000, 1000))", "resource.getrlimit(resource.RLIMIT_FSIZE)"),
        ("os.setpriority(os.PRIO_PROCESS, 1, 19)", "os.getpriority(os.PRIO_PROCESS, 0)"),
        ("os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))", "os.sched_getscheduler(0)"),
        ("os.sched_setaffinity(1, {min(os.sched_getaffinity(1))})", "os.sched_getaffinity(0)"),
    ],
)
def test_a_limit_that_it_sets_for_the_worker_meets_no_other_job(jail, tamper, look):
    """Linux lets a process set the limits of any other of its user, and children inherit them."""
    show = f"import resource; print({look})"
    good = jail.run(show).log
    assert jail.run(f"import resource; {tamper}; print('changed')").log == "changed\n"
    wait_until_gone(jail, jail.container)
    after = jail.run(show)
    assert (after.end, after.log) == ("exited", good), after


def test_the_worker_reaps_orphans(jail):
    """Its keepers do, and it is the container's first process: no `init` does it."""
    log = jail.run(
        """
        for _ in range(200):
            if os.fork() == 0:
                if os.fork() == 0:
                    os._exit(0)
                os._exit(0)
            os.wait()
        time.sleep(0.2)
        print(sorted(line for pid in os.listdir("/proc") if pid.isdigit()
                     for line in open(f"/proc/{pid}/status") if line.startswith(("Name", "State:\\tZ"))))
        """
    ).log
    assert ast.literal_eval(log) == 3 * ["Name:\tpython\n"]  # worker, keeper, this job


@pytest.mark.parametrize(
    "code", ["time.sleep(60)", "import signal; signal.pthread_sigmask(0, range(1, 65)); time.sleep(60)"]
)
def test_sigterm_ends_a_container_and_all_in_it(jail, code):
    job = jail.job(code, seconds=60)
    jail.driven.engine.start(job, jail.environment, {})
    jail.driven.wait(Started, job.key)
    box = jail.driven.engine._jobs[job.key]
    begun = time.monotonic()
    jail.driven.engine._daemon.client.api.kill(box.container, signal="SIGTERM")
    assert jail.driven.ended(job.key).end in ("killed", "lost")
    wait_until_gone(jail, box.container)
    assert time.monotonic() - begun < 5
    jail.driven.engine.clear(job)


@pytest.mark.parametrize(("code", "status"), [("ctypes.string_at(0)", 139), ("os.abort()", 139), ("sys.exit(3)", 3)])
def test_a_first_process_that_dies_hangs_nobody(jail, code, status):
    """As where a warm import crashes."""
    image = jail.driven.engine._images.standing(jail.environment)
    daemon = jail.driven.engine._daemon
    confinement = Confinement(memory_bytes=512 * MIB, scratch_bytes=MIB, file_bytes=MIB)
    command = ["/opt/env/bin/python", "-I", "-c", f"import ctypes, os, sys; {code}"]
    labels = {boxes.RUN_LABEL: str(jail.place), boxes.STORE_LABEL: str(jail.place)}
    name = daemon.create(image, command, confinement=confinement, mounts={}, labels=labels)
    events = queue.SimpleQueue()
    begun = time.monotonic()
    worker = Worker(channel=ContainerChannel(daemon, name), on_event=events.put, name="dies")
    lost = events.get(timeout=20)
    assert isinstance(lost, Lost) and lost.exit_status == status
    assert time.monotonic() - begun < 10
    worker.terminate()


def wait_until_gone(jail, container):
    wait_for(lambda: container not in {each["Id"] for each in containers_of(jail.place)}, seconds=20)
