"""Environments made of tiny wheels, which the tests build themselves and uv installs without a network."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from local_wheels import local_index, local_wheel

from matrix.core import processes
from matrix.core.disk import claimed
from matrix.core.errors import (
    HashMismatch,
    IndexUnreachable,
    MatrixError,
    NotInstallable,
    ProgramKilled,
    StoreUnusable,
    WheelLacking,
)
from matrix.core.records import Environment, EnvironmentRequest
from matrix.environments import folders, installed, interpreters
from matrix.environments.index import PackageIndex
from matrix.environments.interpreters import PythonInfo
from matrix.plan.locks import read_lock

INFO = interpreters.running()
COMPILE = "iree/compiler/_mlir_libs/iree-compile"
ROOT = Path(__file__).parents[3]


def request_for(folder: Path, *wheels: Path, digest: str = "", version: str = "3.8.0") -> EnvironmentRequest:
    """A compiler's lock over these wheels; `digest` replaces the true hashes."""
    text = f"# pins: iree-base-compiler=={version}\n"
    for path in wheels:
        name, number = path.name.split("-")[:2]
        text += f"{name}=={number} \\\n    --hash=sha256:{digest or hashlib.sha256(path.read_bytes()).hexdigest()}\n"
    lock = folder / "compiler" / f"{version}.txt"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text(text)
    return EnvironmentRequest(kind="compiler", python=INFO.minor, lock=read_lock(lock, f"compiler/{version}"))


@pytest.fixture
def index(tmp_path) -> PackageIndex:
    """No registry, only the folder `wheels`, and a cache of the test's own."""
    (tmp_path / "wheels").mkdir()
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "UV_FIND_LINKS": str(tmp_path / "wheels")}
    return PackageIndex(environment={**variables, "UV_CACHE_DIR": str(tmp_path / "cache")}, options=("--no-index",))


@pytest.fixture
def compiler(tmp_path, index) -> EnvironmentRequest:
    files = {COMPILE: "#!/bin/sh\necho compiled\n", "iree/compiler/_mlir_libs/mlir.so": "x", "iree/compiler/api.py": ""}
    scripts = "iree-compile = iree.compiler.api:main\niree-build = iree.compiler.api:main"
    made = local_wheel(tmp_path / "wheels", "iree-base-compiler", "3.8.0", files, scripts=scripts)
    other = local_wheel(tmp_path / "wheels", "numpy", "2.0.2", {"numpy/__init__.py": "value = 1\n"})
    return request_for(tmp_path, made, other)


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.parent.iterdir() if ".partial-" in path.name]


