"""A tool that segfaults, hangs, eats memory, floods its log, writes nothing or too much: one red cell each, and the
other cells of the same run are measured all the same."""

from __future__ import annotations

import csv
import io
import re
import sys
from pathlib import Path

import pytest
from command_line import good, new_store, own_copy, replace_tool, rows, started, wait_until_gone, write_spec

pytestmark = pytest.mark.real

ONE = ("3.13.0",)
LIMITS = "\n[limits]\nrun = { seconds = 1.5, memory_mib = 256 }\n"
FLOOD_LINES, LINE = 100_000, "x" * 99

CHOOSE = """
here=$(dirname "$0")
case "$*" in *fault=*) ;; *) exec "$here/real-run-module" "$@" ;; esac
"""
"""The cell's flag `--fault=…` chooses; without it the real tool runs."""
FAULTS = {
    "segfaults": "kill -SEGV $$",
    "hangs": "sleep 1000 & sleep 1000",
    "eats_memory": f"exec {sys.executable} -c 'x = bytearray(600 << 20); import time; time.sleep(60)'",
    "floods": f"yes {LINE} | head -n {FLOOD_LINES}; echo the end >&2; exit 3",
    "writes_nothing": "exit 0",
    "ends_with_7": "echo something nobody knows >&2; exit 7",
    "leaves_a_child": 'setsid sleep 1000 & "$here/real-run-module" $(echo "$@" | sed "s/--fault=[a-z_]*//")',
}
EXPECTED = {
    "none": ("passed", ""),
    "segfaults": ("crashed", "signal-11"),
    "hangs": ("timed_out", "time-limit"),
    "eats_memory": ("out_of_memory", "memory-limit"),
    "floods": ("failed", "unrecognised"),
    "writes_nothing": ("failed", "no-output"),
    "ends_with_7": ("failed", "unrecognised"),
    "leaves_a_child": ("passed", ""),
}
CONFIRMED = {name for name, (outcome, _) in EXPECTED.items() if outcome != "passed"}
"""No signature knows the errors among them."""


@pytest.fixture(scope="module")
def done(tmp_path_factory, shared):
    """One run with a cell for each fault and some without: (spec, store, cells by fault, start log)."""
    folder: Path = tmp_path_factory.mktemp("faults")
    store, log = new_store(folder / "store", shared), folder / "starts"
    environment = own_copy(store, "runtime-3.13.0")
    tool = next(environment.glob("lib/*/site-packages/iree/*/iree-run-module"))
    tool.rename(tool.with_name("real-run-module"))
    tool.touch()
    cases = "".join(f'case "$*" in *fault={name}*)\n{script}\nexit ;; esac\n' for name, script in FAULTS.items())
    replace_tool(environment, "iree-run-module", CHOOSE + cases)
    own = "\n[axis.fault.none]\n" + "".join(f'[axis.fault.{name}]\nrun = ["--fault={name}"]\n' for name in FAULTS)
    spec = write_spec(folder / "spec", compilers=ONE, runtimes=ONE, more=LIMITS + own)
    ran = good("run", spec, "--store", store, "--format", "csv", IREE_MATRIX_START_LOG=str(log))
    wait_until_gone(folder)
    cells = {row["fault"]: row for row in csv.DictReader(io.StringIO(ran.out))}
    return spec, store, cells, log


@pytest.mark.parametrize("fault", EXPECTED)
def test_each_fault_is_one_cell(done, fault):
    _, _, cells, _ = done
    assert (cells[fault]["outcome"], cells[fault]["signature"]) == EXPECTED[fault]


def test_nothing_was_lost_and_what_a_neighbour_can_cause_was_confirmed(done):
    _, store, cells, log = done
    assert cells.keys() == EXPECTED.keys()
    assert len(set(started(log))) == 1 + len(EXPECTED)
    assert len(started(log)) == 1 + len(EXPECTED) + len(CONFIRMED)
    assert rows(store).keys() == set(started(log))
    assert list((store / "scratch").iterdir()) == []


def why(done, fault: str) -> str:
    spec, store, _, _ = done
    return good("why", "--preset", spec, "--store", store, f"fault={fault}", "--log").out


def test_a_flood_is_cut_and_its_size_is_told(done):
    text = why(done, "floods")
    size = FLOOD_LINES * (len(LINE) + 1) + len("the end\n")
    assert f"log of run ({size} bytes)" in text
    left_out = re.search(r"\.\.\. ([\d,]+) bytes left out \.\.\.", text)
    assert left_out and size - (64 << 10) <= int(left_out[1].replace(",", "")) < size
    assert "the end" in text
    assert len(text) < 80_000


def test_why_says_how_each_ended(done):
    assert "signalled 11" in why(done, "segfaults")
    assert re.search(r"run: timed_out, .* 1\.[5-9]\d\d s,", why(done, "hangs"))
    memory = why(done, "eats_memory")
    assert re.search(r"message +ended at (2[5-9]\d|[3-9]\d\d) MiB", memory)
    assert "raise [limits]" in memory
    assert "exit code 7" in why(done, "ends_with_7")
    assert "something nobody knows" in why(done, "ends_with_7")
    assert "wrote not all of its outputs" in why(done, "writes_nothing")


def test_a_compiler_that_fills_its_folder_and_dies_leaves_nothing(tmp_path, store):
    """Its cells are red, another compiler's are measured, and the folder of the job is gone."""
    environment = own_copy(store, "compiler-3.8.0")
    fill = "head -c 50000000 /dev/zero > big; mkdir d; echo half > module.vmfb; kill -ABRT $$"
    replace_tool(environment, "iree-compile", fill)
    spec = write_spec(tmp_path, compilers=("3.8.0", "3.13.0"), runtimes=ONE)
    ran = good("run", spec, "--store", store, "--format", "csv")
    cells = {row["compiler"]: row for row in csv.DictReader(io.StringIO(ran.out))}
    assert (cells["3.8.0"]["outcome"], cells["3.8.0"]["stage"]) == ("crashed", "compile")
    assert cells["3.8.0"]["signature"] == "signal-6"
    assert cells["3.13.0"]["outcome"] == "passed"
    assert sum(path.stat().st_size for path in (store / "blobs").glob("*/*")) < 200_000
    assert list((store / "scratch").iterdir()) == []
