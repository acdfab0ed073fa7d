"""Reading the locks: what is found, and that every damaged file is named."""

from __future__ import annotations

import hashlib
import itertools
import time
from pathlib import Path

import pytest

from matrix.core.errors import LockFault
from matrix.core.versions import select
from matrix.plan.locks import load_locks, lock_name, read_wanted, variant_of

SHIPPED = Path(__file__).parents[3] / "images" / "locks"
WANTED = """
format = 1
pythons = ["3.9", "3.11", "3.10"]
[compiler]
package = "iree-base-compiler"
specifier = ">=2.9"
lowest_python = "3.9"
[runtime]
package = "iree-base-runtime"
specifier = ">=2.9"
lowest_python = "3.9"
[[exporter]]
torch = "2.9.1"
turbine = "latest-minors >=2.3"
lowest_python = "3.10"
[beside."2.3.1"]
iree-compiler = "20240621.931"
"""
HASHED = "numpy==2.0.2 \\\n    --hash=sha256:" + "0" * 64 + "\n"


def folder_with(tmp_path: Path, wanted: str = WANTED, **files: str) -> Path:
    """A locks folder. `compiler_3_8_0=...` would not be a file name, so files come as name -> text."""
    (tmp_path / "wanted.toml").write_text(wanted)
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


COMPILERS = {f"compiler/{v}.txt": f"# pins: iree-base-compiler=={v}\n{HASHED}" for v in ("3.9.0", "3.10.0", "3.8.0")}
EXPORTER = "# pins: torch==2.9.1 iree-turbine==3.9.0\n" + HASHED


def test_releases_are_ascending_by_version_not_by_text(tmp_path):
    locks = load_locks(folder_with(tmp_path, **COMPILERS))
    assert locks.releases("compiler") == ("3.8.0", "3.9.0", "3.10.0")
    assert locks.releases("runtime") == ()
    assert locks.releases("python") == locks.pythons == ("3.9", "3.10", "3.11")


OLDER = {
    f"compiler/{version}.txt": f"# pins: iree-compiler=={version}\n{HASHED}"
    for version in ("20241104.1068", "20230209.425")
}


def test_dated_releases_come_before_the_numbered_ones_and_have_the_older_package(tmp_path):
    locks = load_locks(folder_with(tmp_path, **COMPILERS, **OLDER))
    assert locks.releases("compiler") == ("20230209.425", "20241104.1068", "3.8.0", "3.9.0", "3.10.0")
    assert locks.package("compiler", "20241104.1068") == "iree-compiler"
    assert locks.package("compiler", "3.8.0") == locks.package("compiler", "4.0.0") == "iree-base-compiler"
    found = locks.find("compiler", {"iree-compiler": "20241104.1068"})
    assert found is not None and found.name == "compiler/20241104.1068"


def test_the_older_package_of_another_axis_is_refused(tmp_path):
    files = {"compiler/20241104.1068.txt": f"# pins: iree-runtime==20241104.1068\n{HASHED}"}
    with pytest.raises(LockFault, match="pins no iree-base-compiler"):
        load_locks(folder_with(tmp_path, **files))


def test_every_release_of_the_older_packages_is_locked():
    locks = load_locks(SHIPPED)
    dated = select(">=20230209", locks.releases("compiler"))
    assert dated == select(">=20230209", locks.releases("runtime"))
    assert (len(dated), dated[0], dated[-1]) == (16, "20230209.425", "20241104.1068")
    assert not any(lock.refusal for lock in locks.locks if lock.name.endswith(dated))


def test_an_exporter_is_found_by_both_pins_and_the_variant(tmp_path):
    name = "exporter/torch-2.9.1+turbine-3.9.0"
    files = {f"{name}.cuda.txt": EXPORTER, f"{name}.cpu.txt": EXPORTER}
    locks = load_locks(folder_with(tmp_path, **files))
    pins = {"iree-turbine": "3.9.0", "torch": "2.9.1"}
    assert locks.releases("torch") == ("2.9.1",)
    assert locks.releases("turbine") == ("3.9.0",)
    for variant in ("cuda", "cpu"):
        found = locks.find("exporter", pins, variant=variant)
        assert found is not None
        assert found.name == f"{name}.{variant}"
        assert variant_of(found) == variant
    assert locks.find("exporter", {"torch": "2.9.1"}) is None
    assert locks.find("exporter", {**pins, "torch": "2.9.0"}) is None


def test_a_lock_says_its_pins_path_and_digest(tmp_path):
    folder = folder_with(tmp_path, **COMPILERS)
    found = load_locks(folder).find("compiler", {"IREE_base.compiler": "3.8.0"}, variant="cpu")
    assert found is not None
    assert found.name == "compiler/3.8.0"
    assert found.path == folder / "compiler" / "3.8.0.txt"
    assert found.pins == (("iree-base-compiler", "3.8.0"),)
    assert found.digest == hashlib.sha256(found.path.read_bytes()).hexdigest()
    assert found.refusal == ""


