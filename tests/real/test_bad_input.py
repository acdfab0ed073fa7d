"""Everything that a person, a disk or an index can do wrong: one clear message, the next step, its own exit code."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import time
from pathlib import Path

import pytest
from command_line import (
    RELEASES,
    ROOT,
    Ran,
    begin,
    end,
    good,
    matrix,
    new_store,
    no_index,
    rows,
    standing,
    started,
    wait_for,
    wait_until_gone,
    write_spec,
)

from matrix.core.errors import NotAllMeasured

pytestmark = pytest.mark.real

ONE = RELEASES[:1]


def refused(ran: Ran, status: int, *words: str) -> None:
    """It ended with this code, one message that holds all the words, and one tip; nothing went to stdout."""
    assert ran.status == status, ran.err
    assert ran.err.count("ERROR ") == 1, ran.err
    message, _, tip = ran.err.partition("\nTIP ")
    for word in words:
        assert word in message, ran.err
    assert len(tip.strip()) > 10, ran.err
    assert "a defect of this project" not in ran.err
    assert ran.out == ""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    return write_spec(tmp_path / "spec", compilers=ONE, runtimes=ONE)


def ask(store: Path, statement: str) -> list[str]:
    """One statement to a store's database; the first column of its answer."""
    with contextlib.closing(sqlite3.connect(store / "store.sqlite", isolation_level=None)) as database:
        return [row[0] for row in database.execute(statement)]


def altered(spec: Path, old: str, new: str) -> Path:
    text = spec.read_text()
    assert old in text
    spec.write_text(text.replace(old, new, 1))
    return spec


# -- the command line and the spec: nothing is made, not even a store


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["rum"], 2, ["VERB", "'rum'", "expected one of", "did you mean 'run'?"]),
        ([], 2, ["VERB"]),
        (["run", "--storr", "x"], 2, ["--storr"]),
        (["run", "--jobs", "0"], 2, ["--jobs", "'0'", "a whole number from 1"]),
        (["show", "--format", "jsno"], 2, ["--format", "'jsno'", "junit", "did you mean 'json'?"]),
        (["run", "--engine", "dokcer"], 2, ["--engine", "'dokcer'", "venv"]),
        (["run", "--only", "compilr=3.8.0"], 2, ["'compilr=3.8.0'", "AXIS=VALUE", "did you mean 'compiler'?"]),
        (["run", "--only", "compiler"], 2, ["'compiler'", "AXIS=VALUE"]),
        (["run", "--only", "compiler=3.99.0"], 2, ["--only compiler", "unknown version '3.99.0'", "the locks know"]),
        (["run", "--only", "compiler=>=99"], 2, ["--only compiler=>=99 leaves no cell"]),
        (["run", "portabilty"], 2, ["'portabilty'", "expected one of", "did you mean 'portability'?"]),
        (["run", "no/such.toml"], 2, ["'no/such.toml'", "expected one of"]),
        (["clean"], 7, ["no store there"]),
    ],
)
def test_words(tmp_path, words, status, said):
    store = tmp_path / "store"
    rest = ["--store", store] if words and words[0] in ("run", "show", "clean") else []
    refused(matrix(*words, *rest), status, *said)
    assert not store.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("compiler =", "compilers ="), ["axes.compilers", "unknown axis", "did you mean 'compiler'?"]),
        (("name =", "nmae ="), ["2 faults", "nmae", "did you mean 'name'?"]),
        (("format = 1", "format = 7"), ["format", "read 7", "expected 1"]),
        (('compiler = ["3.8.0"]', 'compiler = ["3.88.0"]'), ["axes.compiler", "'3.88.0'", "2.9.0", "3.8"]),
        (('compiler = ["3.8.0"]', 'compiler = ["newest"]'), ["axes.compiler", "'newest'", "latest"]),
        (('compiler = ["3.8.0"]', "compiler = []"), ["axes.compiler", "selects no value", "expected at least one"]),
        (('compiler = ["3.8.0"]', 'compiler = ["<1"]'), ["axes.compiler", "'<1' selects no value"]),
        (('model = ["linear1"]', 'model = ["linaer1"]'), ["axes.model", "'linaer1'", "did you mean 'linear1'?"]),
        (('"linear1.mlir"', '"linear9.mlir"'), ["models.linear1", "linear9.mlir'", "expected a file"]),
        (('"expected1.npy"', '"none.npy"'), ["models.linear1", "none.npy'", "expected a file"]),
        (("[axes]", "[axes"), ["line 7", "not TOML"]),
        (('"run"]', '"run"'), ["line ", "not TOML"]),
        (("[axes]", '[axes]\nflags = "O9"'), ["unknown flags 'O9'", "did you mean 'O"]),
        (('turbine = "3.9.0"', "turbine = 3.9.0"), ["line 10", "not TOML"]),
        (('stages = ["export", "compile", "run"]', 'stages = ["export", "run"]'), ["stages", "no gap"]),
    ],
)
def test_specs(tmp_path, spec, change, said):
    refused(matrix("run", altered(spec, *change), "--store", tmp_path / "store"), 2, *said)
    assert not (tmp_path / "store").exists()


