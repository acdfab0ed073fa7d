"""The engine of Nix: its contract, what a job in its sandbox sees, and what goes wrong with Nix.

The environments go into this machine's Nix store, as they do for a user, and out of it when this file is over.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import DATA, ROOT, good, write_spec
from containers import image_of, workshop
from engine_contract import Driven, EngineContract, job_of, request_for
from nix_here import STORED, let_go, new_engine, own_nix, stored

from matrix.core.errors import NoImage
from matrix.core.store_paths import StorePath
from matrix.engines.nix.making import Maker
from matrix.engines.nix.sandbox import Sandbox, find_sandbox
from matrix.engines.nix.store import InputLacking, NixTarget, settings
from matrix.engines.worker import Finished, Started
from matrix.images.layer_table import TableWish
from matrix.images.nix.locking import make_table
from matrix.images.nix.nar import Nar, nar_of
from matrix.images.nix.table import EXPRESSION, read_nix_table
from matrix.plan.locks import load_locks

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("nix")]


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
    tree = StorePath(path=str(found.tree), size=found.environment.tree.nar.size)
    assert nix.closure(found.tree) == {tree.path: tree}  # it refers to nothing
    (root,) = (place / "roots").glob("runtime-3.13.0-*")
    assert nix.closure(root).keys() == {str(root.readlink()), str(found.tree), str(found.base)}


def asked(question, *paths):
    argv = ["nix-store", "--query", question, *paths]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


def test_the_evidence_has_the_closure_as_nix_says_it(place, runtime):
    evidence = dict(runtime.evidence)
    paths, programs = evidence["store_paths"], evidence["nix_programs"]
    assert sorted(paths) == sorted(asked("--requisites", programs))
    for path, facts in paths.items():
        assert [str(facts["bytes"])] == asked("--size", path)
        assert facts["references"] == sorted({*asked("--references", path)} - {path})
    assert paths[programs]["references"] == sorted([evidence["nix_base"], evidence["nix_path"]])
    assert evidence["nix_closure_bytes"] == sum(facts["bytes"] for facts in paths.values())
    looked = new_engine(place, lambda event: None).load(request_for("runtime", "3.13.0"))
    assert dict(looked.evidence).keys() == evidence.keys() - {"store_paths", "nix_closure_bytes"}


def test_the_programs_start_without_a_sandbox_and_leave_the_store_as_it_was(nix, place, runtime):
    """What `nix build` gives a user: the tools and a Python, on the libraries of the base. root could write there."""
    (root,) = (place / "roots").glob("runtime-3.13.0-*")
    code = "import sys, numpy, iree.runtime; print(sys.base_prefix, numpy.__version__)"
    done = subprocess.run(
        [root / "bin" / "python", "-I", "-c", code], env={}, capture_output=True, text=True, timeout=60, check=True
    )
    prefix, version = done.stdout.split()
    assert prefix.startswith("/nix/store/")
    assert dict(runtime.distributions)["numpy"] == version
    assert nix.changed(sorted(nix.closure(root))) == ""


def test_what_tests_add_goes_and_nothing_else(nix, tmp_path):
    """A developer's store is left as it was: what was there, what others hold and what has no name of ours stays."""
    added = {}
    for name in ("iree-matrix-there", "iree-matrix-held", "iree-matrix-held-by-a-test", "iree-matrix-dead", "other"):
        (tmp_path / name).write_text(f"{name} of {tmp_path}")
        (added[name],) = nix.add(tmp_path / name)
    (tmp_path / "test").mkdir()
    nix.hold([added["iree-matrix-held"]], tmp_path / "root")
    nix.hold([added["iree-matrix-held-by-a-test"]], tmp_path / "test" / "root")
    unfinished = STORED / f"{'0' * 32}-iree-matrix-unfinished"
    if os.access(STORED, os.W_OK):
        unfinished.touch()  # as a killed build leaves one, which the store's database does not know
    new = {Path(path).name for name, path in added.items() if name != "iree-matrix-there"} | {unfinished.name}
    let_go(nix, stored() - new, tmp_path / "test")
    gone = nix.missing(list(added.values()))
    (tmp_path / "root").unlink()
    nix.delete(added.values())
    assert not unfinished.exists()
    assert gone == {added["iree-matrix-held-by-a-test"], added["iree-matrix-dead"]}
    assert nix.missing(list(added.values())) == set(added.values())


NOTHING_REACHED = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "IREE_MATRIX_DEBIAN_MIRROR": "http://127.0.0.1:9"}


