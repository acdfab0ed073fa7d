"""The program that watches a compiler: a program that writes files as a compiler does, and ends in other ways."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from matrix.artifacts.compiler.phases import PASS_SECONDS, PHASE_SECONDS, pass_measurements, phase_measurements
from matrix.artifacts.compiler.phases import phases_until as until

PHASES = Path(__file__).parents[3] / "scripts" / "phases.py"
COMPILER = """
import os, signal, sys, time

def work(seconds):
    begun = time.process_time()
    while time.process_time() < begun + seconds:
        pass

def phase(folder, name, seconds, writing=0.0):
    work(seconds)
    with open(f"{folder}/{name}.mlir", "w") as file:
        work(writing)
        file.write("module {}")

folder = next((word.partition("=")[2] for word in sys.argv if word.startswith("--dump-compilation-phases-to=")), "")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job").mkdir()
    return tmp_path / "job"


def watched(folder: Path, body: str, *, what: str = "phases", rounds: int = 1) -> subprocess.CompletedProcess[str]:
    compiler = folder.parent / "compiler.py"
    compiler.write_text(COMPILER + textwrap.dedent(body))
    argv = [sys.executable, PHASES, what, str(rounds), sys.executable, compiler, "-o", "phased.vmfb"]
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_each_phase_has_its_own_cpu_time_and_none_that_of_writing(folder):
    body = """
        phase(folder, "module.1.input", 0.1)
        phase(folder, "module.2.abi", 0.3, writing=0.5)
        time.sleep(0.3)  # which no phase computes
        phase(folder, "module.3.flow", 0.05)
        work(0.2)
        open("phased.vmfb", "w").write("x")
    """
    done = watched(folder, body, rounds=2)
    assert done.returncode == 0, done.stderr
    found = phase_measurements((folder / "phases.json").read_bytes())[PHASE_SECONDS]
    assert list(found) == ["input", "abi", "flow", "writing-the-module"]
    for name, seconds in {"input": 0.1, "abi": 0.3, "flow": 0.05, "writing-the-module": 0.2}.items():
        assert all(each == pytest.approx(seconds, abs=0.09) for each in found[name]), found
    assert sorted(path.name for path in folder.iterdir()) == ["phases.json"]


def test_the_time_of_a_program_that_it_waited_for_is_in_its_phase(folder):
    body = """
        import subprocess
        phase(folder, "module.1.input", 0.05)
        slow = "import time\\nwhile time.process_time() < 0.4: pass"
        subprocess.run([sys.executable, "-c", slow], check=True)  # as the linker is
        phase(folder, "module.2.hal", 0.0)
    """
    assert watched(folder, body).returncode == 0
    found = phase_measurements((folder / "phases.json").read_bytes())[PHASE_SECONDS]
    assert found["hal"][0] == pytest.approx(0.43, abs=0.1)


def test_a_wrapper_in_front_of_a_compiler_hides_nothing(folder):
    body = """
        import subprocess
        if "inner" not in sys.argv:
            sys.exit(subprocess.call([sys.executable, *sys.argv, "inner"]))
        phase(folder, "module.1.input", 0.1)
        phase(folder, "module.2.abi", 0.3)
    """
    assert watched(folder, body).returncode == 0
    found = phase_measurements((folder / "phases.json").read_bytes())[PHASE_SECONDS]
    assert found["abi"][0] == pytest.approx(0.3, abs=0.09)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_it_ends_by_the_signal_of_the_compiler_and_its_log_has_the_phases_until_there(folder, number):
    body = f"""
        phase(folder, "module.1.input", 0.1)
        phase(folder, "module.2.abi", 0.05)
        os.kill(os.getpid(), {int(number)})
    """
    done = watched(folder, body)
    assert done.returncode == -number
    assert list(until(done.stdout)) == ["input", "abi"]
    assert until(done.stdout)["input"] == pytest.approx(0.1, abs=0.09)
    assert list(folder.iterdir()) == []


def test_an_error_of_the_compiler_is_its_exit_status_and_its_words(folder):
    done = watched(folder, 'phase(folder, "module.1.input", 0.0)\nsys.exit("module.mlir:3: error: no such operation")')
    assert done.returncode == 1
    assert "no such operation" in done.stderr
    assert list(until(done.stdout)) == ["input"]


def test_a_compiler_that_writes_no_phase_is_refused(folder):
    done = watched(folder, 'open("phased.vmfb", "w").write("x")')
    assert done.returncode == 1
    assert "phases: refused: the compiler wrote no file of a phase" in done.stdout
    assert list(folder.iterdir()) == []


def test_passes_are_rows_without_rows_below_them(folder):
    rows = """[
{"wall": {"duration": 0.9}, "name": "'func.func' Pipeline", "passes": [
  {"wall": {"duration": 0.2}, "name": "CSEPass", "passes": [
    {"wall": {"duration": 0.1}, "name": "(A) DominanceInfo", "passes": [
    {}]},
  {}]},
  {"wall": {"duration": 0.3}, "name": "CSEPass", "passes": [
  {}]},
{}]},
{"wall": {"duration": -3.0}, "name": "Rest"},
{"wall": {"duration": 1.0}, "name": "Total"}
]"""
    body = f"""
        assert "--mlir-disable-threading" in sys.argv
        work(0.1)
        print("module.mlir:1: warning: [odd]", {rows!r}, {rows!r}, sep="\\n", file=sys.stderr)
    """
    done = watched(folder, body, what="passes", rounds=2)
    assert done.returncode == 0, done.stderr
    (first, _) = json.loads((folder / "passes.json").read_text())["rounds"]
    assert first["passes"]["CSEPass"] == pytest.approx(1.0)
    assert [*pass_measurements((folder / "passes.json").read_bytes())[PASS_SECONDS]] == ["CSE"]


@pytest.mark.parametrize("said", ["", "[\\n{", "[\\n{}]", "no report"])
def test_a_report_that_was_cut_off_is_refused(folder, said):
    done = watched(folder, f'print({said!r}.replace("\\\\n", "\\n"), file=sys.stderr)', what="passes")
    assert done.returncode == 1
    assert "phases: refused: the compiler told no time of a pass" in done.stdout


def test_what_a_compiler_says_that_fails_is_in_the_log(folder):
    done = watched(folder, 'sys.exit("module.mlir:3: error: no such operation")', what="passes")
    assert done.returncode == 1
    assert "no such operation" in done.stderr
