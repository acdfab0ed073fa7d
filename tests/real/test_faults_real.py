"""The bed of faults: a part of it holds, its invariants see what they are for; the whole of it is the second tier."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from command_line import ROOT, wait_for, wait_until_gone
from pace import allowed

sys.path.insert(0, str(ROOT / "tests" / "faults"))
import invariants
from workload import Bed

from matrix.run.database import checksum

pytestmark = pytest.mark.real

BED = ROOT / "tests" / "faults" / "bed.py"


def bed(*words, **options):
    argv = [sys.executable, BED, *map(str, words)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_a_part_of_the_bed_holds(tmp_path):
    report = tmp_path / "faults.md"
    begun = time.monotonic()
    process = bed("--short", "--output", report)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, out + err
    text = report.read_text(encoding="utf-8")
    found = re.search(r"(\d+) faults tried, 0 invariants broken", text)
    assert found and int(found[1]) >= 10, text
    assert time.monotonic() - begun < allowed(300)  # 90 on a quiet machine


def test_ctrl_c_ends_it_in_order(tmp_path):
    process = bed("--short", "--only", "signals", "--folder", tmp_path / "bed", process_group=0)
    wait_for(lambda: any((tmp_path / "bed").glob("trial-*/store")), seconds=allowed(120))
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=allowed(60))
    assert process.returncode == 130
    assert "# The bed of faults" in out
    wait_until_gone(tmp_path)
    assert list((tmp_path / "bed").glob("trial-*")) == []


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    """A place in which the question was asked with no fault, and what is there afterwards."""
    bed_of_tests = Bed(tmp_path_factory.mktemp("bed"), short=True)
    with bed_of_tests.place() as place:
        place.call()
        yield invariants.aftermath(bed_of_tests, place)


def test_a_run_without_a_fault_breaks_nothing(after):
    assert [line for invariant in invariants.INVARIANTS for line in invariant(after)] == []


def ended(each, **changes):
    return replace(each, **changes)


@contextlib.contextmanager
def changed(path, old: bytes, new: bytes):
    """Bytes of a file of the store, until the test is over."""
    content, mode = path.read_bytes(), path.stat().st_mode
    assert old in content
    path.chmod(0o644)
    path.write_bytes(content.replace(old, new, 1))
    yield
    path.write_bytes(content)
    path.chmod(mode)


@contextlib.contextmanager
def recorded(after, column: str, value: str):
    """Another word in one row of the results, until the test is over."""
    database = sqlite3.connect(after.place.store / "store.sqlite")
    key, record = database.execute("SELECT key, record FROM results WHERE stage = 'compile'").fetchone()
    change = "UPDATE results SET record = ?, checksum = ? WHERE key = ?"
    changed = json.dumps(json.loads(record) | {column: value})
    with database:
        database.execute(change, (changed, checksum(key, changed), key))
    yield
    with database:
        database.execute(change, (record, checksum(key, record), key))
    database.close()


def test_another_table_is_seen(after):
    other = after.again.out.replace("passed", "failed", 1)
    assert list(invariants.same_bytes(replace(after, again=ended(after.again, out=other))))
    assert list(invariants.same_bytes(replace(after, again=ended(after.again, status=4))))


def test_a_false_red_is_seen_in_the_store_and_in_a_table(after):
    with recorded(after, "outcome", "crashed"):
        assert "is crashed, untouched passed" in next(invariants.no_false_red(after))
    shown = ended(after.faulted[0], out=after.again.out.replace("passed", "not_installable", 1))
    assert "a table shows not_installable" in next(invariants.no_false_red(replace(after, faulted=(shown,))))


def test_a_lost_cell_is_seen_unless_a_status_says_so(after):
    lacking = ended(after.faulted[0], out="".join(after.again.out.splitlines(keepends=True)[:-1]))
    assert "3 of 4 cells" in next(invariants.all_accounted(replace(after, faulted=(lacking,))))
    assert not list(invariants.all_accounted(replace(after, faulted=(ended(lacking, status=8),))))


def test_a_job_that_is_started_or_recorded_twice_is_seen(after):
    key = next(iter(after.whole))
    with after.place.starts.open("a") as log:
        log.write(f"{key}\n")
    assert "was started again" in next(invariants.nothing_twice(after))
    with recorded(after, "finished_at", "2026-01-01T00:00:00Z"):
        assert any("recorded anew" in line for line in invariants.nothing_twice(replace(after, starts=1 << 20)))


def test_a_blob_with_other_bytes_is_seen(after):
    blob = next(iter(after.place.store.glob("blobs/*/*")))
    with changed(blob, blob.read_bytes()[:1], b"?"):
        assert list(invariants.blobs_match(after))


def test_what_clean_took_away_is_seen(after):
    gone = ended(after.shown, out=after.shown.out.replace('"passed": 2', '"untested": 2'))
    assert list(invariants.clean_keeps(replace(after, shown=gone)))
    assert list(invariants.clean_keeps(replace(after, cleaned=ended(after.cleaned, status=7))))


def test_what_is_left_is_seen(after, monkeypatch):
    monkeypatch.setattr(invariants, "GONE_SECONDS", 0.2)
    left = after.place.store / "scratch" / "left"
    left.mkdir()
    sleeper = subprocess.Popen(["sleep", "60"], cwd=left)
    found = list(invariants.nothing_left(after))
    sleeper.kill()
    sleeper.wait()
    left.rmdir()
    assert any("sleep 60" in line for line in found) and "folder left" in found


def test_a_defect_and_what_takes_too_much_are_seen(after):
    for name, change in (
        ("known_statuses", {"status": 70}),
        ("known_statuses", {"status": -9}),
        ("known_statuses", {"err": "Traceback (most recent call last):"}),
        ("bounded", {"overdue": True}),
        ("bounded", {"peak_bytes": 2 << 30}),
    ):
        after.place.ended.append(ended(after.again, **change))
        assert list(getattr(invariants, name)(after)), change
        after.place.ended.pop()


@pytest.mark.full
def test_the_whole_bed_holds(tmp_path):
    report = tmp_path / "faults.md"
    argv = ["nox", "-s", "faults", "--", "--output", str(report)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=allowed(2 * 3600), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 invariants broken" in report.read_text(encoding="utf-8")
