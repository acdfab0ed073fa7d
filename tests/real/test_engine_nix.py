"""The engine of Nix: its contract, what a job in its sandbox sees, and what goes wrong with Nix.

The environments go into this machine's Nix store, as they do for a user; they are the collector's afterwards.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import DATA, ROOT, good, matrix, write_spec
from containers import workshop
from engine_contract import Driven, EngineContract, job_of, request_for

from matrix.engines.nix import NixEngine
from matrix.engines.sandbox import Sandbox, find_sandbox
from matrix.errors import DiskFull, EngineMissing, HashMismatch, ImageFault, NoImage
from matrix.nar import nar_of, tree_path
from matrix.nixmaking import Maker
from matrix.nixstore import InputLacking, NixStore, Target
from matrix.nixtable import EXPRESSION
from matrix.records import Stage
from matrix.worker import Started

pytestmark = pytest.mark.real

USED = (("compiler", "3.8.0"), ("runtime", "3.8.0"), ("runtime", "3.13.0"))


@pytest.fixture(scope="module", autouse=True)
def nix():
    """Debian's own, installed where this is CI's machine (seven seconds). A skip is not a pass: it says what was not
    tested."""
    if os.environ.get("CI") and shutil.which("nix-build") is None and shutil.which("apt-get") and os.geteuid() == 0:
        words = ("install", "--yes", "--quiet", "--no-install-recommends", "nix-bin", "bubblewrap")
        subprocess.run(["apt-get", *words], capture_output=True, timeout=120, check=False)
    try:
        return NixStore()
    except EngineMissing as error:
        pytest.skip(f"NOT TESTED: there is no Nix here ({error}; apt install nix-bin bubblewrap)")


def new_engine(folder, on_event, sandbox=None, maker=None):
    """An engine of which everything but the store of Nix lies below `folder`."""
    engine = NixEngine(
        roots=folder / "roots",
        scratch=folder / "scratch",
        scripts=ROOT / "scripts",
        slots=2,
        on_event=on_event,
        maker=maker or Maker(workshop(folder), platform.machine(), code=ROOT),
        sandbox=sandbox,
    )
    for kind, version in USED:  # as a run does: an engine starts jobs in what it was asked about
        engine.recipe(request_for(kind, version))
    return engine


@pytest.mark.full
class TestNixEngine(EngineContract):
    refusal = NoImage
    one_root = True

    @staticmethod
    def new(folder, on_event):
        return new_engine(folder, on_event)

    def recipe_on_another_python(self, engine):
        with pytest.raises(NoImage, match=r"no base image for Python 3\.13"):
            engine.recipe(request_for("runtime", "3.8.0", python="3.13"))
        return "no recipe"


@pytest.mark.full
class TestNixEngineWithoutSandbox(TestNixEngine):
    """As where neither bubblewrap nor the kernel's namespaces are to be had."""

    @staticmethod
    def new(folder, on_event):
        return new_engine(folder, on_event, Sandbox(program="", reason="not wanted"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("nix")


@pytest.fixture(scope="module")
def runtime(place):
    """A runtime's environment, built by Nix."""
    return new_engine(place, lambda event: None).realise(request_for("runtime", "3.13.0"))


@pytest.fixture
def driven(place, runtime):
    driven = Driven(new_engine, place)
    yield driven
    driven.engine.terminate()


def test_nix_builds_what_the_lock_says(nix, place, runtime):
    """The path and the digest were committed by a machine without Nix; the sandboxed build came to the same."""
    engine = new_engine(place, lambda event: None)
    found = engine.place(request_for("runtime", "3.13.0"))
    assert dict(runtime.evidence)["nix_path"] == str(found.tree)
    assert nar_of(found.tree) == found.environment.tree.nar
    assert nix.closure(found.tree) == {str(found.tree): found.environment.tree.nar.size}  # it refers to nothing
    (root,) = (place / "roots").glob("runtime-3.13.0-*")
    assert {str(found.tree), str(found.base)} < nix.closure(root).keys()


def test_the_programs_start_without_a_sandbox(place, runtime):
    """What `nix build` gives a user: the tools and a Python, on the libraries of the base."""
    (root,) = (place / "roots").glob("runtime-3.13.0-*")
    code = "import sys, numpy, iree.runtime; print(sys.base_prefix, numpy.__version__)"
    done = subprocess.run(
        [root / "bin" / "python", "-I", "-c", code], env={}, capture_output=True, text=True, timeout=60, check=True
    )
    prefix, version = done.stdout.split()
    assert prefix.startswith("/nix/store/")
    assert dict(runtime.distributions)["numpy"] == version


def python_job(environment, code, *, number=0):
    environment = replace(environment, tools={"python": "bin/python"})
    job = job_of(Stage.RUN, environment, ("python", "-I", "-c", textwrap.dedent(code)), number=number)
    return replace(job, outputs=("*.txt",)), environment


LOOK = """
    import os, socket
    print(sorted(os.listdir("/")), sorted(os.listdir("/opt")), os.getuid(), [name for _, name in socket.if_nameindex()])
    kernel = ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/mm/transparent_hugepage/enabled")
    for path in ("/new", "/usr/new", "/opt/env/new", "/in/new", "/scripts/new", "word", *kernel):
        try:
            open(path, "w")
        except OSError as error:
            print("refused", path, error.strerror)
    print(open("word").read(), len([name for name in os.listdir("/proc") if name.isdigit()]) < 9)
    open("left.txt", "w").write("brought")
    """


def test_a_job_sees_its_environment_and_nothing_else(driven, runtime, place):
    if not find_sandbox().works:
        pytest.skip(f"NOT TESTED: jobs run without a sandbox here: {find_sandbox().reason}")
    (place / "word").write_text("given")
    job, environment = python_job(runtime, LOOK)
    end = driven.do(job, environment, {"word": place / "word"})
    assert (end.end, end.exit_code) == ("exited", 0), end.log
    seen, *refused, last = end.log.splitlines()
    folders = "['bin', 'dev', 'etc', 'in', 'lib', 'lib64', 'opt', 'out', 'proc', 'scripts', 'sys', 'tmp', 'usr', 'var']"
    assert seen == f"{folders} ['env'] 65534 ['lo']"
    assert len(refused) == 9
    assert last == "given True"
    assert driven.engine.collect(job)["left.txt"].read_text() == "brought"
    assert (place / "word").read_text() == "given"


def test_a_module_runs_and_its_output_is_the_reference(driven, runtime):
    files = ("--module=module.vmfb", "--input=@input_0.npy", "--output=@output_0.npy")
    job = job_of(Stage.RUN, runtime, ("iree-run-module", "--function=main", *files))
    inputs = {"module.vmfb": DATA / "vmfb" / "plain-3.13.0.vmfb", "input_0.npy": DATA / "linear_input.npy"}
    end = driven.do(job, runtime, inputs)
    assert (end.end, end.exit_code) == ("exited", 0), end.log
    found = driven.engine.collect(job)["output_0.npy"]
    assert found.read_bytes() == (DATA / "linear_expected.npy").read_bytes()


WAIT = """
    open("pipe").read()
    import numpy.random
    """


@pytest.mark.full
def test_what_is_collected_under_a_job_is_our_fault_and_built_again(nix, driven, runtime, place):
    (root,) = (place / "roots").glob("runtime-3.13.0-*")
    paths = [str(root.readlink()), dict(runtime.evidence)["nix_path"]]
    assert nix.delete(paths) == 0  # the root holds them
    os.mkfifo(place / "pipe")
    job, environment = python_job(runtime, WAIT)
    driven.engine.start(job, environment, {"pipe": place / "pipe"})
    driven.wait(Started, job.key)
    root.unlink()
    if not nix.delete(paths):
        pytest.skip("NOT TESTED: something else on this machine holds this environment in the Nix store")
    (place / "pipe").write_text("go on")
    end = driven.ended(job.key)
    assert (end.end, "taken from the Nix store" in end.error) == ("lost", True), end
    driven.engine.discard(job)
    job, environment = python_job(runtime, "import numpy.random", number=1)
    end = driven.do(job, environment, {})
    assert (end.end, end.exit_code) == ("exited", 0), end.log
    assert nix.delete(paths) == 0


NO_NIX = {"PATH": "/nonexistent"}
NO_DAEMON = {"NIX_REMOTE": "daemon", "NIX_DAEMON_SOCKET_PATH": "/nonexistent/socket"}


@pytest.mark.parametrize(
    ("surroundings", "status", "message"),
    [
        (NO_NIX, EngineMissing.exit_code, "no nix-build is on the PATH"),
        (NO_DAEMON, EngineMissing.exit_code, "the Nix daemon does not answer"),
    ],
    ids=["no Nix", "no daemon"],
)
def test_a_nix_that_does_not_answer_is_said_at_once(tmp_path, surroundings, status, message):
    ran = matrix("run", write_spec(tmp_path / "spec"), "--store", tmp_path / "store", "--engine", "nix", **surroundings)
    assert ran.status == status, ran.err
    assert message in ran.err
    assert "TIP" in ran.err


def test_a_damaged_wheel_is_named_and_nothing_is_built(nix, place, tmp_path):
    """It was fetched rightly, and its bytes changed on the disk."""
    engine = new_engine(tmp_path, lambda event: None)
    request = request_for("runtime", "3.12.0")
    (wheel,) = (each for each in engine.place(request).environment.wheels if each.file.startswith("iree"))
    damaged = tmp_path / "files" / wheel.sha256[:2] / wheel.sha256 / wheel.file
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"other bytes")
    if not nix.missing([wheel.path]):
        pytest.skip("NOT TESTED: the wheel is in the Nix store already")
    with pytest.raises(HashMismatch, match=re.escape(wheel.file)):
        engine.realise(request)
    assert engine.load(request) is None


def changed_table(images, lock, change):
    """The committed table with another row for a lock."""
    path = images / "nix" / "3.11-x86_64.json"
    table = json.loads(path.read_text())
    (row,) = (row for row in table["environments"] if row["lock"] == lock)
    row["nar"] = "f" * 64
    row["path"] = tree_path(row["name"], row["nar"])
    change(table, row)
    path.write_text(json.dumps(table))
    return path


def test_a_build_that_lacks_a_file_names_the_command_that_brings_it(nix, tmp_path):
    """As for a user of the flake who has fetched nothing; also in Nix's own sandbox, which has no shell."""

    def another_numpy(table, row):
        (file,) = (file for file in row["wheels"] if file.startswith("numpy-"))
        table["wheels"][file] = "f" * 64

    shutil.copytree(ROOT / "images" / "nix", tmp_path / "nix")
    table = changed_table(tmp_path, "runtime/3.8.0", another_numpy)
    target = Target(
        expression=ROOT / "images" / "nix" / EXPRESSION,
        attribute="environments.runtime-3_8_0",
        table=table,
        code=ROOT,
    )
    said = r"numpy-\S+\.whl is not in the Nix store: put it there with: python -m matrix image build --engine nix"
    with pytest.raises(InputLacking, match=said):
        nix.build(target)


def test_a_full_disk_is_said(small_disk, monkeypatch):
    """A store of Nix's own on a small disk: the real program runs out of space."""
    monkeypatch.setenv("NIX_REMOTE", f"local?root={small_disk('1m')}")
    store = NixStore()
    with pytest.raises(DiskFull, match="cannot put bash into the Nix store: no space left"):
        store.add(Path("/bin/bash"))


@pytest.mark.full
def test_an_environment_that_is_not_the_locked_one_is_refused(tmp_path):
    """Nix compares what it built with the committed digest."""
    images = tmp_path / "images"
    shutil.copytree(ROOT / "images", images)
    changed_table(images, "runtime/3.11.0", lambda table, row: None)
    shop = replace(workshop(tmp_path), images=images)
    engine = new_engine(tmp_path, lambda event: None, maker=Maker(shop, platform.machine(), code=ROOT))
    with pytest.raises(ImageFault, match=r"it is not what images/nix says: specified: sha256-/{42}8=; got: "):
        engine.realise(request_for("runtime", "3.11.0"))


@pytest.mark.full
def test_venv_and_nix_give_the_same_table_and_artifacts(tmp_path):
    spec = write_spec(tmp_path / "spec")
    for engine in ("venv", "nix"):
        words = ("--store", tmp_path / engine, "--engine", engine, "--format", "json")
        good("run", spec, *words, "--output", tmp_path / f"{engine}.json")
    compared = good("compare", tmp_path / "venv.json", tmp_path / "nix.json")
    assert "9 cells" in compared.out
    environments = json.loads((tmp_path / "nix.json").read_text())["environments"].values()
    assert {each["engine"] for each in environments} == {"nix"}
    assert all(each["nix_path"].startswith("/nix/store/") and each["sandbox"] for each in environments)
    freed = good("clean", "--store", tmp_path / "nix", "--environments").out
    assert "paths of the Nix store" in freed
    assert list((tmp_path / "nix" / "nix-roots").iterdir()) == []


@pytest.mark.full
def test_nix_builds_an_environment_again_and_compares(tmp_path):
    chosen = ("--environment", "runtime/3.8.0", "--environment", "compiler/3.8.0", "--store", tmp_path)
    said = good("image", "verify", "--engine", "nix", *chosen)
    assert "2 environments are what is committed, built again by Nix" in said.out