def test_an_environment_is_what_the_lock_says(tmp_path, index, compiler):
    made = installed.realise(compiler, INFO, tmp_path / "store" / "one", index=index)
    assert made.distributions == (("iree-base-compiler", "3.8.0"), ("numpy", "2.0.2"))
    assert made.request_label == f"compiler/3.8.0 on Python {INFO.minor}"
    assert (made.python_version, made.c_library, made.engine) == (INFO.version, INFO.c_library, "venv")
    site = f"lib/python{INFO.minor}/site-packages"
    assert dict(made.tools) == {"iree-compile": f"{site}/{COMPILE}", "iree-build": "bin/iree-build"}
    tool = made.root / made.tools["iree-compile"]
    assert subprocess.run([tool], capture_output=True, text=True, check=True).stdout == "compiled\n"
    code = "import numpy, sys; print(numpy.value, sys.prefix)"
    seen = subprocess.run(
        [made.root / "bin" / "python", "-B", "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert seen == f"1 {made.root}\n"
    assert leftovers(made.root) == []
    assert not list(made.root.joinpath(site).rglob("*.pyc"))


def test_a_script_runs_in_the_renamed_folder(tmp_path, index):
    path = local_wheel(
        tmp_path / "wheels", "tool", "1.0", {"tool.py": "def main(): print('ran')\n"}, scripts="tool = tool:main"
    )
    made = installed.realise(request_for(tmp_path, path), INFO, tmp_path / "store" / "one", index=index)
    done = subprocess.run([made.root / made.tools["tool"]], capture_output=True, text=True, check=True)
    assert done.stdout == "ran\n"


def test_the_digest_is_of_the_content_and_not_of_the_folder(tmp_path, index, compiler):
    one = installed.realise(compiler, INFO, tmp_path / "store" / "one", index=index)
    elsewhere = dataclasses.replace(
        index, environment={**index.environment, "UV_LINK_MODE": "copy", "UV_CACHE_DIR": str(tmp_path / "cache2")}
    )
    two = installed.realise(compiler, INFO, tmp_path / "another" / "deeper" / "two", index=elsewhere)
    assert one.digest == two.digest
    assert one.root != two.root


def test_using_an_environment_does_not_change_what_it_is(tmp_path, index, compiler):
    made = installed.realise(compiler, INFO, tmp_path / "store" / "one", index=index)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([made.root / "bin" / "python", "-c", "import numpy"], check=True, env=env)
    assert list(made.root.rglob("numpy/__pycache__/*.pyc"))
    assert installed.inspect(compiler, INFO, made.root).digest == made.digest


def test_another_wheel_of_the_same_version_is_another_environment(tmp_path, index, compiler):
    one = installed.realise(compiler, INFO, tmp_path / "store" / "one", index=index)
    made = local_wheel(tmp_path / "wheels", "numpy", "2.0.2", {"numpy/__init__.py": "value = 2\n"})
    old = tmp_path / "wheels" / "iree_base_compiler-3.8.0-py3-none-any.whl"
    fresh = dataclasses.replace(index, environment={**index.environment, "UV_CACHE_DIR": str(tmp_path / "cache2")})
    two = installed.realise(request_for(tmp_path, old, made), INFO, tmp_path / "store" / "two", index=fresh)
    assert one.digest != two.digest
    assert one.distributions == two.distributions


@pytest.mark.parametrize(
    ("field", "value"),
    [("version", "3.11.99"), ("implementation", "pypy"), ("c_library", "glibc 2.17"), ("machine", "aarch64")],
)
def test_digest_and_recipe_hold_the_platform_and_not_the_path(compiler, field, value):
    other = dataclasses.replace(INFO, **{field: value})
    files = [("a.py", "sha256=x")]
    assert installed.realised_digest(INFO, files) != installed.realised_digest(other, files)
    assert installed.request_digest(compiler, INFO) != installed.request_digest(compiler, other)


def test_neither_digest_nor_recipe_hold_a_path(compiler):
    moved = dataclasses.replace(INFO, path=Path("/elsewhere/python3"))
    assert installed.request_digest(compiler, INFO) == installed.request_digest(compiler, moved)
    assert installed.realised_digest(INFO, []) == installed.realised_digest(moved, [])


def test_the_recipe_holds_engine_and_lock(compiler):
    other = dataclasses.replace(compiler, lock=dataclasses.replace(compiler.lock, digest="0" * 64))
    recipes = {
        installed.request_digest(compiler, INFO),
        installed.request_digest(compiler, INFO, engine="docker"),
        installed.request_digest(other, INFO),
    }
    assert len(recipes) == 3


@pytest.mark.parametrize(
    "own",
    [
        ("a-1.dist-info/INSTALLER", "sha256=x"),
        ("a-1.dist-info/REQUESTED", "sha256=x"),
        ("a-1.dist-info/direct_url.json", "sha256=x"),
        ("a-1.dist-info/uv_cache.json", "sha256=x"),
        ("a-1.dist-info/RECORD", ""),
        ("../../../bin/f2py", "sha256=x"),
        ("a/__pycache__/a.cpython-311.pyc", ""),
        ("a/b.pyc", "sha256=x"),
    ],
)
def test_what_an_installer_writes_is_not_in_the_digest(own):
    wheels = [("a/a.py", "sha256=y"), ("a-1.dist-info/METADATA", "sha256=z")]
    assert installed.realised_digest(INFO, [*wheels, own]) == installed.realised_digest(INFO, wheels[::-1])


@pytest.mark.parametrize("kept", ["a/INSTALLER", "a-1.dist-info/entry_points.txt", "../../../share/man/man1/a.1"])
def test_what_a_wheel_brings_is_in_the_digest(kept):
    assert installed.realised_digest(INFO, [(kept, "sha256=x")]) != installed.realised_digest(INFO, [])


def test_the_wheels_own_binary_comes_before_tracys_and_the_script(tmp_path, index):
    files = {
        "iree/_runtime_libs_tracy/iree-run-module": "tracy",
        "iree/_runtime_libs_tracy/iree-tracy-capture": "tracy",
        "iree/_runtime_libs/iree-run-module": "plain",
        "iree/_runtime_libs/iree-dump-module": "plain",
        "iree/_runtime_libs/_runtime.so": "library",
        "torch/bin/protoc": "not ours",
    }
    path = local_wheel(tmp_path / "wheels", "iree-base-runtime", "3.8.0", files, scripts="iree-run-module = a:b")
    made = installed.realise(request_for(tmp_path, path), INFO, tmp_path / "store" / "one", index=index)
    assert sorted(made.tools) == ["iree-dump-module", "iree-run-module", "iree-tracy-capture"]
    assert made.tools["iree-run-module"].endswith("iree/_runtime_libs/iree-run-module")


def test_loading_gives_back_the_same_and_is_quick(tmp_path, index, compiler):
    made = installed.realise(compiler, INFO, tmp_path / "store" / "one", index=index)
    assert folders.load(made.root) == made
    begun = time.perf_counter()
    for _ in range(100):
        folders.load(made.root)
    assert (time.perf_counter() - begun) / 100 < 0.001


def test_the_unpacked_size_of_what_the_lock_pins_is_told(tmp_path, index, compiler):
    made = installed.realise(compiler, INFO, tmp_path / "store" / "one", index=index)
    site = next(made.root.glob("lib/python*/site-packages"))
    files = [path for path in site.rglob("*") if path.is_file() and path.relative_to(site).parts[0].startswith("iree")]
    of_the_wheel = [path for path in files if path.name not in installed.INSTALLER_FILES]
    assert made.package_bytes == {"iree-base-compiler": sum(path.stat().st_size for path in of_the_wheel)}
    assert installed.realise(compiler, INFO, made.root, index=index).package_bytes == made.package_bytes


def test_a_standing_environment_is_not_built_again(tmp_path, index, compiler):
    made = installed.realise(compiler, INFO, tmp_path / "store" / "one", index=index)
    broken = PackageIndex(environment={}, options=("--no-such-option",))
    assert installed.realise(compiler, INFO, made.root, index=broken) == made


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}', '{"format": 1}', '{"format": 2}'])
def test_a_damaged_environment_is_replaced(tmp_path, index, compiler, content):
    made = installed.realise(compiler, INFO, tmp_path / "store" / "one", index=index)
    (made.root / "environment.json").write_text(content)
    assert folders.load(made.root) is None
    assert installed.realise(compiler, INFO, made.root, index=index) == made
    assert leftovers(made.root) == []


def test_no_flipped_bit_of_a_description_is_believed(tmp_path, index, compiler):
    """One in the path of a tool would be a tool that is not there, one in the digest other keys for every job."""
    made = installed.realise(compiler, INFO, tmp_path / "store" / "one", index=index)
    path = made.root / "environment.json"
    whole = path.read_bytes()
    assert len(whole) > 300
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert folders.load(made.root) is None, whole[max(0, place - 20) : place + 20]
    assert installed.realise(compiler, INFO, made.root, index=index) == made


def test_a_wrong_hash_names_the_wheel_and_the_lock(tmp_path, index, compiler):
    path = tmp_path / "wheels" / "numpy-2.0.2-py3-none-any.whl"
    with pytest.raises(HashMismatch) as error:
        installed.realise(request_for(tmp_path, path, digest="0" * 64), INFO, tmp_path / "store/one", index=index)
    assert "numpy==2.0.2" in str(error.value)
    assert "compiler/3.8.0.txt" in str(error.value)


def test_a_lock_without_a_hash_installs_nothing(tmp_path, index, compiler):
    compiler.lock.path.write_text("# pins: iree-base-compiler==3.8.0\nnumpy==2.0.2\n")
    with pytest.raises(MatrixError):
        installed.realise(compiler, INFO, tmp_path / "store" / "one", index=index)
    assert folders.load(tmp_path / "store" / "one") is None


def test_a_source_distribution_is_never_built(tmp_path, index):
    """Its build backend needs nothing but itself and would leave a trace."""
    trace = tmp_path / "trace"
    backend = '[build-system]\nrequires = []\nbuild-backend = "evil"\nbackend-path = ["."]\n'
    content = {
        "pyproject.toml": backend + '[project]\nname = "evil"\nversion = "1.0"\n',
        "evil.py": f"open({str(trace)!r}, 'w').close()\n",
        "PKG-INFO": "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n",
    }
    source = tmp_path / "wheels" / "evil-1.0.tar.gz"
    with tarfile.open(source, "w:gz") as archive:
        for name, text in content.items():
            member = tarfile.TarInfo(f"evil-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    text = f"# pins: iree-base-compiler==3.8.0\nevil==1.0 --hash=sha256:{digest}\n"
    path = tmp_path / "compiler" / "3.8.0.txt"
    path.parent.mkdir()
    path.write_text(text)
    request = EnvironmentRequest(kind="compiler", python=INFO.minor, lock=read_lock(path, "compiler/3.8.0"))
    with pytest.raises(WheelLacking, match="lacks 1 of the 1 wheels of evil"):
        installed.realise(request, INFO, tmp_path / "store" / "one", index=index)
    assert not trace.exists()


def test_a_store_that_cannot_be_written_is_told(tmp_path, index, compiler):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusable, match="cannot realise compiler/3"):
        installed.realise(compiler, INFO, tmp_path / "file" / "store" / "one", index=index)


def test_threads_that_want_the_same_environment_build_it_once(tmp_path, index, compiler, monkeypatch):
    built: list[Path] = []
    install = PackageIndex.install
    monkeypatch.setattr(PackageIndex, "install", lambda self, *args, **_: built.append(args[0]) or install(self, *args))
    folder = tmp_path / "store" / "one"
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: installed.realise(compiler, INFO, folder, index=index), range(4)))
    assert len(built) == 1
    assert made.count(made[0]) == 4


