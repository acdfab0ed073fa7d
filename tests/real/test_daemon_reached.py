"""Ways to a container daemon: contexts, ssh, one that does not see our folders, one whose user is not root."""

from __future__ import annotations

import grp
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
from command_line import ROOT, matrix, open_to_all, surroundings, write_spec
from containers import (
    containers_of,
    daemon_or_skip,
    docker_command,
    new_engine,
    over_tcp,
    socket_of_daemon,
    wait_until_no_container,
)
from engine_contract import Driven, job_of, request_for

from matrix.core.disk import DEAD_SUFFIX
from matrix.core.errors import EngineMissing
from matrix.engines.docker.daemon import Daemon, nobody

pytestmark = pytest.mark.real


@pytest.fixture(scope="module", autouse=True)
def daemon():
    daemon = daemon_or_skip()
    yield daemon
    daemon.close()


def docker(*words):
    subprocess.run([docker_command(), *words], check=True, capture_output=True)


@pytest.fixture
def contexts(tmp_path, monkeypatch):
    """A folder of the docker command with two contexts, written by itself: `near` and `far`, which is the current."""
    path = socket_of_daemon()
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    with over_tcp() as address:
        docker("context", "create", "near", "--docker", f"host=unix://{path}")
        docker("context", "create", "far", "--docker", f"host={address}")
        docker("context", "use", "far")
        yield tmp_path


def test_the_current_context_is_honoured_and_the_environment_comes_before_it(contexts, daemon, monkeypatch):
    for variables, remote in (
        ({}, True),
        ({"DOCKER_CONTEXT": "near"}, False),
        ({"DOCKER_CONTEXT": "default"}, False),
        ({"DOCKER_CONTEXT": "near", "DOCKER_HOST": "tcp://127.0.0.1:1"}, None),
    ):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            if remote is None:
                with pytest.raises(EngineMissing, match="no process listens"):
                    Daemon()
                continue
            reached = Daemon()
            assert (reached.remote, reached.version) == (remote, daemon.version)
            reached.close()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda meta: None, "'lost' (DOCKER_CONTEXT) does not exist"),
        (lambda meta: meta.write_text("{"), "'far' (the current one) cannot be read"),
        (lambda meta: meta.write_text('{"Name": "far"}'), "'far' (the current one) cannot be read"),
        (lambda meta: meta.write_text('["far"]'), "'far' (the current one) cannot be read"),
        (
            lambda meta: meta.write_text('{"Name": "far", "Metadata": {}, "Endpoints": {"docker": {"Host": ""}}}'),
            "'far' (the current one) names no docker daemon",
        ),
    ],
    ids=["unknown", "no JSON", "no endpoints", "no table", "no daemon"],
)
def test_a_context_that_cannot_be_used_is_one_message(contexts, spoil, says):
    (meta,) = (path for path in contexts.glob("contexts/meta/*/meta.json") if '"far"' in path.read_text())
    spoil(meta)
    env = {"DOCKER_CONTEXT": "lost"} if "lost" in says else {}
    ran = matrix("image", "list", **env)
    assert ran.status == 3, ran.err
    assert says in ran.err
    assert "docker context ls" in ran.err
    assert (ran.err.count("ERROR"), ran.err.count("TIP")) == (1, 1)


def python_job(environment, code, *, number=0):
    environment = replace(environment, tools={"python": "bin/python"})
    job = job_of("run", environment, ("python", "-I", "-c", textwrap.dedent(code)), number=number)
    return replace(job, outputs=("*.txt",)), environment


@pytest.mark.full
def test_over_ssh_the_machines_own_ssh_is_used(tmp_path, monkeypatch):
    """Which here stays on this machine: it notes how it was called, and runs what a server would."""
    docker_command()
    path = socket_of_daemon()
    called = tmp_path / "called"
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(
        f'#!/bin/sh\necho "$@" >> {called}\nfor last; do :; done\nDOCKER_HOST=unix://{path} exec sh -c "$last"\n'
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "ssh://somebody@far.example:2222")
    driven = Driven(new_engine, tmp_path)
    try:
        job, environment = python_job(driven.engine.realise(request_for("runtime", "3.8.0")), "open('a.txt', 'w')")
        end = driven.do(job, environment, {})
        assert (end.end, end.exit_code) == ("exited", 0), end
        assert driven.engine.collect(job).keys() == {"a.txt"}
        assert driven.engine._boxes.copies
    finally:
        driven.engine.terminate()
    wait_until_no_container(tmp_path)
    words = {line.partition("-l ")[2] for line in called.read_text().splitlines()}
    assert words == {"somebody -p 2222 -- far.example docker system dial-stdio"}


