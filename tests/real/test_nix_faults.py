"""What goes wrong with Nix, as a person meets it on the command line: one clear message, a next step, nothing lost.

Commands see a Nix store of their own, in a mount of `/nix` that nobody else sees: an empty one, a full one, one that
cannot be written. Needs root; a skip is not a pass.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from command_line import DATA, ROOT, begin, end, good, matrix, wait_for
from nix_here import own_nix

from matrix.core.errors import DiskFull, EngineMissing, HashMismatch, ImageFault, MatrixError, StoreUnusable
from matrix.engines.nix.store import settings
from matrix.site.one_page import one_file

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("nix")]

FIELD = (
    *("run", "field", "--engine", "nix", "--runtime", "3.13.0", "--model", DATA / "vmfb" / "plain-3.13.0.vmfb"),
    *("--inputs", DATA / "linear_input.npy", "--expected", DATA / "linear_expected.npy"),
)
ONE = ("image", "build", "--engine", "nix", "--environment", "runtime/3.13.0")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of ours with all files that a runtime needs, and beside it the Nix store in which it was built."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "nix").mkdir()
    good(*ONE, "--store", folder / "store", before=own_nix("--bind", folder / "nix"), timeout=600)
    return folder / "store"


def refused(ran, error: type[MatrixError], *words: str) -> None:
    assert ran.status == error.exit_code, ran.err
    for word in words:
        assert word in ran.err, ran.err
    assert "TIP" in ran.err


@pytest.mark.parametrize(
    ("surroundings", "message"),
    [
        ({"PATH": "/nonexistent"}, "no nix-build is on the PATH"),
        (
            {"NIX_REMOTE": "daemon", "NIX_DAEMON_SOCKET_PATH": "/nonexistent/socket"},
            "the Nix daemon does not answer",
        ),
    ],
    ids=["no Nix", "no daemon"],
)
@pytest.mark.parametrize("verb", [("run", "quick", "--engine", "nix"), ONE], ids=["run", "image build"])
def test_a_nix_that_does_not_answer_is_said_at_once(tmp_path, surroundings, message, verb):
    refused(matrix(*verb, "--store", tmp_path / "store", **surroundings), EngineMissing, message)


def test_a_store_that_cannot_be_written_is_said(store):
    before = own_nix("--bind", "/nix", "/nix && mount -o remount,bind,ro")
    refused(matrix(*ONE, "--store", store, before=before), StoreUnusable, "/nix/store cannot be written")


@pytest.mark.parametrize(
    ("size", "step"),
    [("48m", "cannot put iree-matrix-base-"), ("130m", "cannot build programs.runtime-3_13_0")],
    ids=["with the base", "while wheels are unpacked"],
)
def test_a_full_disk_is_said(store, size, step):
    """Nix itself runs out of space, or the builder that it started."""
    before = own_nix("-t", "tmpfs", "-o", f"size={size}", "tmpfs")
    refused(matrix(*ONE, "--store", store, before=before), DiskFull, step, "no space left on the disk of /nix/store")


def test_a_run_that_has_no_room_in_the_nix_store_does_not_begin(store):
    before = own_nix("-t", "tmpfs", "-o", "size=48m", "tmpfs")
    ran = matrix(*FIELD, "--store", store, before=before)
    refused(ran, DiskFull, "the engine nix keeps what it made: 1 are missing", "there is room for 0.0 GB")


def test_a_wheel_with_other_bytes_is_named_with_what_removes_it(store, another_nix, tmp_path):
    """It was fetched rightly, and its bytes changed on the disk."""
    shutil.copytree(store / "files", tmp_path / "store" / "files")
    (wheel,) = (tmp_path / "store" / "files").glob("*/*/iree_base_runtime-3.13.0-*.whl")
    wheel.write_bytes(b"other bytes")
    before = own_nix("--bind", another_nix)
    ran = matrix(*ONE, "--store", tmp_path / "store", before=before)
    refused(ran, HashMismatch, wheel.name, "its bytes changed on this disk", f"remove {wheel.parent}")


def changed_images(folder: Path, name: str, old: str, new: str) -> dict[str, str]:
    """The committed data with another text in one file of images/nix, as a command is told of it."""
    for part in ("images", "scripts"):
        shutil.copytree(ROOT / part, folder / part)
    path = folder / "images" / "nix" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return {"IREE_MATRIX_DATA": str(folder)}


def test_a_build_that_fails_is_shown(store, another_nix, tmp_path):
    data = changed_images(tmp_path / "data", "environments.nix", '"-S"', '"--no-such-option"')
    ran = matrix(*ONE, "--store", store, before=own_nix("--bind", another_nix), **data)
    refused(ran, ImageFault, "cannot build programs.runtime-3_13_0", "unknown option --no-such-option", "nix-build")


def test_an_environment_that_is_not_the_locked_one_is_refused(store, another_nix, tmp_path):
    """Nix compares what it built with the committed digest; here the skeleton has another word in it."""
    data = changed_images(tmp_path / "data", "environments.nix", "inherit python; }", 'python = "3.12"; }')
    ran = matrix(*ONE, "--store", store, before=own_nix("--bind", another_nix), **data)
    refused(ran, ImageFault, "it is not what images/nix says: specified: sha256-")


def test_what_changed_on_the_disk_is_found_and_repaired(store):
    """A root without a daemon can write to the store, and the path stays what it is."""
    before = own_nix("--bind", store.parent / "nix")
    verify = ("image", "verify", "--engine", "nix", "--environment", "runtime/3.13.0", "--store", store)
    (file,) = (store.parent / "nix" / "store").glob("*-runtime-3.13.0-py3.11/opt/env/pyvenv.cfg")
    text = file.read_bytes()
    file.write_bytes(text + b"more = 1\n")
    ran = matrix(*verify, before=before, timeout=600)
    refused(ran, ImageFault, "was modified", "nix-store --repair-path /nix/store/")
    (path,) = set(re.findall(r"nix-store --repair-path (\S+)", ran.err))
    subprocess.run([*before, "nix-store", *settings().options, "--repair-path", path], check=True, capture_output=True)
    assert file.read_bytes() == text


@pytest.mark.parametrize("verb", [pytest.param("build", marks=pytest.mark.full), "verify"])
def test_an_interrupt_ends_nix_too(store, another_nix, tmp_path, verb):
    """As soon as the first wheel is in the store: the rest comes, and the build is begun."""
    shutil.copytree(store / "files", tmp_path / "store" / "files")
    before = own_nix("--bind", another_nix)
    words = ("image", verb, "--engine", "nix", "--environment", "runtime/3.13.0", "--store", tmp_path / "store")
    process = begin(*words, before=before)
    wait_for(lambda: list(another_nix.glob("store/*.whl")), seconds=120)
    process.send_signal(signal.SIGINT)
    ran = end(process, timeout=10)
    assert ran.status == 130, ran.err
    assert not list((tmp_path / "store" / "scratch").iterdir())


COLLECTING = """
mount --bind {nix} /nix
(while test -e {nix}; do nix-collect-garbage >/dev/null 2>&1; sleep 1; done) &
"$@"
status=$?
kill $!
exit $status
"""


@pytest.mark.full
def test_a_collector_that_never_rests_takes_nothing_that_a_run_needs(store, another_nix, tmp_path):
    """It runs again and again beside a run that brings, builds and uses an environment."""
    before = ["unshare", "--mount", "sh", "-c", COLLECTING.format(nix=another_nix), "sh"]
    own_nix("--bind", another_nix)
    ran = good(*FIELD, "--store", store, "--format", "json", "--output", tmp_path / "run.json", before=before)
    run = json.loads((tmp_path / "run.json").read_text())
    (cell,) = run["cells"]
    assert cell["outcome"] == "passed", (cell, ran.err)
    (environment,) = run["environments"].values()
    assert {environment[name] for name in ("nix_programs", "nix_base", "nix_path")} == run["store_paths"].keys()
    assert "1 environment, 3 paths" in one_file([tmp_path / "run.json"])
    assert list((store / "nix-roots").glob("runtime-3.13.0-*"))
    assert not list((store / "scratch").iterdir())
