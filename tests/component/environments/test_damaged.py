"""Environments with torn files: of a power failure, of a disk, of a damaged cache. uv installs tiny wheels."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from local_wheels import local_wheel

from matrix.core.records import EnvironmentRequest
from matrix.engines.venv.engine import VenvEngine
from matrix.environments import folders, installed, interpreters
from matrix.environments.manifest import in_one_line, read_manifest, torn_wheels
from matrix.plan.locks import read_lock

INFO = interpreters.running()
ROOT = Path(__file__).parents[3]
TOOL = "iree/compiler/_mlir_libs/iree-compile"
SITE = f"lib/python{INFO.minor}/site-packages"
SHIPPED = "numpy/distutils/__pycache__/conv_template.cpython-311.pyc"
TEXT = "#!/bin/sh\necho compiled, and a tail that can be lost\n"


@pytest.fixture
def request_(tmp_path, monkeypatch) -> EnvironmentRequest:
    """A lock of two wheels in a folder; uv sees no other index, and a cache of the test's own."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    made = [
        local_wheel(wheels, "iree-base-compiler", "3.8.0", {TOOL: TEXT, "iree/compiler/api.py": "x = 1\n"}),
        local_wheel(
            wheels,
            "numpy",
            "2.0.2",
            {"numpy/__init__.py": "value = 1  # and a tail that can be lost\n", SHIPPED: "as numpy has one\n"},
        ),
    ]
    text = "# pins: iree-base-compiler==3.8.0\n"
    for path in made:
        name, number = path.name.split("-")[:2]
        text += f"{name}=={number} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
    lock = tmp_path / "compiler" / "3.8.0.txt"
    lock.parent.mkdir()
    lock.write_text(text)
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return EnvironmentRequest(kind="compiler", python=INFO.minor, lock=read_lock(lock, "compiler/3.8.0"))


@pytest.fixture
def engine(tmp_path):
    made: list[VenvEngine] = []

    def new() -> VenvEngine:
        """As another run would make it."""
        (tmp_path / "scratch").mkdir(exist_ok=True)
        made.append(
            VenvEngine(
                folder=tmp_path / "store" / "environments",
                scratch=tmp_path / "scratch",
                scripts=ROOT / "scripts",
                slots=1,
                on_event=lambda _: None,
                workshop=lambda: pytest.fail("no workshop is needed"),
            )
        )
        return made[-1]

    yield new
    for each in made:
        each.terminate()


def left_by_a_run(engine: VenvEngine, request: EnvironmentRequest):
    """An environment that no process holds."""
    return installed.realise(request, INFO, engine.folder(request))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def tail_zeroed(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:10] + bytes(len(content) - 10))


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def gone(path: Path) -> None:
    path.unlink()


DAMAGE = {"emptied": emptied, "tail zeroed": tail_zeroed, "flipped": flipped, "gone": gone}
QUICK = {"emptied", "gone"}
FILES = {
    "tool": f"{SITE}/{TOOL}",
    "library": f"{SITE}/numpy/__init__.py",
    "record": f"{SITE}/numpy-2.0.2.dist-info/RECORD",
    "python": "bin/activate",
    "description": folders.DESCRIPTION,
}


def test_a_new_environment_is_whole(engine, request_):
    one = engine()
    made = one.realise(request_)
    assert one.damage(request_, every_byte=False) == one.damage(request_, every_byte=True) == ""
    manifest = read_manifest(made.root)
    files = {str(path.relative_to(made.root)) for path in made.root.rglob("*") if not path.is_dir()}
    assert files - {"manifest.json"} == manifest.files.keys() | manifest.links.keys() - {"bin", "lib"} - {
        link for link in manifest.links if (made.root / link).is_dir()
    }
    assert manifest.files[f"{SITE}/{TOOL}"].package == "iree-base-compiler"


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_any_damage_is_seen_and_the_environment_made_again_whole(engine, request_, damage, file):
    """uv links its cache: the damage is there, too, and must not come back with the next environment."""
    made = left_by_a_run(engine(), request_)
    DAMAGE[damage](made.root / file)
    later = engine()
    found = later.load(request_)
    if found is not None:
        quick = later.damage(request_, every_byte=False)
        assert bool(quick) == (damage in QUICK)
        assert later.damage(request_, every_byte=True).startswith(f"damaged on this disk: {file}: ")
        later.discard(request_)
        assert later.load(request_) is None
    assert later.realise(request_).digest == made.digest
    assert later.damage(request_, every_byte=True) == ""
    assert (made.root / FILES["tool"]).read_text() == TEXT


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"format": 1, "files": []}'])
def test_an_environment_that_does_not_say_what_it_holds_is_made_again(engine, request_, content):
    """One of an earlier version of this project, or a torn manifest."""
    made = left_by_a_run(engine(), request_)
    (made.root / "manifest.json").unlink()
    if content is not None:
        (made.root / "manifest.json").write_bytes(content)
    later = engine()
    assert later.load(request_)
    assert "does not say what it holds" in later.damage(request_, every_byte=False)
    later.discard(request_)
    assert later.realise(request_).digest == made.digest
    assert later.damage(request_, every_byte=True) == ""