def test_all_faults_of_a_spec_at_once(tmp_path, spec):
    altered(spec, "compiler =", "compilers =")
    altered(spec, "runtime =", "rntime =")
    altered(spec, "format = 1", 'format = 1\ncolour = "red"')
    refused(matrix("run", spec, "--store", tmp_path / "store"), 2, "3 faults", "compilers", "rntime", "colour")


def test_rules_that_leave_nothing(tmp_path, spec):
    spec.write_text(spec.read_text() + '\n[[exclude]]\nwhen = { compiler = "all" }\nreason = "no time"\n')
    refused(matrix("run", spec, "--store", tmp_path / "store"), 2, "exclude[0]", "all 1 cells", "at least one cell")


def test_a_cell_that_is_not_there_or_not_one(tmp_path, store):
    spec = write_spec(tmp_path, compilers=RELEASES, runtimes=ONE)
    good("run", spec, "--store", store)
    words = ["why", "--preset", spec, "--store", store]
    refused(matrix(*words), 2, "3 cells fit", "expected exactly one", "3.10.0")
    refused(matrix(*words, "compiler=3.9.0"), 2, "no cell fits", "compiler=3.9.0", "3.13.0")
    refused(matrix(*words, "compielr=3.8.0"), 2, "'compielr=3.8.0'", "did you mean 'compiler'?")


# -- the store


def test_a_file_in_the_place_of_the_store(tmp_path, spec):
    (tmp_path / "store").write_text("mine")
    refused(matrix("run", spec, "--store", tmp_path / "store"), 7, f"{tmp_path / 'store'}", "cannot be written")
    assert (tmp_path / "store").read_text() == "mine"


def test_a_place_where_nobody_writes(spec):
    refused(matrix("run", spec, "--store", "/proc/here"), 7, "/proc/here", "cannot be written")


def test_a_read_only_store(tmp_path, shared, spec, small_disk):
    disk = small_disk("160m")
    store = new_store(disk / "store", shared)
    before = good("run", spec, "--store", store, "--format", "csv").out
    other = write_spec(tmp_path / "other", compilers=RELEASES[1:2], runtimes=ONE)
    small_disk("160m,ro")
    refused(matrix("run", other, "--store", store), 7, str(store))
    assert matrix("show", spec, "--store", store, "--format", "csv").out == before
    small_disk("160m,rw")
    good("run", other, "--store", store)


def test_an_output_that_cannot_be_written(tmp_path, spec, store):
    (tmp_path / "taken").write_text("mine")
    words = ["run", spec, "--store", store, "--output"]
    below = tmp_path / "taken" / "table.txt"
    refused(matrix(*words, below), 2, str(below), "cannot be written")
    refused(matrix(*words, tmp_path), 2, str(tmp_path), "cannot be written")
    assert good("run", spec, "--store", store).jobs_run == 0


