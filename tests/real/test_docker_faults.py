"""What can happen to a container daemon on a user's machine: one clear message each, or a job that is tried again."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import docker
import pytest
from command_line import ROOT, begin, end, good, matrix, open_to_all, rows, surroundings, wait_for, write_spec
from containers import containers_of, daemon_or_skip, image_of, volumes_of, wait_until_no_container
from engine_contract import request_for
from second_daemon import NoDaemon, second_daemon

from matrix.engines.docker.daemon import Daemon

pytestmark = pytest.mark.real

ONE = ("3.8.0",)


@pytest.fixture(scope="module", autouse=True)
def daemon():
    daemon = daemon_or_skip()
    yield daemon
    daemon.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A store's fetched files for one compiler and one runtime, and images of both in the daemon."""
    folder = tmp_path_factory.mktemp("files")
    ran = run(write_spec(folder / "spec", compilers=ONE, runtimes=ONE), folder / "store")
    assert ran.status == 0, ran.err
    workshop_files = folder / "store" / "files"
    if not workshop_files.exists():  # the images stood already: nothing was fetched
        workshop_files.mkdir()
    return workshop_files


def run(spec, store, **env):
    return matrix("run", spec, "--store", store, "--engine", "docker", "--format", "csv", **env)


def outcomes(ran):
    return [row["outcome"] for row in csv.DictReader(io.StringIO(ran.out))]


def one_message(ran, status, *words):
    """One ERROR, one TIP, and the exit status that belongs to it."""
    assert ran.status == status, ran.err
    assert (ran.err.count("ERROR"), ran.err.count("TIP")) == (1, 1), ran.err
    for word in words:
        assert word in ran.err, ran.err


def with_files(store, files):
    """A new store that has fetched what it needs."""
    store.mkdir()
    shutil.copytree(files, store / "files", copy_function=os.link)
    return store


def nothing_left(store):
    """Neither in the daemon nor in the store's scratch."""
    wait_until_no_container(store)
    assert volumes_of(store) == []
    assert list((store / "scratch").iterdir()) == []


@pytest.fixture
def spec(tmp_path):
    return write_spec(tmp_path / "spec", variants=12, compilers=ONE, runtimes=ONE)


@pytest.mark.parametrize("place", ["missing", "closed", "port"])
def test_no_daemon_is_one_message(tmp_path, spec, place):
    path = tmp_path / "docker.sock"
    if place == "closed":
        with socket.socket(socket.AF_UNIX) as closed:
            closed.bind(str(path))
    address = "tcp://127.0.0.1:1" if place == "port" else f"unix://{path}"
    ran = run(spec, tmp_path / "store", DOCKER_HOST=address)
    one_message(ran, 3, "no container daemon answers", "--engine venv")
    assert ran.seconds < 15
    assert list((tmp_path / "store" / "scratch").iterdir()) == []