def test_what_a_cache_has_is_neither_fetched_nor_built(nix, runtime, another_nix, tmp_path):
    """As for a colleague: an empty Nix store, an empty store of ours, no index and no mirror."""
    paths = [dict(runtime.evidence)[name] for name in ("nix_base", "nix_path")]
    cache = f"file://{tmp_path}/cache?compression=none"
    argv = ["nix", "--extra-experimental-features", "nix-command", "copy", "--to", cache, *paths]
    subprocess.run(argv, check=True, capture_output=True, timeout=120)
    set_so = {"NIX_CONFIG": f"substituters = file://{tmp_path}/cache", **NOTHING_REACHED}
    before = own_nix("--bind", another_nix)
    words = ("image", "build", "--engine", "nix", "--environment", "runtime/3.13.0", "--store", tmp_path / "store")
    said = good(*words, before=before, **set_so).out
    assert paths[1] in said
    assert not list((tmp_path / "store" / "files").rglob("*.whl"))


CONDITIONS = {
    "root": {},
    "another user, closed umask": {"user": 65534, "group": 65534, "extra_groups": [], "umask": 0o077},
    "another time and language": {"env": {"TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8", "LANG": "de_DE"}},
    "another seed and home": {"env": {"PYTHONHASHSEED": "7", "HOME": "/", "TMPDIR": "/dev/shm"}, "umask": 0o002},
}


def target_of(attribute):
    folder = ROOT / "images" / "nix"
    return NixTarget(expression=folder / EXPRESSION, attribute=attribute, table=folder / "3.11-x86_64.json", code=ROOT)


@pytest.fixture
def anywhere():
    """A folder that other users reach, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="built elsewhere ä ") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.fixture(scope="module")
def recipe(nix, place, runtime):
    """What Nix runs to build the runtime's environment, as its derivation says; all that it reads is there."""
    maker = Maker(workshop(place), platform.machine(), code=ROOT)
    request = request_for("runtime", "3.13.0")
    assert maker.check(maker.place(request, image_of(request, place))) == ""  # Nix builds it again and compares
    argv = ["nix-instantiate", *settings().options, *target_of("environments.runtime-3_13_0").words]
    path = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    for words in (["show-derivation"], ["derivation", "show"]):  # its name before Nix 2.15, and since then
        argv = ["nix", "--extra-experimental-features", "nix-command", *words, path]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return next(iter(json.loads(done.stdout).values()))
    pytest.fail(done.stderr)


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param(name, marks=pytest.mark.full if at else (), id=name.replace(" ", "-"))
        for at, name in enumerate(CONDITIONS)
    ],
)
def test_the_builder_makes_the_committed_bytes_under_any_condition(recipe, place, anywhere, condition):
    """The very command line that Nix runs, without Nix's clean room around it."""
    if condition.startswith("another user") and os.geteuid() != 0:
        pytest.skip("NOT TESTED: only root becomes another user")
    options = dict(CONDITIONS[condition])
    env = {**recipe["env"], **options.pop("env", {}), "out": str(anywhere / "out")}
    argv = [recipe["builder"], *recipe["args"]]
    subprocess.run(argv, env=env, cwd=anywhere, check=True, timeout=120, **options)
    found = new_engine(place, lambda event: None).place(request_for("runtime", "3.13.0"))
    assert nar_of(anywhere / "out") == found.environment.tree.nar


def python_job(environment, code, *, number=0):
    environment = replace(environment, tools={"python": "bin/python"})
    job = job_of("run", environment, ("python", "-I", "-c", textwrap.dedent(code)), number=number)
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
    job = job_of("run", runtime, ("iree-run-module", "--function=main", *files))
    inputs = {"module.vmfb": DATA / "vmfb" / "plain-3.13.0.vmfb", "input_0.npy": DATA / "linear_input.npy"}
    end = driven.do(job, runtime, inputs)
    assert (end.end, end.exit_code) == ("exited", 0), end.log
    found = driven.engine.collect(job)["output_0.npy"]
    assert found.read_bytes() == (DATA / "linear_expected.npy").read_bytes()


WAIT = """
    open("pipe").read()
    import numpy.random
    """


BESIDE = """
    import os
    open("pipe").read()
    print(sum(len(folders) for folders in (os.listdir("/in"), os.listdir("/out"))))
    """


