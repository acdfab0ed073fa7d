"""What `nox -s lock` writes, with an index that answers from a table."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import pytest

from matrix.core.errors import IndexUnreachable, LockFault, ResolutionRefused
from matrix.core.versions import is_dated
from matrix.environments.locking import lock_all
from matrix.plan.locks import DATES, LockOutcome, load_locks, release_dates
from matrix.plan.stages import axes

WANTED = """
format = 1
pythons = ["3.9", "3.10", "3.11"]
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
turbine = "3.9.0"
lowest_python = "3.10"
variants = ["cuda", "cpu"]
"""
EXPORTER = "exporter/torch-2.9.1+turbine-3.9.0"


class Table:
    """An index whose releases, refusals and newest numpy are given."""

    def __init__(self, **refused: str) -> None:
        self.versions = {
            "iree-base-compiler": ["3.10.0", "3.9.0", "3.7.1", "3.7.0", "2.8.0"],
            "iree-base-runtime": ["3.10.0", "3.9.0", "3.7.0"],
            "torch": ["2.10.0", "2.9.1", "2.9.0", "2.3.1"],
            "iree-turbine": ["3.9.0", "3.7.0", "2.4.0", "2.3.1"],
        }
        self.refused = refused
        self.numpy = "2.0.2"
        self.asked: list[tuple[str, str, str]] = []
        self.dated: list[str] = []

    def releases(self, package: str, *, pythons: Sequence[str]) -> list[str]:
        assert tuple(pythons) == ("3.9", "3.10", "3.11")
        return self.versions[package]

    def uploaded(self, requirement: str) -> datetime.date | None:
        self.dated.append(requirement)
        return None if requirement.startswith("torch") else datetime.date(2025, 1, 1 + len(self.dated) % 28)

    def resolve(
        self, requirements: Sequence[str], *, lowest_python: str, variant: str = "cuda", previous: str = ""
    ) -> str:
        self.asked.append((requirements[0], lowest_python, variant))
        for key in (requirements[0], f"{requirements[0]} {lowest_python}"):
            if key in self.refused:
                raise ResolutionRefused("cannot resolve", tip=self.refused[key])
        numpy = "1.0.0" if "numpy==1.0.0" in previous else self.numpy
        lines = [*requirements, f"numpy=={numpy}"]
        return "".join(f"{line} \\\n    --hash=sha256:{'0' * 64}\n" for line in lines)


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "wanted.toml").write_text(WANTED)
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.txt")}


def test_every_admitted_release_gets_a_lock(folder):
    changes = lock_all(folder, Table())
    names = [change.name for change in changes]
    assert names == [
        *(f"compiler/{version}" for version in ("3.7.0", "3.7.1", "3.9.0", "3.10.0")),
        *(f"runtime/{version}" for version in ("3.7.0", "3.9.0", "3.10.0")),
        *(f"importer/{version}" for version in ("3.7.0", "3.7.1", "3.9.0", "3.10.0")),
        *(f"{EXPORTER}.cuda", f"{EXPORTER}.cpu", "dates"),
    ]
    assert {change.change for change in changes} == {LockOutcome.ADDED}
    locks = load_locks(folder)
    assert locks.releases("compiler") == ("3.7.0", "3.7.1", "3.9.0", "3.10.0")
    exporter = locks.find("exporter", {"torch": "2.9.1", "iree-turbine": "3.9.0"})
    assert exporter is not None
    assert "iree-base-compiler==3.9.0" in exporter.path.read_text()
    assert sorted(path.name for path in folder.rglob("*") if "partial" in path.name) == []


OLDER = """
[compiler.older]
package = "iree-compiler"
specifier = ">=20230209"
lowest_python = "3.9"
"""


def test_releases_under_an_older_name_get_locks_beside_the_others(folder):
    (folder / "wanted.toml").write_text(WANTED + OLDER)
    index = Table()
    index.versions["iree-compiler"] = ["20241104.1068", "20230209.425", "20220930.282"]
    names = [change.name for change in lock_all(folder, index) if "." in change.name and "/20" in change.name]
    assert names == ["compiler/20230209.425", "compiler/20241104.1068"]
    assert "iree-compiler==20241104.1068" in (folder / "compiler" / "20241104.1068.txt").read_text()
    assert load_locks(folder).releases("compiler")[:3] == ("20230209.425", "20241104.1068", "3.7.0")


def test_an_older_name_of_another_package_is_a_fault(folder):
    (folder / "wanted.toml").write_text(WANTED + OLDER.replace('"iree-compiler"', '"iree-runtime"'))
    with pytest.raises(
        LockFault, match=r"compiler\.older\.package: read 'iree-runtime', expected one of iree-compiler"
    ):
        lock_all(folder, Table())


def test_each_variant_is_resolved_as_such(folder):
    table = Table()
    lock_all(folder, table)
    assert {variant for package, _, variant in table.asked if package == "torch==2.9.1"} == {"cuda", "cpu"}


def test_a_second_run_changes_no_byte_and_writes_no_file(folder):
    lock_all(folder, Table())
    before, times = content(folder), {path: path.stat().st_mtime_ns for path in folder.rglob("*.txt")}
    changes = lock_all(folder, Table())
    assert {change.change for change in changes} == {LockOutcome.UNCHANGED}
    assert content(folder) == before
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.txt")} == times


def test_a_newer_package_is_taken_only_when_asked(folder):
    old, new = Table(), Table()
    old.numpy = "1.0.0"
    lock_all(folder, old)
    assert {change.change for change in lock_all(folder, new)} == {LockOutcome.UNCHANGED}
    changes = lock_all(folder, new, upgrade=True)
    assert {(change.change, change.detail) for change in changes} == {(LockOutcome.CHANGED, "numpy 1.0.0 -> 2.0.2")}


def test_what_is_no_longer_wanted_goes(folder):
    lock_all(folder, Table())
    table = Table()
    table.versions["iree-base-compiler"] = ["3.10.0", "3.9.0"]
    removed = {change.name for change in lock_all(folder, table) if change.change is LockOutcome.REMOVED}
    assert removed == {"compiler/3.7.0", "compiler/3.7.1", "importer/3.7.0", "importer/3.7.1"}
    assert load_locks(folder).releases("compiler") == ("3.9.0", "3.10.0")


def test_a_refused_release_keeps_the_reason(folder):
    table = Table(**{"iree-base-compiler==3.7.0": "there is no version of numpy"})
    changes = {change.name: change for change in lock_all(folder, table)}
    assert changes["compiler/3.7.0"].change is LockOutcome.REFUSED
    assert changes["compiler/3.7.0"].detail == "there is no version of numpy"
    text = (folder / "compiler" / "3.7.0.txt").read_text()
    assert text == "# pins: iree-base-compiler==3.7.0\n# not installable: there is no version of numpy\n"
    assert load_locks(folder).locks
    assert table.asked.count(("iree-base-compiler==3.7.0", "3.9", "cuda")) == 1
    assert ("iree-base-compiler==3.7.0", "3.10", "cuda") not in table.asked


@pytest.mark.parametrize(
    "reason",
    [
        "the requested Python version (>=3.9) does not satisfy Python>=3.10",
        "iree has no wheels with a matching Python implementation tag (e.g., `cp39`)",
        "iree has no wheels with a matching Python ABI tag (e.g., `cp39`)",
    ],
)
def test_a_release_that_is_too_new_for_the_lowest_python_takes_the_next(folder, reason):
    table = Table(**{"iree-base-compiler==3.10.0 3.9": reason})
    lock_all(folder, table)
    lines = (folder / "compiler" / "3.10.0.txt").read_text().splitlines()
    assert lines[:2] == ["# pins: iree-base-compiler==3.10.0", "# python: 3.10 and newer"]
    assert load_locks(folder).find("compiler", {"iree-base-compiler": "3.10.0"})


def test_a_release_for_no_python_keeps_the_first_reason(folder):
    refused = {f"iree-base-compiler==3.10.0 {p}": f"needs Python>=4 ({p})" for p in ("3.9", "3.10", "3.11")}
    lock_all(folder, Table(**refused))
    assert "# not installable: needs Python>=4 (3.9)\n" in (folder / "compiler" / "3.10.0.txt").read_text()


def test_an_index_that_fails_half_way_leaves_the_locks_alone(folder):
    lock_all(folder, Table())
    before = content(folder)

    class Failing(Table):
        def resolve(
            self, requirements: Sequence[str], *, lowest_python: str, variant: str = "cuda", previous: str = ""
        ) -> str:
            if requirements[0] == "iree-base-runtime==3.10.0":
                raise IndexUnreachable("no answer")
            return super().resolve(requirements, lowest_python=lowest_python, variant=variant)

    failing = Failing()
    failing.numpy = "3.0.0"
    with pytest.raises(IndexUnreachable):
        lock_all(folder, failing, upgrade=True)
    assert content(folder) == before


def test_progress_names_every_lock(folder):
    done: list[str] = []
    lock_all(folder, Table(), progress=done.append)
    assert len(done) == 13


ROWS = (
    WANTED[: WANTED.index("[[exporter]]")]
    + """