def test_no_permission_on_the_socket_is_one_message(tmp_path, spec):
    """As another user, in a process of its own that has given root up."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: to become another user needs root")
    with socket.socket(socket.AF_UNIX) as owned:
        path = tmp_path / "docker.sock"
        owned.bind(str(path))
        owned.listen()
        path.chmod(0o600)
        open_to_all(tmp_path)
        code = (
            f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); import docker, requests\n"
            "from matrix.cli import main; from matrix.engines.docker import daemon\n"
            "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "from matrix.core.errors import MatrixError\n"
            "try: daemon.Daemon()\n"
            "except MatrixError as error: sys.exit(main._report(str(error), error.tip, error.exit_code))"
        )
        env = surroundings(DOCKER_HOST=f"unix://{path}")
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert (done.stderr.count("ERROR"), done.stderr.count("TIP")) == (1, 1)
    assert "no permission on its socket" in done.stderr


def amid(process, store, jobs=2):
    """Waits until a run is in the middle of its jobs."""
    wait_for(lambda: process.poll() is not None or len(rows(store)) >= jobs, seconds=240)  # a fresh daemon loads first
    assert process.poll() is None, process.communicate()


def begin_run(spec, store, **env):
    return begin("run", spec, "--store", store, "--engine", "docker", "--jobs", "1", "--format", "csv", **env)


@pytest.mark.full
def test_a_container_killed_from_outside_costs_nothing(tmp_path, spec, files, daemon):
    """Again and again, amid jobs and between them: every cell is measured."""
    store, killed = tmp_path / "store", 0
    process = begin_run(spec, store)
    amid(process, store, jobs=1)
    for jobs in (3, 8, 14):
        wait_for(lambda jobs=jobs: process.poll() is not None or len(rows(store)) >= jobs, seconds=60)
        for each in containers_of(store):
            if process.poll() is None:
                done = subprocess.run(["docker", "kill", each["Id"]], capture_output=True, check=False)
                killed += done.returncode == 0
    ran = end(process)
    assert ran.status == 0, ran.err
    assert killed >= 2
    assert outcomes(ran) == ["passed"] * 12
    nothing_left(store)


@pytest.mark.parametrize(
    "fault",
    [
        ("kill",),
        *(
            pytest.param(words, marks=pytest.mark.full)
            for words in (("stop", "--time=5"), ("kill", "--signal=TERM"), ("rm", "--force"))
        ),
    ],
    ids="-".join,
)
def test_a_job_whose_container_is_ended_from_outside_is_measured_in_another(tmp_path, spec, daemon, fault):
    """In the middle of it, once."""
    store = tmp_path / "store"
    process = begin_run(spec, store)
    ended = False
    while process.poll() is None and not ended:
        for each in containers_of(store):
            if "iree-" in command_lines(each["Id"]):
                done = subprocess.run(["docker", *fault, each["Id"]], capture_output=True, check=False)
                ended = ended or done.returncode == 0
    ran = end(process)
    assert ended
    assert ran.status == 0, ran.err
    assert outcomes(ran) == ["passed"] * 12
    assert "tried again" in ran.err
    nothing_left(store)


def command_lines(container):
    """What runs in a container."""
    return subprocess.run(
        ["docker", "top", container, "-eo", "pid,args"], capture_output=True, text=True, check=False
    ).stdout


def test_what_a_killed_run_left_goes_at_the_next_start(tmp_path, spec, files, daemon):
    """Its own containers and nobody else's."""
    store, image = tmp_path / "store", image_of(request_for("runtime", "3.8.0"), tmp_path / "look")
    command = ["/opt/env/bin/python", "-c", "import time; time.sleep(600)"]
    name = f"sha256:{image.digest}"
    host = daemon.client.api.create_host_config(network_mode="none")
    foreign = daemon.client.api.create_container(
        name, command, labels={"somebody": "else"}, entrypoint="", host_config=host
    )["Id"]
    try:
        daemon.client.api.start(foreign)
        process = begin_run(spec, store)
        amid(process, store)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        images = {each["Id"] for each in daemon.client.api.images()}
        before = rows(store)
        ran = run(spec, store)
        assert ran.status == 0, ran.err
        assert outcomes(ran) == ["passed"] * 12
        assert before.items() <= rows(store).items()
        wait_until_no_container(store)
        assert daemon.client.api.inspect_container(foreign)["State"]["Running"]
        assert {each["Id"] for each in daemon.client.api.images()} >= images
    finally:
        daemon.client.api.remove_container(foreign, force=True)


def test_ctrl_c_twice_ends_within_seconds(tmp_path, spec, files):
    store = tmp_path / "store"
    process = begin_run(spec, store)
    amid(process, store)
    begun = time.monotonic()
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.1)
    ran = end(process)
    assert ran.status == 130, ran.err
    assert time.monotonic() - begun < 5
    assert containers_of(store) == []


@pytest.fixture
def second(small_disk):
    """A daemon of this test alone, with a small disk."""
    try:
        with second_daemon(small_disk("1500m")) as daemon:
            daemon.resize = small_disk
            yield daemon
    except NoDaemon as error:
        pytest.skip(f"NOT TESTED: {error}")


