"""Nightly builds as values of the axes: real releases' wheels under other versions, in a folder, on a page, in an
index."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from pathlib import Path

import pytest
from command_line import DATA, ROOT, Ran, good, matrix
from local_wheels import local_index, repacked

from matrix.environments.index import configured_index
from matrix.environments.wheels import FetchedFiles, fetch_wheels
from matrix.plan.locks import pinned_packages, read_lock

pytestmark = pytest.mark.real

NIGHTLY = "3.14.0rc20261120"
LINEAR = (
    *("--model", DATA / "linear.mlir"),
    *("--inputs", DATA / "linear_input.npy"),
    *("--expected", DATA / "linear_expected.npy"),
)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """(kind, release) -> the wheel of a real release for Python 3.11."""
    files = FetchedFiles(tmp_path_factory.mktemp("released"))
    found = {}
    for kind, release in (("compiler", "3.13.0"), ("runtime", "3.13.0"), ("runtime", "3.11.0")):
        lock = read_lock(ROOT / "images" / "locks" / kind / f"{release}.txt", f"{kind}/{release}")
        own = [each for each in pinned_packages(lock, python="3.11", machine="x86_64") if each.name == lock.pins[0][0]]
        (wheel,) = fetch_wheels(
            own, python="3.11", machine="x86_64", glibc="2.36", index=configured_index(), files=files
        )
        path = files.find(wheel.sha256)
        assert path is not None
        found[kind, release] = path
    return found


@pytest.fixture(scope="module")
def wheels(released: dict[tuple[str, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a nightly build of compiler and runtime."""
    folder = tmp_path_factory.mktemp("wheels")
    for kind in ("compiler", "runtime"):
        repacked(released[kind, "3.13.0"], folder, NIGHTLY)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nightlies") / "store"


def run(store: Path, *words: object, runtime: str = NIGHTLY) -> Ran:
    axes = ("--compiler", NIGHTLY, "--runtime", runtime)
    return good("run", *LINEAR, *axes, *words, "--store", store, "--format", "json")


def test_a_nightly_build_from_a_folder(wheels, store):
    ran = run(store, "--find-links", wheels)
    (cell,) = json.loads(ran.out)["cells"]
    assert (cell["outcome"], ran.jobs_run) == ("passed", 2)
    assert (cell["axes"]["compiler"], cell["axes"]["runtime"]) == (NIGHTLY, NIGHTLY)
    locks = {path.read_text().partition("\n")[0]: path.read_text() for path in (store / "locks" / "own").iterdir()}
    assert set(locks) == {f"# pins: iree-base-{kind}=={NIGHTLY}" for kind in ("compiler", "runtime")}
    assert all("--hash=sha256:" in text for text in locks.values())
    assert run(store, "--find-links", wheels).jobs_run == 0


def test_its_evidence_and_the_table(wheels, store):
    run(store, "--find-links", wheels)
    words = (*LINEAR, "--find-links", wheels, "--store", store)
    why = good("why", *words, f"compiler={NIGHTLY}", f"runtime={NIGHTLY}")
    assert f"lock         compiler/{NIGHTLY} sha256" in why.out
    assert f"--find-links {wheels}" in why.out
    table = good("show", *words, "--compiler", NIGHTLY, "--runtime", "3.13.0", "--runtime", NIGHTLY)
    assert f"3.13    {NIGHTLY}" in table.out


@pytest.mark.full
def test_other_places_with_the_same_wheels_run_nothing_again(wheels, store, tmp_path):
    run(store, "--find-links", wheels)
    index = local_index(tmp_path / "index", wheels.glob("*.whl"))
    assert run(store, "--index", index).jobs_run == 0
    with served(wheels) as address:
        assert run(store, "--find-links", address).jobs_run == 0


