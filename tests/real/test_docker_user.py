"""A whole run by a user who is not root but in the group of the socket: the table of root, and nothing left."""

from __future__ import annotations

import contextlib
import shutil
from functools import partial

import pytest
from another_user import another_user
from command_line import DATA, ROOT, good, write_spec
from containers import daemon_or_skip, new_engine, over_tcp, socket_of_daemon, wait_until_no_container
from engine_contract import Driven, compile_job, request_for

pytestmark = pytest.mark.real

PAIR = ("3.8.0", "3.10.0")


@pytest.fixture(scope="module")
def somebody():
    daemon_or_skip().close()
    with another_user(group=socket_of_daemon().stat().st_gid) as user:
        yield user


@pytest.fixture(scope="module")
def spec(somebody):
    return write_spec(somebody.home / "spec", compilers=PAIR, runtimes=PAIR)


@pytest.fixture(scope="module")
def of_root(somebody, spec, tmp_path_factory):
    """The table of the same spec as root measures it."""
    return run(spec, tmp_path_factory.mktemp("root") / "store").out


def run(spec, store, **options):
    return good("run", spec, "--store", store, "--engine", "docker", "--format", "csv", **options)


@pytest.fixture(params=["its folders are seen", "its files are copied"])
def reached(request, monkeypatch):
    """The ways of a job's files into its container."""
    with contextlib.ExitStack() as stack:
        if request.param == "its files are copied":
            monkeypatch.setenv("DOCKER_HOST", stack.enter_context(over_tcp()))
        yield request.param


@pytest.mark.parametrize(
    ("umask", "reached"),
    [
        ("022", "its folders are seen"),
        pytest.param("077", "its files are copied", marks=pytest.mark.full),  # test_daemon_reached copies too
    ],
    indirect=["reached"],
)
def test_a_whole_run_gives_the_table_of_root(somebody, spec, of_root, reached, umask):
    store = somebody.home / f"store-{umask}-{reached.replace(' ', '-')}"
    before = (*somebody.before, "sh", "-c", f'umask {umask}; exec "$@"', "sh")
    ran = run(spec, store, before=before)
    assert ran.out == of_root
    assert ran.jobs_run == 6
    assert run(spec, store, before=before).jobs_run == 0
    wait_until_no_container(store)
    assert list((store / "scratch").iterdir()) == []
    of_others = [path for path in store.rglob("*") if path.owner() != somebody.name]
    assert of_others == []
    assert sum(path.is_file() for path in (store / "blobs").rglob("*")) > 4


def test_a_clone_that_only_its_owner_may_read_serves_the_user_of_the_containers(tmp_path):
    """As `umask 077` makes one: the worker is a file of it."""
    scripts = tmp_path / "scripts"
    shutil.copytree(ROOT / "scripts", scripts, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (scripts, *scripts.rglob("*")):
        path.chmod(0o700)
    driven = Driven(partial(new_engine, scripts=scripts), tmp_path)
    try:
        environment = driven.engine.realise(request_for("compiler", "3.8.0"))
        job = compile_job(environment)
        end = driven.do(job, environment, {"module.mlir": DATA / "linear.mlir"})
    finally:
        driven.engine.terminate()
    assert (end.end, end.exit_code) == ("exited", 0), end