def test_a_refused_lock_keeps_the_reason_and_is_a_release(tmp_path):
    text = "# pins: iree-base-compiler==3.8.0\n# not installable: no wheels: at all\n"
    locks = load_locks(folder_with(tmp_path, **{"compiler/3.8.0.txt": text}))
    assert locks.locks[0].refusal == "no wheels: at all"
    assert locks.releases("compiler") == ("3.8.0",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the first line: read"),
        (HASHED, "the first line: read"),
        ("# pins: \n" + HASHED, "expected package==version"),
        ("# pins: iree-base-compiler>=3\n" + HASHED, "expected package==version"),
        ("# pins: iree-base-compiler==3.8.0\n", "read no wheel with a hash"),
        ("# pins: iree-base-compiler==3.8.0\nnumpy==2.0.2\n", "read no wheel with a hash"),
        ("# pins: iree-base-compiler==3.9.0\n" + HASHED, "belong into compiler/3.9.0.txt"),
        ("# pins: torch==3.8.0\n" + HASHED, "pins no iree-base-compiler"),
        ("# pins: \x80\n" + HASHED, "expected package==version"),
    ],
)
def test_a_damaged_lock_is_named(tmp_path, text, said):
    with pytest.raises(LockFault, match=r"compiler/3\.8\.0\.txt") as fault:
        load_locks(folder_with(tmp_path, **{"compiler/3.8.0.txt": text}))
    assert said in str(fault.value)
    assert "nox -s lock" in fault.value.tip


def test_all_damaged_locks_are_named_at_once(tmp_path):
    files = {f"runtime/{v}.txt": "" for v in ("3.8.0", "3.9.0")}
    with pytest.raises(LockFault) as fault:
        load_locks(folder_with(tmp_path, **files, **COMPILERS))
    assert str(fault.value).count("runtime/") == 2


def test_bytes_that_are_no_text_are_named(tmp_path):
    folder = folder_with(tmp_path, **COMPILERS)
    (folder / "compiler" / "3.8.0.txt").write_bytes(b"# pins: \xff\n")
    with pytest.raises(LockFault, match=r"compiler/3\.8\.0\.txt: read bytes that are no text"):
        load_locks(folder)


def test_a_folder_in_a_locks_place_is_named(tmp_path):
    (folder_with(tmp_path) / "compiler" / "3.8.0.txt").mkdir(parents=True)
    with pytest.raises(LockFault, match=r"compiler/3\.8\.0\.txt: cannot be read"):
        load_locks(tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("format = 1", "format = 2", "format: read 2, expected 1"),
        ('lowest_python = "3.10"', "lowest_python = 3.10", "exporter[0].lowest_python: read 3.1"),
        ('specifier = ">=2.9"', 'specifier = "2.9 or so"', "compiler.specifier: read '2.9 or so'"),
        ('turbine = "lat', 'turbin = "lat', "exporter[0].turbin: unknown key"),
        ('turbine = "latest-minors >=2.3"', "", "exporter[0].turbine: read None, expected versions or selectors"),
        ('torch = "2.9.1"', "torch = 2.9", "exporter[0].torch: read the number 2.9"),
        ('"20240621.931"', '">=2024"', "beside.2.3.1.iree-compiler: read '>=2024', expected an exact version"),
        ('"3.9", "3.11"', '3.9, "3.11"', "pythons"),
        ('package = "iree-base-compiler"', 'package = "iree-compiler"', "compiler.package: read 'iree-compiler'"),
        ("[[exporter]]", "[exporter]", "exporter: read"),
        ('torch = "2.9.1"', 'torch = "2.9.1"\nvariants = ["rocm"]', "read 'rocm', expected cuda or cpu"),
    ],
)
def test_faults_of_wanted_name_their_place(tmp_path, before, after, said):
    with pytest.raises(LockFault) as fault:
        read_wanted(folder_with(tmp_path, WANTED.replace(before, after, 1)))
    assert said in str(fault.value)
    assert "wanted.toml" in str(fault.value)


def test_no_toml_and_no_file_are_lock_faults(tmp_path):
    with pytest.raises(LockFault, match=r"wanted\.toml: cannot be read"):
        load_locks(tmp_path)
    with pytest.raises(LockFault, match=r"wanted\.toml"):
        load_locks(folder_with(tmp_path, "format ="))


def test_the_shipped_locks_are_read_quickly():
    load_locks(SHIPPED)
    best = min(_seconds_to_load() for _ in range(5))
    assert best < 0.06


def _seconds_to_load() -> float:
    started = time.process_time()
    load_locks(SHIPPED)
    return time.process_time() - started


def test_the_shipped_locks_are_what_is_wanted():
    locks = load_locks(SHIPPED)
    assert len(locks.releases("compiler")) >= 16
    assert len(locks.releases("runtime")) >= 15
    for wish in read_wanted(SHIPPED).combined:
        torches = [version for term in wish.terms["torch"] for version in select(term, locks.releases("torch"))]
        turbines = [version for term in wish.terms["turbine"] for version in select(term, locks.releases("turbine"))]
        assert torches and turbines
        for torch, turbine in itertools.product(torches, turbines):  # the CPU build: where its index is reached
            assert locks.find("exporter", {"torch": torch, "iree-turbine": turbine}, variant="cuda"), (torch, turbine)
    for lock in locks.locks:
        assert lock.name == lock_name(lock.name.partition("/")[0], dict(lock.pins), variant_of(lock))


def test_the_shipped_locks_name_no_address_and_no_folder():
    for path in SHIPPED.rglob("*.txt"):
        text = path.read_text()
        assert "://" not in text, path
        assert "file:" not in text, path
        assert not [line for line in text.splitlines() if line.startswith("-")], path
