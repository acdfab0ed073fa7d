"""The shipped locks, the package index and uv as they really are. Needs the index; the last one needs root."""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from matrix.core.errors import (
    DiskFull,
    EngineMissing,
    HashMismatch,
    IndexUnreachable,
    NotInstallable,
    ResolutionRefused,
)
from matrix.core.records import EnvironmentRequest, Lock
from matrix.environments import folders, installed, interpreters
from matrix.environments.index import PackageIndex, configured_index
from matrix.environments.interpreters import PythonInfo
from matrix.plan.locks import load_locks, read_lock, release_dates

pytestmark = pytest.mark.real

SHIPPED = Path(__file__).parents[2] / "images" / "locks"
RELEASE = "3.8.0"


@pytest.fixture(scope="module")
def index() -> PackageIndex:
    return configured_index()


def lock_of(kind: str, version: str) -> Lock:
    found = load_locks(SHIPPED).find(kind, {f"iree-base-{kind}": version})
    assert found is not None
    return found


def request_for(lock: Lock, info: PythonInfo) -> EnvironmentRequest:
    return EnvironmentRequest(kind=lock.name.partition("/")[0], python=info.minor, lock=lock)


def python_that_fits() -> PythonInfo:
    for python in ("3.11", "3.12", "3.10", "3.13"):
        try:
            return interpreters.find(python, offline=True)
        except EngineMissing:
            continue
    pytest.fail("no Python from 3.10 to 3.13 on this machine")


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def unreachable(tmp_path: Path) -> PackageIndex:
    """An index at a port where nobody listens, and a cache that holds nothing."""
    environ = {**os.environ, "UV_DEFAULT_INDEX": f"http://127.0.0.1:{closed_port()}/simple"}
    environ |= {"UV_CACHE_DIR": str(tmp_path / "cache"), "UV_HTTP_RETRIES": "0", "PIP_RETRIES": "1"}
    environ = {name: value for name, value in environ.items() if name not in ("PIP_FIND_LINKS", "UV_FIND_LINKS")}
    return configured_index({**environ, "PIP_CONFIG_FILE": os.devnull})


def test_a_compiler_is_installed_and_compiles(tmp_path, index):
    info = python_that_fits()
    made = installed.realise(request_for(lock_of("compiler", RELEASE), info), info, tmp_path / "c", index=index)
    assert ("iree-base-compiler", RELEASE) in made.distributions
    module = "func.func @f(%a: tensor<4xf32>) -> tensor<4xf32> {\n %0 = arith.addf %a, %a : tensor<4xf32>\n"
    module += "return %0 : tensor<4xf32>\n}\n"
    argv = [made.root / made.tools["iree-compile"], "-", "-o", tmp_path / "f.vmfb"]
    argv += ["--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=x86-64-v3"]
    subprocess.run(argv, input=module, text=True, check=True, capture_output=True, timeout=120)
    assert (tmp_path / "f.vmfb").stat().st_size > 1000
    assert folders.load(made.root) == made


def test_the_index_says_when_a_release_was_uploaded_and_as_committed(index):
    committed = release_dates(SHIPPED)
    assert index.uploaded(f"iree-base-compiler=={RELEASE}") == datetime.date(2025, 10, 14)
    for package, version in (("iree-compiler", "20230209.425"), ("torch", "2.15.0"), ("iree-turbine", "2.3.1")):
        assert index.uploaded(f"{package}=={version}") == committed[package][version]
    assert index.uploaded("iree-base-compiler==0.0.1") is None


def test_the_same_runtime_has_the_same_digest_in_two_folders(tmp_path, index):
    info = python_that_fits()
    request = request_for(lock_of("runtime", RELEASE), info)
    copying = dataclasses.replace(index, environment={**index.environment, "UV_LINK_MODE": "copy"})
    one = installed.realise(request, info, tmp_path / "one", index=index)
    two = installed.realise(request, info, tmp_path / "somewhere" / "else", index=copying)
    assert one.digest == two.digest
    argv = [two.root / two.tools["iree-run-module"], "--list_drivers"]
    assert "local-sync" in subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_a_wrong_hash_names_the_wheel(tmp_path, index):
    info = python_that_fits()
    right = lock_of("runtime", RELEASE)
    head, _, numpy = right.path.read_text().partition("\nnumpy==")
    path = tmp_path / "runtime" / f"{RELEASE}.txt"
    path.parent.mkdir()
    path.write_text(head + "\nnumpy==" + re.sub(r"sha256:\w{8}", "sha256:00000000", numpy))
    wrong = read_lock(path, right.name)
    said = rf"numpy==\S+ is not the one that runtime/{re.escape(RELEASE)}\.txt"
    with pytest.raises(HashMismatch, match=said) as error:
        installed.realise(request_for(wrong, info), info, tmp_path / "store" / "r", index=index)
    assert "nox -s lock" in error.value.tip
    assert folders.load(tmp_path / "store" / "r") is None