KILLED = """
import json, sys, time
from pathlib import Path
from matrix.environments import installed, interpreters
from matrix.core.records import EnvironmentRequest, Lock

class Stuck:
    def at(self, places):
        return self
    def venv(self, root, python):
        (root / "half").mkdir()
    def install(self, root, lock):
        print("installing", flush=True)
        time.sleep(60)

lock = Lock(name="compiler/3.8.0", path=Path("x"), digest="0", pins=())
request = EnvironmentRequest(kind="compiler", python="3.11", lock=lock)
installed.realise(request, interpreters.running(), Path(sys.argv[1]), index=Stuck())
"""


def test_kill_9_leaves_a_partial_folder_that_the_next_one_removes(tmp_path, index, compiler):
    folder = tmp_path / "store" / "one"
    argv = [sys.executable, "-c", KILLED, str(folder)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env) as dying:
        assert dying.stdout is not None
        assert dying.stdout.readline() == "installing\n"
        os.kill(dying.pid, signal.SIGKILL)
    assert len(leftovers(folder)) == 1
    assert not folder.exists()
    assert folders.load(folder) is None
    made = installed.realise(compiler, INFO, folder, index=index)
    assert folders.load(folder) == made
    assert leftovers(folder) == []


def test_the_description_names_no_path_of_the_machine(tmp_path, index, compiler):
    made = installed.realise(compiler, INFO, tmp_path / "store" / "one", index=index)
    text = (made.root / "environment.json").read_text()
    assert str(tmp_path) not in text
    assert json.loads(text)["format"] == folders.DESCRIPTION_FORMAT