@pytest.mark.full
def test_an_image_deleted_in_mid_run_is_loaded_again(tmp_path, spec, files, second, monkeypatch):
    """With its container, again and again until the daemon has it no more; the run brings it back and goes on."""
    store = with_files(tmp_path / "store", files)
    monkeypatch.setenv("DOCKER_HOST", second.address)
    image = image_of(request_for("runtime", "3.8.0"), tmp_path / "look")
    process = begin_run(spec, store)
    daemon = Daemon()

    def gone():
        """In one go: whatever the run starts in between keeps its image from being removed."""
        api = daemon.client.api
        for each in api.containers(filters={"ancestor": image.digest}):
            daemon.remove(each["Id"])
        with contextlib.suppress(docker.errors.APIError):
            api.remove_image(image.digest, force=True)
            return True
        return process.poll() is not None

    amid(process, store, jobs=14)  # 12 compiles, and runs after them
    wait_for(gone, seconds=60)
    assert process.poll() is None, process.communicate()
    before = rows(store)
    ran = end(process)
    assert ran.status == 0, ran.err
    assert outcomes(ran) == ["passed"] * 12
    assert 14 <= len(before) < len(rows(store)) == 24
    assert daemon.has(image)
    daemon.close()
    nothing_left(store)


@pytest.mark.full
def test_an_image_that_is_damaged_on_the_daemon_is_loaded_again_before_a_red_counts(
    tmp_path, spec, files, second, monkeypatch
):
    """As a power failure or a bad disk leaves it: the compiler crashes, and that is no finding about it."""
    store = with_files(tmp_path / "store", files)
    monkeypatch.setenv("DOCKER_HOST", second.address)
    good("image", "build", spec, "--store", store)
    (library,) = second.data.rglob("libIREECompiler.so")
    with library.open("r+b") as file:
        file.truncate(library.stat().st_size // 2)
    ran = run(spec, store)
    assert ran.status == 0, ran.err
    assert outcomes(ran) == ["passed"] * 12
    assert "its image on the daemon is damaged" in ran.err
    nothing_left(store)


@pytest.mark.full
def test_a_daemon_that_stops_in_mid_run_is_one_message(tmp_path, spec, files, second, monkeypatch):
    store = with_files(tmp_path / "store", files)
    monkeypatch.setenv("DOCKER_HOST", second.address)
    process = begin_run(spec, store)
    amid(process, store)
    second.stop()
    ran = end(process)
    one_message(ran, 5, "the container daemon is gone", "start it again")
    before = rows(store)
    second.start()
    ran = run(spec, store)
    assert ran.status == 0, ran.err
    assert outcomes(ran) == ["passed"] * 12
    assert before.items() <= rows(store).items()
    assert len(rows(store)) == 24 > len(before) >= 2
    nothing_left(store)


def test_a_daemon_without_room_for_the_images_is_told_before_anything_is_loaded(
    tmp_path, spec, files, second, monkeypatch
):
    store = with_files(tmp_path / "store", files)
    monkeypatch.setenv("DOCKER_HOST", second.address)
    second.resize("100m")
    one_message(run(spec, store), 7, "2 are missing, about 0.6 GB, and there is room for 0.1 GB", "--only")
    assert second.images() == []
    nothing_left(store)


@pytest.mark.full
def test_a_daemon_whose_disk_is_full_is_one_message(tmp_path, spec, files, second, monkeypatch):
    """Filled by somebody else while the images are loaded."""
    store = with_files(tmp_path / "store", files)
    monkeypatch.setenv("DOCKER_HOST", second.address)
    process = begin_run(spec, store)
    begun = shutil.disk_usage(second.data).used
    wait_for(
        lambda: process.poll() is not None or shutil.disk_usage(second.data).used > begun + (50 << 20), seconds=240
    )
    filler = second.fill()
    one_message(end(process), 7, "no space left on the daemon's disk", "docker system df")
    nothing_left(store)
    assert len(second.images()) < 2
    filler.unlink()
    ran = run(spec, store)
    assert outcomes(ran) == ["passed"] * 12, ran.err
    nothing_left(store)