def test_a_changed_folder_is_another_environment(wheels, released, store, tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    for path in wheels.glob("*.whl"):
        (folder / path.name).hardlink_to(path)
    assert run(store, "--find-links", folder).jobs_run == 0
    next(folder.glob("iree_base_runtime*")).unlink()
    repacked(released["runtime", "3.11.0"], folder, NIGHTLY)
    ran = run(store, "--find-links", folder)
    (cell,) = json.loads(ran.out)["cells"]
    assert (cell["outcome"], cell["stage"], ran.jobs_run) == ("failed", "run", 1)


def test_a_spec_with_a_folder_of_its_own(wheels, store, tmp_path):
    spec = tmp_path / "mine.toml"
    spec.write_text(
        f'format = 1\nname = "mine"\nquestion = "?"\nfind_links = "{wheels}"\n[axes]\nmodel = "held"\n'
        f'compiler = "{NIGHTLY}"\nruntime = ["3.13.0", "{NIGHTLY}"]\n'
        f'[models.held]\nmlir = "{DATA}/linear.mlir"\ninputs = "{DATA}/linear_input.npy"\n'
        f'expected = "{DATA}/linear_expected.npy"\n'
    )
    ran = good("run", spec, "--store", store, "--format", "json")
    assert [cell["outcome"] for cell in json.loads(ran.out)["cells"]] == ["passed", "passed"]


def test_latest_is_a_release_all_the_same(wheels, store):
    axes = ("--compiler", "latest", "--runtime", "latest")
    ran = good("run", *LINEAR, *axes, "--find-links", wheels, "--store", store, "--format", "json")
    assert [cell["axes"]["compiler"] for cell in json.loads(ran.out)["cells"]] == ["3.13.0"]


def test_advice_takes_a_release_and_pins_a_nightly_build_that_is_named(wheels, store, tmp_path):
    axes = ("--compiler", "3.13.0", "--compiler", NIGHTLY, "--runtime", NIGHTLY, "--runtime", "3.13.0")
    run = ("run", *LINEAR, *axes, "--find-links", wheels, "--store", store)
    good(*run, "--format", "json", "--output", tmp_path / "n.json")
    asked = ("advise", "--model", "linear", "--results", tmp_path / "n.json", "--store", store)
    assert good(*asked).out.split("\n")[0].split() == ["pin", "runtime", "3.13.0,", "compiler", "3.13.0"]
    named = good(*asked, "--compiler", NIGHTLY, "--runtime", NIGHTLY, "-o", tmp_path / "pins.txt")
    assert NIGHTLY in named.out
    written = "".join(path.read_text() for path in tmp_path.glob("pins*.txt"))
    assert f"iree-base-runtime=={NIGHTLY} " in written and "--hash=sha256:" in written
    elsewhere = matrix(*asked[:-1], tmp_path / "other", "--compiler", NIGHTLY)
    assert (elsewhere.status, "no lock of this nightly build is here" in elsewhere.err) == (2, True), elsewhere.err


def test_an_index_that_does_not_answer(store):
    with served(DATA) as address:
        pass
    ran = matrix("run", *LINEAR, "--compiler", NIGHTLY, "--index", f"{address}/simple", "--store", store)
    assert (ran.status, ran.out) == (5, "")
    assert f"ERROR --index {address}/simple does not answer: " in ran.err
    assert "Connection refused" in ran.err


def test_an_index_without_such_packages(store):
    with served(DATA) as address:
        ran = matrix("run", *LINEAR, "--compiler", NIGHTLY, "--index", f"{address}/simple", "--store", store)
    assert ran.status == 2
    assert f"ERROR --index {address}/simple: no wheel of iree-base-compiler or iree-base-runtime for Python" in ran.err


def test_bisect_goes_from_releases_to_the_nightly_builds_between_two(released, store, tmp_path):
    for number, release in (("1", "3.11.0"), ("2", "3.13.0"), ("3", "3.13.0")):
        repacked(released["runtime", release], tmp_path, f"3.12.0rc2026100{number}")
    words = (
        *LINEAR,
        "--axis",
        "runtime",
        "--compiler",
        "3.11.0",
        "--good",
        "3.11.0",
        "--bad",
        "3.13.0",
        "--find-links",
        tmp_path,
        "--store",
        store,
    )
    ran = good("bisect", *words)
    assert ran.out.startswith("runtime 3.12.0rc20261002 is the first that fails")
    assert "3.12.0rc20261001: passed" in ran.out
    measured = [line for line in ran.err.splitlines() if "cells, at most" in line]
    assert len(measured) < 8, ran.err


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class served:
    """A server of a folder's files on this machine; its address."""

    def __init__(self, folder: Path) -> None:
        handler = functools.partial(Quiet, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
