"""`check` over the committed results: what a file pins, the verdict of each stage, what mends it, and the status."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrix.answers.advice import KnownCells
from matrix.answers.pins.checking import check_set, pins_of
from matrix.answers.pins.pinned_set import install_in_order, read_pinned_set
from matrix.cli.main import main
from matrix.core.errors import FileFault
from matrix.core.records import Outcome
from matrix.results.files import read_runs, run_files

ROOT = Path(__file__).parents[3]
GOOD = "iree-base-compiler==3.9.0\niree-base-runtime==3.9.0\niree-turbine==3.9.0\ntorch==2.9.1\n"
WHERE = {"python": "3.11", "machine": "x86_64"}


@pytest.fixture(scope="module")
def known() -> KnownCells:
    return KnownCells(read_runs(run_files(ROOT / "results")))


def write(folder: Path, text: str, name: str = "set.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def check(capsys, *words: object) -> tuple[int, str]:
    status = main(["check", "--target", "x86_64", *map(str, words)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return status, said.out + said.err


# -- verdicts


def test_a_set_that_was_measured_passes(tmp_path, capsys):
    status, said = check(capsys, write(tmp_path, GOOD))
    assert status == 0
    assert "measured  yes: " in said and "run       passed: 8 of 8 models" in said
    assert "mend" not in said


def test_a_pair_that_was_refused_fails_with_the_smallest_change(tmp_path, capsys):
    status, said = check(capsys, write(tmp_path, "iree-base-compiler==3.8.0\niree-base-runtime==3.11.0\n"))
    assert status == 1
    assert re.search(r"run +failed at run: vm-bytecode-version: (\d) of \1 models \(.*linear", said)
    assert "mend      iree-base-runtime==3.9.0 (runtime 3.11.0 -> 3.9.0 (2 down)), measured with linear" in said
    assert "or        iree-base-compiler==3.11.0 (compiler 3.8.0 -> 3.11.0 (3 up)), measured with linear" in said


def test_packages_of_other_systems_are_no_pins(tmp_path, capsys):
    status, said = check(capsys, write(tmp_path, f"{GOOD}\nonnxruntime==1.20.0\nopenvino==2026.4.1\n"))
    assert status == 0
    assert "onnxruntime" not in said
    status, said = check(capsys, write(tmp_path, "onnxruntime==1.20.0\n"))
    assert status == 2 and "expected one of a package of torch, " in said and "iree-base-compiler, iree-base-ru" in said
    assert "onnxruntime" not in said


def test_a_turbine_with_another_iree_in_one_environment_is_found(tmp_path, capsys):
    """turbine 3.9 was measured with IREE 3.9 in its environment: 3.8 would silently replace it."""
    text = "iree-base-compiler==3.8.0\niree-base-runtime==3.8.0\niree-turbine==3.9.0\ntorch==2.9.1+cpu\n"
    status, said = check(capsys, write(tmp_path, text))
    assert status == 4
    assert "iree-base-compiler 3.8.0 silently replaces 3.9.0, with which the export was measured" in said
    assert "each stage in an environment of its own" in said
    assert "mend      iree-turbine==3.8.0 (turbine 3.9.0 -> 3.8.0 (1 down))" in said
    status, said = check(capsys, write(tmp_path, text), "--apart")
    assert (status, "replaces" in said) == (0, False)


def test_a_file_that_is_installed_after_another_replaces_its_pins(tmp_path, capsys):
    later = write(tmp_path, "iree-base-compiler==3.8.0\niree-base-runtime==3.8.0\n", "later.txt")
    status, said = check(capsys, write(tmp_path, GOOD), later, "--apart")
    assert status == 1
    assert f"{later} silently replaces iree-base-compiler 3.9.0 by 3.8.0" in said
    status, said = check(capsys, later, later)
    assert status == 0 and "replaces" not in said


def test_the_older_package_of_the_same_files_is_a_conflict(tmp_path, capsys):
    status, said = check(capsys, write(tmp_path, GOOD + "iree-compiler==20241104.1068\n"))
    assert status == 1
    assert "iree-compiler 20241104.1068 and iree-base-compiler 3.9.0 write the same files" in said


def test_the_older_line_alone_is_its_axis_under_its_own_name(tmp_path, capsys):
    status, said = check(capsys, write(tmp_path, "iree-compiler==20240101.1\niree-runtime==20240101.1\n"))
    assert status == 4
    assert "no: no result has iree-compiler 20240101.1, iree-runtime 20240101.1" in said


def test_two_versions_in_one_file_are_a_conflict(tmp_path, capsys):
    status, said = check(capsys, write(tmp_path, GOOD + "iree_base_compiler==3.8.0\n"))
    assert status == 1 and "pins iree-base-compiler at 3.9.0 and 3.8.0: pip refuses it" in said


def test_what_nobody_measured_is_not_said_to_pass(tmp_path, capsys):
    status, said = check(capsys, write(tmp_path, "iree-base-compiler==9.9.0\niree-base-runtime==3.13.0\n"))
    assert status == 4
    assert "measured  no: no result has iree-base-compiler 9.9.0" in said
    assert "run       not measured" in said and "passed" not in said
    assert "iree-base-compiler==3.13.0" in said


def test_a_model_decides(tmp_path, capsys):
    """The compiler 3.8 takes seven of eight models, and not this one."""
    path = write(tmp_path, "iree-base-compiler==3.8.0\niree-base-runtime==3.8.0\n")
    assert check(capsys, path)[0] == 0
    status, said = check(capsys, path, "--model", "yolox_nano")
    assert status == 1 and "compile   failed at compile: legalization" in said
    assert "iree-base-compiler==3.9.0 iree-base-runtime==3.9.0" in said


def test_as_data(tmp_path, capsys):
    path = write(tmp_path, "iree-base-compiler==3.8.0\niree-base-runtime==3.11.0\n")
    status, said = check(capsys, path, "--format", "json")
    read = json.loads(said)
    assert status == 1 and read["fails"] and not read["measured"]
    assert read["pins"] == {"iree-base-compiler": "3.8.0", "iree-base-runtime": "3.11.0"}
    assert [each["verdict"] for each in read["stages"]] == ["passes with some", "fails"]


def test_every_cell_of_the_square_is_judged_as_it_ended(known):
    """No verdict contradicts a cell, whatever else the results hold of its releases."""
    square = [cell for run in read_runs([ROOT / "results" / "portability.json"]) for cell in run.cells]
    for cell in square:
        pins = {axis: cell.axes[axis] for axis in ("compiler", "runtime")}
        checked = check_set(pins, {"model": "linear", "target": "x86_64"}, known)
        assert checked.fails == (cell.outcome is not Outcome.PASSED), cell.name
        assert bool(checked.mends) == checked.fails, cell.name
        for move in checked.mends:
            assert move.cell.passed and len(move.changes) == 1


# -- files


def test_what_pip_freeze_prints_of_a_wheel_with_another_version_inside(tmp_path, known):
    """The wheel of 2.9.0 says 2.9.0rc20241108 of itself."""
    path = write(tmp_path, "iree-base-compiler==2.9.0rc20241108\ntorch==2.9.1+cpu\niree-base-runtime==3.14.0rc1\n")
    versions, _ = install_in_order([read_pinned_set(path, **WHERE)])
    runs = read_runs(run_files(ROOT / "results"))
    assert pins_of(versions, known, runs) == {"compiler": "2.9.0", "torch": "2.9.1", "runtime": "3.14.0rc1"}


def test_forms_of_a_line(tmp_path):
    write(tmp_path, "iree_base.runtime == 3.9.0 ; python_version < '3.12'  # a comment\n", "more.txt")
    write(tmp_path, "torch==2.9.1\nnumpy==2\n", "limits.txt")
    text = (
        "--index-url https://example.org/simple\n-r more.txt\n-c limits.txt\ntorch\n-e .\n./local\n"
        "iree-base-compiler==3.8.0 \\\n    --hash=sha256:abc \\\n    --hash=sha256:def\n"
        "iree-turbine @ https://example.org/iree_turbine-3.9.0-py3-none-any.whl\nsympy>=1\n"
        "iree-base-compiler==3.1.0 ; sys_platform == 'win32'\n"
    )
    read = read_pinned_set(write(tmp_path, text), **WHERE)
    assert {package: found[-1] for package, found in read.versions.items()} == {
        "iree-base-runtime": "3.9.0",
        "torch": "2.9.1",
        "iree-base-compiler": "3.8.0",
        "iree-turbine": "3.9.0",
    }
    assert read.open == {"sympy": "sympy>=1"}
    assert "iree-base-runtime" not in read_pinned_set(tmp_path / "set.txt", python="3.12", machine="x86_64").versions


UV = """version = 1
[[package]]
name = "iree-base-runtime"
version = "3.7.0"
resolution-markers = ["python_full_version >= '3.11'"]
[[package]]
name = "iree-base-runtime"
version = "3.12.0"
resolution-markers = ["python_full_version < '3.11'"]
"""


def test_locks_as_toml(tmp_path):
    uv = write(tmp_path, UV, "uv.lock")
    assert read_pinned_set(uv, **WHERE).versions == {"iree-base-runtime": ("3.7.0",)}
    assert read_pinned_set(uv, python="3.10", machine="x86_64").versions == {"iree-base-runtime": ("3.12.0",)}
    pylock = write(tmp_path, 'lock-version = "1.0"\n[[packages]]\nname = "Torch"\nversion = "2.9.1"\n', "pylock.toml")
    assert read_pinned_set(pylock, **WHERE).versions == {"torch": ("2.9.1",)}


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("iree-base-compiler 3.8.0\n", "set.txt", "set.txt:1: "),
        ("-r set.txt\n", "set.txt", "files in each other"),
        ("[[package\n", "uv.lock", "no TOML"),
        ("a = 1\n", "uv.lock", r"read no \[\[package\]\]"),
        ("-r gone.txt\n", "set.txt", "gone.txt: read nothing"),
    ],
)
def test_what_is_no_set_is_refused_with_its_place(tmp_path, text, name, said):
    with pytest.raises(FileFault, match=said):
        read_pinned_set(write(tmp_path, text, name), **WHERE)


def test_a_set_without_any_package_of_the_axes_is_refused(tmp_path, capsys):
    status, said = check(capsys, write(tmp_path, "numpy==2.0\niree-base-compiler>=3\n"))
    assert status == 2 and "read no exact version" in said


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_no_text_is_a_defect(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp()
    for name in ("any.txt", "any.lock"):
        path = folder / name
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            read_pinned_set(path, **WHERE)
        except FileFault:
            continue