[[exporter]]
torch = ["2.9.1", ">=2.10"]
turbine = "all"
lowest_python = "3.9"
[[exporter]]
torch = "latest-minors"
turbine = "latest"
lowest_python = "3.10"
[beside."2.3.1"]
iree-compiler = "20240621.931"
[beside."2.4.0"]
iree-compiler = "20240724.964"
"""
)


def locked(folder: Path, table: Table) -> dict[str, str]:
    lock_all(folder, table)
    return {path.name.removesuffix(".cuda.txt"): path.read_text() for path in (folder / "exporter").glob("*.txt")}


def test_a_row_locks_every_torch_with_every_turbine_that_it_names(tmp_path):
    (tmp_path / "wanted.toml").write_text(ROWS)
    table = Table()
    found = locked(tmp_path, table)
    of_the_first = {
        f"torch-{torch}+turbine-{t}" for torch in ("2.9.1", "2.10.0") for t in table.versions["iree-turbine"]
    }
    assert found.keys() == of_the_first | {"torch-2.3.1+turbine-3.9.0"}
    python = dict.fromkeys(pair[:2] for pair in table.asked if pair[0].startswith("torch"))
    assert ("torch==2.9.1", "3.9") in python and ("torch==2.3.1", "3.10") in python


def test_beside_a_turbine_stands_the_newest_iree_of_its_own_minor_release(tmp_path):
    (tmp_path / "wanted.toml").write_text(ROWS)
    found = locked(tmp_path, Table())
    assert "iree-base-compiler==3.7.1" in found["torch-2.9.1+turbine-3.7.0"]
    assert "iree-base-runtime==3.7.0" in found["torch-2.9.1+turbine-3.7.0"]
    assert "iree-compiler==20240621.931" in found["torch-2.9.1+turbine-2.3.1"]
    assert "iree-base-compiler" not in found["torch-2.9.1+turbine-2.3.1"]


def test_all_rows_that_mean_nothing_are_named(tmp_path):
    (tmp_path / "wanted.toml").write_text(ROWS.replace('"2.9.1"', '"2.9.7"').replace('[beside."2.4.0"]', "[beside.x]"))
    with pytest.raises(LockFault) as fault:
        lock_all(tmp_path, Table())
    assert "exporter[0].torch: unknown version '2.9.7'" in str(fault.value)
    assert 'minor release of turbine 2.4.0, expected a table [beside."2.4.0"]' in str(fault.value)
    assert not (tmp_path / "exporter").exists()


def test_each_locked_release_gets_the_day_of_its_upload_once(folder):
    first, second = Table(), Table()
    changes = lock_all(folder, first)
    dates, text = release_dates(folder), (folder / DATES).read_text()
    assert {name: sorted(days) for name, days in dates.items()} == {
        "iree-base-compiler": ["3.10.0", "3.7.0", "3.7.1", "3.9.0"],
        "iree-base-runtime": ["3.10.0", "3.7.0", "3.9.0"],
        "iree-turbine": ["3.9.0"],
    }
    assert text.index('"3.9.0"') < text.index('"3.10.0"')
    assert changes[-1].change is LockOutcome.ADDED
    second.versions["iree-base-runtime"].insert(0, "3.11.0")
    lock_all(folder, second)
    assert second.dated == ["iree-base-runtime==3.11.0", "torch==2.9.1"]  # the index may know that one's day by now
    added = f'"3.11.0" = {release_dates(folder)["iree-base-runtime"]["3.11.0"]}\n'
    assert (folder / DATES).read_text().replace(added, "") == text
    second.versions["iree-base-runtime"].remove("3.11.0")
    lock_all(folder, second)
    assert (folder / DATES).read_text() == text


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('format = 1\n[torch]\n"2.9.1" = "2025-11-12"\n', "torch.2.9.1: read '2025-11-12', expected a date"),
        ('format = 1\n[torch]\n"2.9.1" = 2025-11-12T01:02:03Z\n', "torch.2.9.1: read datetime"),
        ('format = 2\ntorch = "2.9.1"\n', "format: read 2, expected 1"),
        ('format = 1\ntorch = "2.9.1"\n', "torch: read '2.9.1', expected a table"),
    ],
)
def test_dates_that_are_none_are_refused_with_their_place(tmp_path, text, place):
    (tmp_path / DATES).write_text(text)
    with pytest.raises(LockFault) as error:
        release_dates(tmp_path)
    assert place in str(error.value)
    assert "nox -s lock" in error.value.tip


def test_every_release_that_is_locked_here_has_its_day():
    shipped = Path(__file__).parents[3] / "images" / "locks"
    dates, locks = release_dates(shipped), load_locks(shipped)
    for axis, row in axes().items():
        for version in locks.releases(axis) if row.package else ():
            package = row.older_package if is_dated(version) else row.package
            assert dates[package][version].year >= 2023, (package, version)


def test_what_stands_beside_the_selected_releases_is_in_their_locks(folder):
    beside = '[compiler.beside]\n"<3.8" = ["numpy<2"]\n">=3.7.1" = ["onnx", "onnxscript"]\n'
    before, kind, after = WANTED.partition("[runtime]")
    (folder / "wanted.toml").write_text(before + beside + kind + after)
    lock_all(folder, Table())
    held = {path.stem: path.read_text() for path in (folder / "compiler").glob("*.txt")}
    assert {version for version, text in held.items() if "numpy<2" in text} == {"3.7.0", "3.7.1"}
    assert {version for version, text in held.items() if "onnxscript" in text} == {"3.7.1", "3.9.0", "3.10.0"}


def test_a_selector_beside_a_package_that_is_none_is_a_fault(folder):
    (folder / "wanted.toml").write_text(WANTED + '[runtime.beside]\n"newest" = ["onnx"]\n')
    with pytest.raises(LockFault, match=r"runtime\.beside\.newest: read 'newest', expected a PEP 440 specifier"):
        lock_all(folder, Table())