def test_an_interpreter_that_is_gone_is_told(tmp_path, index, compiler):
    gone = PythonInfo(
        path=tmp_path / "python3.99", version="3.99.0", implementation="cpython", c_library="glibc 2", machine="x86_64"
    )
    with pytest.raises(MatrixError, match="virtual environment"):
        installed.realise(compiler, gone, tmp_path / "store" / "one", index=index)


def test_a_claim_that_passes_in_a_moment_does_not_keep_an_environment(tmp_path, monkeypatch):
    """As of a process between its fork and its exec, which has our files open. One that lasts does."""
    monkeypatch.setattr(folders, "CLAIM_SECONDS", 0.3)
    folder = tmp_path / "env"
    folder.mkdir()
    with folders.in_use(folder):
        begun = time.monotonic()
        assert not folders.remove_environment(folder)
        assert time.monotonic() - begun >= folders.CLAIM_SECONDS
    with ThreadPoolExecutor() as pool:

        def pass_by():
            with folders.in_use(folder):
                time.sleep(0.1)

        passing = pool.submit(pass_by)
        time.sleep(0.03)
        assert folders.remove_environment(folder)
        passing.result()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        (("cp39", "cp310"), NotInstallable),
        (("cp39",), WheelLacking),
        ((), IndexUnreachable),
        (("another",), WheelLacking),
        (None, WheelLacking),
    ],
    ids=["all of them", "one is missing", "no wheel", "another version", "no index at all"],
)
def test_only_an_index_with_all_wheels_of_a_lock_says_that_none_fits(tmp_path, index, offered, expected):
    """A lock names wheels that exist. A mirror that lacks some, or no index, says nothing about a release."""
    wheels = tmp_path / "wheels"
    made = {
        tag: local_wheel(wheels, "iree-base-compiler", "3.8.0", {}, tag=f"{tag}-{tag}-linux_x86_64")
        for tag in ("cp39", "cp310")
    }
    lines = [f"    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in made.values()]
    lock = tmp_path / "compiler" / "3.8.0.txt"
    lock.parent.mkdir()
    hashes = " \\\n".join(lines)
    lock.write_text(f"# pins: iree-base-compiler==3.8.0\niree-base-compiler==3.8.0 \\\n{hashes}\n")
    made["another"] = local_wheel(wheels, "iree-base-compiler", "3.9.0", {})
    variables = {name: value for name, value in index.environment.items() if name != "UV_FIND_LINKS"}
    if offered is not None:
        address = local_index(tmp_path / "simple", [made[tag] for tag in offered])
        index = PackageIndex(environment={**variables, "UV_DEFAULT_INDEX": address})
    else:
        index = dataclasses.replace(index, environment=variables)
    request = EnvironmentRequest(kind="compiler", python=INFO.minor, lock=read_lock(lock, "compiler/3.8.0"))
    folder = tmp_path / "store" / "one"
    with pytest.raises(expected) as error:
        installed.realise(request, INFO, folder, index=index)
    assert [path.name for path in folder.parent.iterdir()] == ["one.lock"]
    if expected is WheelLacking:
        assert "of the 2 wheels of iree-base-compiler 3.8.0 that the lock names" in str(error.value)
        assert "check the network and the configured index" in error.value.tip
    elif expected is NotInstallable:
        assert "iree-base-compiler==3.8.0 has no wheels with a matching Python" in str(error.value)


def test_two_runs_that_wait_for_what_the_other_one_has_built_and_uses_go_on(tmp_path, index, compiler):
    """Each keeps what it has built from being removed until its end, and that may be after the other's."""
    building, other_waits = threading.Barrier(2), threading.Event()

    def build_one(root: Path) -> Environment:
        building.wait(20)
        other_waits.wait(20)
        return Environment(
            request_label="one",
            engine="venv",
            digest="d",
            root=root,
            python_version="3.11",
            c_library="",
            tools={},
            distributions=(),
        )

    def run(mine: Path, other: Path) -> Environment:
        folders.realise_with(compiler, mine, build_one)
        with folders.in_use(mine) as held:
            assert held
            found = [waiting[other].result(20)]
        return found[0]

    one, two = tmp_path / "store" / "one", tmp_path / "store" / "two"
    with ThreadPoolExecutor(max_workers=4) as pool:
        runs = [pool.submit(run, one, two), pool.submit(run, two, one)]
        time.sleep(0.2)  # both build
        waiting = {folder: pool.submit(folders.realise_with, compiler, folder, build_one) for folder in (one, two)}
        time.sleep(0.2)  # and both wait for the other's
        other_waits.set()
        assert [each.result(30).root for each in runs] == [two, one]
    assert leftovers(one) == []


def test_a_wait_for_another_run_ends_when_this_one_stops(tmp_path, compiler):
    folder = tmp_path / "env"
    claim = folder.with_name("env.lock")
    with ThreadPoolExecutor() as pool, claimed(claim):
        waiting = pool.submit(folders.realise_with, compiler, folder, lambda _: pytest.fail("it was built"))
        end = time.monotonic() + 20
        while not waiting.done() and time.monotonic() < end:
            processes.kill_all()
            time.sleep(0.02)
        with pytest.raises(ProgramKilled):
            waiting.result(0)