def test_jobs_of_one_environment_at_the_same_time_see_only_their_own_folders(driven, runtime, place):
    if not find_sandbox().works:
        pytest.skip(f"NOT TESTED: jobs run without a sandbox here: {find_sandbox().reason}")
    jobs = []
    for number in (11, 12):
        os.mkfifo(place / f"pipe-{number}")
        job, environment = python_job(runtime, BESIDE, number=number)
        driven.engine.start(job, environment, {"pipe": place / f"pipe-{number}"})
        jobs.append(job)
    for number in (11, 12):
        (place / f"pipe-{number}").write_text("go on")  # waits until the job reads: then both have begun
    ends: list[str] = []
    while len(ends) < len(jobs):
        event = driven.events.get(timeout=60)
        ends += [event.end.log] if isinstance(event, Finished) else []
    assert ends == ["2\n", "2\n"]  # one folder of inputs, one of its own


@pytest.mark.full
def test_what_is_collected_under_a_job_is_our_fault_and_built_again(nix, driven, place):
    """In an environment that no other test has, whose roots would hold it."""
    runtime = driven.engine.realise(request_for("runtime", "3.12.0"))
    (root,) = (place / "roots").glob("runtime-3.12.0-*")
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
    driven.engine.clear(job)
    job, environment = python_job(runtime, "import numpy.random", number=1)
    end = driven.do(job, environment, {})
    assert (end.end, end.exit_code) == ("exited", 0), end.log
    assert nix.delete(paths) == 0


def table_with_another_numpy(lock):
    """The committed table, where the environment of a lock needs a wheel that nobody has."""
    table = json.loads((ROOT / "images" / "nix" / "3.11-x86_64.json").read_text())
    (row,) = (row for row in table["environments"] if row["lock"] == lock)
    row["nar"] = "f" * 64
    (file,) = (file for file in row["wheels"] if file.startswith("numpy-"))
    table["wheels"][file] = "f" * 64
    return json.dumps(table)


def test_a_build_that_lacks_a_file_names_the_command_that_brings_it(nix, tmp_path):
    """As for a user of the flake who has fetched nothing; also in Nix's own sandbox, which has no shell."""

    table = tmp_path / "table.json"
    table.write_text(table_with_another_numpy("runtime/3.8.0"))
    target = replace(target_of("environments.runtime-3_8_0"), table=table)
    said = r"/\S+\.whl is not in the Nix store: put it there with: python -m matrix image build --engine nix"
    with pytest.raises(InputLacking, match=said):
        nix.build(target, tmp_path)


@pytest.mark.full
def test_venv_and_nix_give_the_same_table_and_artifacts(tmp_path):
    spec = write_spec(tmp_path / "spec")
    for engine in ("venv", "nix"):
        words = ("--store", tmp_path / engine, "--engine", engine, "--format", "json")
        good("run", spec, *words, "--output", tmp_path / f"{engine}.json")
    compared = good("compare", tmp_path / "venv.json", tmp_path / "nix.json")
    assert "9 cells" in compared.out
    run = json.loads((tmp_path / "nix.json").read_text())
    environments = run["environments"].values()
    assert {each["engine"] for each in environments} == {"nix"}
    assert all(each["nix_path"].startswith("/nix/store/") and each["sandbox"] for each in environments)
    assert sorted(run["store_paths"]) == sorted(asked("--requisites", *(each["nix_programs"] for each in environments)))
    good("report", tmp_path / "nix.json", "-o", tmp_path / "report.html")
    report = (tmp_path / "report.html").read_text()
    assert all(path in report for path in run["store_paths"])
    assert "6 environments, 13 paths" in report
    freed = good("clean", "--store", tmp_path / "nix", "--environments").out
    assert "paths of the Nix store" in freed
    assert list((tmp_path / "nix" / "nix-roots").iterdir()) == []


@pytest.mark.full
def test_nix_builds_an_environment_again_and_compares(tmp_path):
    chosen = ("--environment", "runtime/3.8.0", "--environment", "compiler/3.8.0", "--store", tmp_path)
    said = good("image", "verify", "--engine", "nix", *chosen)
    assert "2 environments are what is committed, built again by Nix" in said.out


@pytest.mark.full
def test_a_table_of_other_unpacking_code_is_derived_anew(place):
    """One wrong digest makes all rows of the table suspect; without Nix they come to what is committed."""
    committed = read_nix_table(ROOT / "images" / "nix", "3.11", "x86_64")
    rows = {each.lock: each for each in committed.environments if each.lock in ("matrix", "runtime/3.13.0")}
    wrong = [replace(row, tree=replace(row.tree, nar=Nar(digest="f" * 64, size=1))) for row in rows.values()]
    wish = TableWish(python="3.11", machine="x86_64", locks=("runtime/3.13.0",))
    locks = load_locks(ROOT / "images" / "locks").locks
    table = make_table(workshop(place), wish, locks, replace(committed, environments=tuple(wrong)))
    assert {each.lock: each for each in table.environments} == rows
    assert table.base == committed.base