@pytest.mark.parametrize("verb", ["show", "why"])
def test_no_store_to_look_at(tmp_path, spec, verb):
    words = [verb, "--preset", spec] if verb == "why" else [verb, spec]
    refused(matrix(*words, "--store", tmp_path / "none"), 7, str(tmp_path / "none"), "no store there")
    assert not (tmp_path / "none").exists()


def test_a_store_of_a_newer_version(spec, store):
    before = good("run", spec, "--store", store, "--format", "csv").out
    ask(store, "INSERT INTO migrations VALUES ('9999_the_future', '2099-01-01')")
    for words in (["run", spec], ["show", spec], ["plan", spec], ["clean"]):
        refused(matrix(*words, "--store", store), 7, "newer version", "'9999_the_future'", "expected at most")
    ask(store, "DELETE FROM migrations WHERE name = '9999_the_future'")
    again = good("run", spec, "--store", store, "--format", "csv")
    assert (again.jobs_run, again.out) == (0, before)


@pytest.mark.parametrize("damage", ["overwritten", "empty", "a page"])
def test_a_damaged_database(spec, store, damage):
    good("run", spec, "--store", store)
    path = store / "store.sqlite"
    whole = path.read_bytes()
    half = whole[:4096] + b"\xff" * (len(whole) - 4096)
    spoilt = {"overwritten": b"this is no database" * 300, "empty": b"", "a page": half}
    path.write_bytes(spoilt[damage])
    for words in (["show", spec], ["run", spec])[: 1 if damage == "empty" else 2]:
        refused(matrix(*words, "--store", store), 7, str(path if damage == "overwritten" else store))
    path.write_bytes(whole)
    assert good("run", spec, "--store", store).jobs_run == 0


def test_a_lost_and_a_torn_artifact_are_made_again(spec, store):
    before = good("run", spec, "--store", store, "--format", "csv").out
    made = "FROM results, json_each(record, '$.outputs') AS made WHERE made.value ->> 'name' = 'module.vmfb'"
    (digest,) = ask(store, f"SELECT made.value ->> 'digest' {made}")
    blob = store / "blobs" / digest[:2] / digest
    blob.unlink()
    assert good("show", spec, "--store", store, "--format", "csv").out.count(",untested,") == 1
    assert good("run", spec, "--store", store, "--format", "csv").out == before
    blob.chmod(0o644)
    blob.write_bytes(b"torn")
    again = good("run", spec, "--store", store, "--format", "csv")
    assert (again.jobs_run, again.out) == (1, before)


# -- locks, wheels, the index


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A copy of the locks that may be spoilt, and the scripts."""
    folder = tmp_path / "data"
    shutil.copytree(ROOT / "images" / "locks", folder / "images" / "locks")
    (folder / "scripts").symlink_to(ROOT / "scripts")
    return folder


def test_a_damaged_lock(tmp_path, spec, data):
    lock = data / "images" / "locks" / "runtime" / "3.8.0.txt"
    lock.write_text("iree-base-runtime\n")
    words = ["run", spec, "--store", tmp_path / "store"]
    refused(matrix(*words, IREE_MATRIX_DATA=str(data)), 2, "runtime/3.8.0.txt", "first line", "pins")
    lock.write_bytes(b"\xff\xfe\x00")
    refused(matrix(*words, IREE_MATRIX_DATA=str(data)), 2, "runtime/3.8.0.txt")
    (data / "images" / "locks" / "wanted.toml").unlink()
    refused(matrix(*words, IREE_MATRIX_DATA=str(data)), 2, "wanted.toml", "cannot be read")
    refused(matrix(*words, IREE_MATRIX_DATA=str(tmp_path / "none")), 2, "wanted.toml", "cannot be read")
    assert not (tmp_path / "store").exists()


def test_a_wheel_whose_hash_is_wrong(tmp_path, shared, spec, data):
    lock = data / "images" / "locks" / "runtime" / "3.8.0.txt"
    head, package, rest = lock.read_text().partition("\nnumpy==")
    assert package
    lock.write_text(head + package + re.sub(r"sha256:\w{8}", "sha256:00000000", rest))
    store = new_store(tmp_path / "store", shared, leave_out=["runtime"])
    ran = matrix("run", spec, "--store", store, IREE_MATRIX_DATA=str(data))
    refused(ran, 6, "the wheel of numpy==", "runtime/3.8.0.txt", "not the one")
    assert list(store.glob("environments/*.partial-*")) == []
    kept = len(rows(store))
    again = good("run", spec, "--store", store, "--format", "csv")
    assert again.jobs_run == 2 - kept
    assert again.out.count(",passed,") == 1


def closed_index(tmp_path: Path) -> dict[str, str]:
    """An index at a port where nobody listens, and a cache that holds nothing."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return no_index(tmp_path / "cache", port)