def test_an_index_that_does_not_answer(tmp_path):
    info = python_that_fits()
    dead = unreachable(tmp_path)
    with pytest.raises(IndexUnreachable, match="does not answer") as error:
        installed.realise(request_for(lock_of("runtime", RELEASE), info), info, tmp_path / "r", index=dead)
    assert "UV_DEFAULT_INDEX" in error.value.tip
    with pytest.raises(IndexUnreachable):
        dead.resolve([f"iree-base-runtime=={RELEASE}"], lowest_python="3.10")
    with pytest.raises(IndexUnreachable):
        dead.releases("iree-base-runtime", pythons=["3.11"])


def test_offline_with_an_empty_cache_says_so(tmp_path):
    info = python_that_fits()
    environ = {name: value for name, value in os.environ.items() if name not in ("PIP_FIND_LINKS", "UV_FIND_LINKS")}
    off = configured_index({**environ, "UV_CACHE_DIR": str(tmp_path / "cache")}, offline=True)
    with pytest.raises(IndexUnreachable, match="the network is off"):
        installed.realise(request_for(lock_of("runtime", RELEASE), info), info, tmp_path / "r", index=off)


def test_a_python_without_wheels_is_a_finding(tmp_path, index):
    """3.13.0 has wheels for 3.10 to 3.14, 2.9.0 for 3.9 to 3.13: an older or newer Python than those has none."""
    for python, version in (("3.8", "2.9.0"), ("3.9", "3.13.0"), ("3.14", "2.9.0")):
        try:
            info = interpreters.find(python, offline=True)
        except EngineMissing:
            continue
        with pytest.raises(NotInstallable) as refused:
            lock = lock_of("compiler", version)
            installed.realise(request_for(lock, info), info, tmp_path / "c", index=index)
        assert f"iree-base-compiler=={version}" in refused.value.reason
        assert "\n" not in refused.value.reason
        return
    pytest.skip("needs Python 3.8, 3.9 or 3.14 on this machine")


def test_a_version_that_does_not_exist_is_refused(index):
    with pytest.raises(ResolutionRefused, match=r"there is no version of iree-base-compiler==0\.0\.1"):
        index.resolve(["iree-base-compiler==0.0.1"], lowest_python="3.10")


def test_the_index_knows_the_releases(index):
    found = index.releases("iree-base-compiler", pythons=["3.9", "3.11", "3.14"])
    assert {"2.9.0", "3.7.1", "3.13.0"} <= set(found)
    assert not [version for version in found if "rc" in version]


def test_a_lock_is_the_same_twice_and_repairs_a_damaged_hash(index):
    shipped = lock_of("runtime", RELEASE).path.read_text()
    damaged = re.sub(r"sha256:\w{8}", "sha256:00000000", shipped)
    once = index.resolve([f"iree-base-runtime=={RELEASE}"], lowest_python="3.9", previous=shipped)
    again = index.resolve([f"iree-base-runtime=={RELEASE}"], lowest_python="3.9", previous=damaged)
    assert once == again
    assert shipped.partition("\n")[2] == once


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 24 MB. Mounting needs root: without it this is skipped, and the skip is not a pass."""
    disk = tmp_path / "disk"
    disk.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    mounted = subprocess.run(argv, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"NOT TESTED: a full disk needs the right to mount: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_told_and_leaves_nothing(index, small_disk):
    info = python_that_fits()
    folder = small_disk / "store" / "r"
    with pytest.raises(DiskFull, match=rf"runtime/{re.escape(RELEASE)}.*no space left") as error:
        installed.realise(request_for(lock_of("runtime", RELEASE), info), info, folder, index=index)
    assert error.value.tip
    assert [path.name for path in folder.parent.iterdir()] == ["r.lock"]