def test_an_ssh_that_fails_says_why(tmp_path, monkeypatch):
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho 'no route to far.example' >&2\nexit 255\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "ssh://far.example")
    with pytest.raises(EngineMissing, match="no route to far"):
        Daemon()


def test_a_daemon_that_does_not_see_our_folders_gets_copies(tmp_path, daemon):
    """The store lies on a disk that only the process of this run has mounted."""
    spec = write_spec(tmp_path / "spec", variants=2, compilers=("3.8.0",), runtimes=("3.8.0",))
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    mounted = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs tmpfs "{hidden}" && exec "$@"', "sh"]
    if os.geteuid() or subprocess.run([*mounted, "true"], check=False, capture_output=True).returncode:
        pytest.skip("NOT TESTED: a disk that the daemon does not see needs the right to mount")
    command = ["run", spec, "--store", hidden / "store", "--engine", "docker", "--format", "csv"]
    done = subprocess.run(
        [*mounted, sys.executable, "-m", "matrix", *map(str, command)],
        cwd=ROOT,
        env=surroundings(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(",passed,") == 2, done.stdout
    assert list(hidden.iterdir()) == []
    wait_until_no_container(hidden / "store")


AS_ANOTHER = """
import os, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}, {helpers!r}]
import test_daemon_reached as tests
tests.check_as_another(Path({warm!r}))  # what is imported late is there before root is given up
os.setgroups([{group}])
os.setgid(61111)
os.setuid(61111)
tests.check_as_another(Path({place!r}))
"""


def check_as_another(place):
    """Run by root, and by a user who is neither root nor a container's user: see the test below."""
    leave = """
        import os
        os.makedirs("deep/er")
        open("deep/er/word", "w").write("left")
        os.chmod("deep", 0)
        open("mine.txt", "w").write("brought")
        os.chmod("mine.txt", 0o600)
        """
    look = "import os; print([name for _, *names in os.walk('.') for name in sum(names, [])])"
    driven = Driven(new_engine, place)
    try:
        environment = driven.engine.realise(request_for("runtime", "3.8.0"))
        ends = []
        for number, code in enumerate((leave, look)):
            job, there = python_job(environment, code, number=number)
            ends.append(driven.do(job, there, {}))
            if code is leave:
                assert driven.engine.collect(job)["mine.txt"].read_text() == "brought"
            driven.engine.clear(job)
        assert [(end.end, end.exit_code) for end in ends] == [("exited", 0)] * 2, ends
        assert ends[1].log == "[]\n"
        assert len(containers_of(place)) == 1, "it was not the same container"
        job, there = python_job(environment, leave + "import time; time.sleep(60)", number=3)
        driven.engine.start(job, there, {})
        box = driven.engine._jobs[job.key]
        while not (box.exchange.folder / "out" / "mine.txt").exists():
            pass
        driven.engine._daemon.remove(box.container)  # nobody is left in it who could open the folder
        assert driven.ended(job.key).end == "lost"
        driven.engine.clear(job)
    finally:
        driven.engine.terminate()
    assert list((place / "scratch").iterdir()) == []


def test_a_user_who_is_not_root_leaves_nothing_behind(tmp_path, daemon):
    """In the group that owns the socket. A job's own user closes what it leaves, as far as it can."""
    if os.geteuid():
        pytest.skip("NOT TESTED: to become another user needs root")
    group = socket_of_daemon().stat().st_gid
    if group == 0:
        pytest.skip(f"NOT TESTED: the daemon's socket belongs to {grp.getgrgid(0).gr_name}")
    open_to_all(tmp_path)
    place, warm = tmp_path / "place", tmp_path / "warm"
    place.mkdir()
    closed = place / f"run-killed{DEAD_SUFFIX}" / "box-1" / "out" / "closed"
    closed.mkdir(parents=True)
    (closed / "word").write_text("of a killed run")
    for path in (place, *closed.relative_to(place).parents[:-1]):
        shutil.chown(place / path, 61111, 61111)
    shutil.chown(closed, *map(int, nobody().split(":")))
    closed.chmod(0)
    folders = {"root": str(ROOT), "tests": str(ROOT / "tests" / "real"), "helpers": str(ROOT / "tests" / "helpers")}
    places = {**folders, "place": str(place), "warm": str(warm)}
    code = AS_ANOTHER.format(group=group, **places)
    done = subprocess.run(
        [sys.executable, "-c", code], env=surroundings(HOME=str(place)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not closed.parents[2].exists()
    wait_until_no_container(place)