@pytest.mark.parametrize("damage", ["emptied", "gone"])
@pytest.mark.parametrize("name", [TOOL, "numpy-2.0.2.dist-info/RECORD", "numpy-2.0.2.dist-info/METADATA"])
def test_a_torn_wheel_in_the_cache_makes_no_torn_environment(engine, request_, tmp_path, damage, name):
    whole = left_by_a_run(engine(), request_)
    (cached,) = (tmp_path / "cache").glob(f"archive-v*/*/{name}")
    DAMAGE[damage](cached)
    other = tmp_path / "store" / "another"
    made = installed.realise(request_, INFO, other)
    assert made.digest == whole.digest
    assert torn_wheels(other) == {}
    assert in_one_line(read_manifest(other).differences(other, every_byte=True)) == ""


@pytest.mark.parametrize("name", ["numpy-2.0.2.dist-info/RECORD", "iree_base_compiler-3.8.0.dist-info/RECORD"])
def test_a_list_of_files_that_uv_cannot_read_in_the_cache_is_fetched_again(
    engine, request_, tmp_path, name, monkeypatch
):
    """It has linked that list into the environment before it reads it, and cannot take the package away again. In a
    narrow terminal it would wrap the message that says so."""
    monkeypatch.setenv("COLUMNS", "40")
    whole = left_by_a_run(engine(), request_)
    (cached,) = (tmp_path / "cache").glob(f"archive-v*/*/{name}")
    content = cached.read_bytes()
    middle = content.index(b"\n") - 1  # the size of the first file
    cached.write_bytes(content[:middle] + bytes(len(content) - middle))
    other = tmp_path / "store" / "another"
    assert installed.realise(request_, INFO, other).digest == whole.digest
    assert in_one_line(read_manifest(other).differences(other, every_byte=True)) == ""


def test_an_environment_that_another_process_made_again_is_not_what_was_used(engine, request_):
    """Its whole files say nothing about those that a job had."""
    one, other = engine(), engine()
    made = one.realise(request_)
    assert one.damage(request_, every_byte=False) == ""
    emptied(made.root / FILES["tool"])
    assert other.load(request_) and other.damage(request_, every_byte=False)
    other.discard(request_)
    assert one.damage(request_, every_byte=True) == "taken away while it was used"
    one.discard(request_)
    other.realise(request_)
    one.load(request_)
    assert one.damage(request_, every_byte=True) == ""


def test_byte_code_of_an_earlier_run_is_not_trusted(engine, request_):
    made = left_by_a_run(engine(), request_)
    written = made.root / SITE / "numpy" / "__pycache__" / "x.pyc"
    written.parent.mkdir()
    written.write_bytes(b"torn")
    os.utime(written, (1, 1))
    later = engine()
    assert later.load(request_) and later.damage(request_, every_byte=False) == ""
    assert "byte code is of an earlier run" in later.damage(request_, every_byte=True)
    later.discard(request_)
    assert not written.exists()
    assert later.load(request_).digest == made.digest
    assert later.damage(request_, every_byte=True) == ""


def test_byte_code_that_came_in_a_wheel_has_a_digest(engine, request_):
    """numpy's wheels have one such file. Taken away, the environment counts as damaged, and what it made as suspect."""
    made = left_by_a_run(engine(), request_)
    assert f"{SITE}/{SHIPPED}" in read_manifest(made.root).files
    os.utime(made.root / SITE / SHIPPED, (1, 1))
    later = engine()
    assert later.load(request_) and later.damage(request_, every_byte=True) == ""


def test_all_that_was_written_is_on_the_disk_before_the_rename(tmp_path, request_):
    """`syncfs` first, then the rename that gives the name."""
    code = (
        "import sys; from pathlib import Path\n"
        "from matrix.core import disk\nfrom matrix.environments import folders, installed, interpreters\n"
        "from matrix.plan.locks import read_lock\nfrom matrix.core.records import EnvironmentRequest\n"
        "order = []\nsync = folders.sync_disk\n"
        "folders.sync_disk = lambda folder: (order.append(Path(sys.argv[2]).exists()), sync(folder))\n"
        "lock = read_lock(Path(sys.argv[1]), 'compiler/3.8.0')\n"
        "request = EnvironmentRequest(kind='compiler', python=interpreters.running().minor, lock=lock)\n"
        "installed.realise(request, interpreters.running(), Path(sys.argv[2]))\nprint(order)\n"
    )
    argv = [sys.executable, "-c", code, str(request_.lock.path), str(tmp_path / "store" / "one")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.stdout == "[False]\n"


def test_what_was_taken_away_before_this_run_or_by_it_is_not_damaged(engine, request_):
    """`clean --environments`, or a budget, before a red cell asks about the compiler of its module."""
    later = engine()
    assert later.damage(request_, every_byte=True) == ""
    later.realise(request_)
    assert later.damage(request_, every_byte=False) == ""
    assert later.remove(request_)
    assert later.damage(request_, every_byte=True) == ""