def test_an_index_that_does_not_answer(tmp_path, shared, spec):
    """What needs no download is measured all the same, and kept."""
    store = new_store(tmp_path / "store", shared, leave_out=["runtime"])
    ran = matrix("run", spec, "--store", store, **closed_index(tmp_path))
    refused(ran, 5, "runtime/3.8.0", "does not answer")
    assert "UV_DEFAULT_INDEX" in ran.err
    assert "127.0.0.1" not in ran.err.partition("ERROR")[2]  # an address may hold a password
    kept = len(rows(store))
    again = good("run", spec, "--store", store)
    assert again.jobs_run == 2 - kept


def test_a_python_that_is_not_there(tmp_path, store, spec):
    altered(spec, "format = 1", 'format = 1\ntools_python = "3.77"')
    ran = matrix("run", spec, "--store", store, UV_PYTHON_DOWNLOADS="never")
    assert ran.status == NotAllMeasured.exit_code
    assert ran.out.count("untested") >= 1  # the table is printed: planned = accounted for
    assert re.search(r"ERROR .*3\.77", ran.err, re.DOTALL)
    assert "TIP " in ran.err


# -- a full disk


def test_a_full_disk_while_environments_are_made(tmp_path, spec, small_disk):
    store = small_disk("24m") / "store"
    refused(matrix("run", spec, "--store", store), 7, "no room for", "the disk has no more")
    assert list(store.glob("environments/*.partial-*")) == []
    small_disk("4g")
    assert good("run", spec, "--store", store).jobs_run == 2


@pytest.mark.full
def test_a_full_disk_amid_jobs(tmp_path, shared, small_disk):
    """What was finished is kept, nothing red is made of it, and with space it goes on."""
    spec, log = write_spec(tmp_path / "spec", variants=4), tmp_path / "starts"
    store = new_store(small_disk("360k") / "store", shared)
    words = ["run", spec, "--store", store, "--format", "csv"]
    ran = matrix(*words, IREE_MATRIX_START_LOG=str(log))
    refused(ran, 7, "no space left", str(store))
    wait_until_gone(store)
    small_disk("160m")
    kept = rows(store)
    ours = ask(store, "SELECT key FROM results WHERE outcome = 'infrastructure'")
    lines = len(started(log))
    again = good(*words, IREE_MATRIX_START_LOG=str(log))
    assert not set(started(log)[lines:]) & (kept.keys() - set(ours))
    assert len(rows(store)) == 4 * 12
    other = new_store(tmp_path / "roomy", shared)
    assert good("run", spec, "--store", other, "--format", "csv").out == again.out
    print(f"\n{len(kept)} of {4 * 12} jobs were done when the disk was full")


# -- Ctrl-C before anything has started


def test_ctrl_c_before_anything_started(tmp_path):
    """The spec is a pipe that nobody writes to: the program waits for it."""
    os.mkfifo(tmp_path / "spec.toml")
    process = begin("run", tmp_path / "spec.toml", "--store", tmp_path / "store")
    wait_for(lambda: waits_for_a_pipe(process.pid))
    begun = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    refused(end(process), 130, "interrupted")
    assert time.monotonic() - begun < 2
    assert not (tmp_path / "store").exists()


def waits_for_a_pipe(pid: int) -> bool:
    place = Path(f"/proc/{pid}/wchan").read_text()
    return "wait_for_partner" in place or "fifo" in place


def test_the_shared_environments_are_whole(shared):
    assert len(standing(shared)) == 6
