"""Pairs of the same compiler, and of two that differ, by the stage `phases`: is a difference told that is not there?

    python tests/bench/phase_pairs.py [--store FOLDER] [--pairs 12] [--load 2] [--other 2.9.0] [--save FILE.json]

A linear layer is compiled in turns by 3.13.0 and by an older release, which takes twice as long: by the verb. Then,
pair after pair, by 3.13.0 and by itself, in the same turns with the same program, beside processes that keep a core
busy for some seconds and rest for some. Printed: what is told to differ in each pair, and in how many by the rule for
compiles of two hours. The status is 1 where one of the same compiler is told to differ, or the older release is not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from matrix.artifacts.compiler.phases import PHASE_SECONDS, PHASED_SECONDS, phase_measurements
from matrix.plan.backends.iree.compiles.phasing import COMPILES_IN_TURN
from matrix.results.measured.compiles import SecondsSpread, beyond_noise, phase_changes

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "data" / "linear.mlir"
RELEASE = "3.13.0"
TOOL = "{tool:iree-compile}"
RESTLESS = """
import random, time
while True:
    end = time.monotonic() + random.uniform(1, 8)
    while time.monotonic() < end: pass
    time.sleep(random.uniform(1, 8))
"""


def matrix(*words: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "matrix", *map(str, words), "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compiled(command: list[str]) -> dict[str, Any]:
    """The measurements of one job's command in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(MODEL, Path(folder) / "module.mlir")
        program = ROOT / "scripts" / command[1]
        subprocess.run([sys.executable, program, *command[2:]], cwd=folder, stdout=subprocess.DEVNULL, check=True)
        return dict(phase_measurements((Path(folder) / "phases.json").read_bytes()))


def pair(command: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The compiles of two sides that are the same, in the order of the schedule."""
    sides: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for turn in range(COMPILES_IN_TURN):
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            sides[side].append(compiled(command))
    return sides


def told(sides: tuple[list[dict[str, Any]], list[dict[str, Any]]], *, in_turns: bool) -> list[str]:
    """What is told to differ."""

    def spread(side: list[dict[str, Any]], name: str) -> SecondsSpread:
        rows = (each[PHASE_SECONDS][name] if name else each[PHASED_SECONDS] for each in side)
        return SecondsSpread(values=tuple(value for row in rows for value in row))

    one, other = ({name: spread(side, name) for name in side[0][PHASE_SECONDS]} for side in sides)
    wholes = [spread(side, "") for side in sides]
    whole = max(each.middle for each in wholes)
    found = ["the whole compile"] if beyond_noise(*wholes, whole=whole, in_turns=in_turns) else []
    changes = phase_changes(one, other, whole=whole, in_turns=in_turns)
    return found + [f"{each.name} ({each.change:+.2f} s)" for each in changes if each.changed]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", type=Path)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--load", type=int, default=2)
    parser.add_argument("--other", default="2.9.0")
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    loads = [subprocess.Popen([sys.executable, "-c", RESTLESS]) for _ in range(options.load)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            return measured(options, options.store or Path(folder) / "store")
    finally:
        for load in loads:
            load.kill()


def measured(options: argparse.Namespace, store: Path) -> int:
    sides = ("--compiler", options.other, "--compiler", RELEASE, "--store", store)
    different = matrix("phases", MODEL, *sides)
    changed = [each["name"] for each in different["phases"] if each["changed"]]
    print(f"{options.other} and {RELEASE}: whole {different['whole_changed']}, {', '.join(changed)}", flush=True)
    jobs = matrix("run", "phases", "--model", MODEL, *sides)["jobs"].values()
    command = next(job["command"] for job in jobs if job["stage"] == "phases")
    tool = next(
        store.glob(f"environments/compiler-{RELEASE}-*/lib/python*/site-packages/iree/compiler/_mlir_libs/iree-compile")
    )
    seen, false, apart = [], 0, 0
    for number in range(options.pairs):
        seen.append(pair([str(tool) if word == TOOL else word for word in command]))
        words, without = told(seen[-1], in_turns=True), told(seen[-1], in_turns=False)
        false, apart = false + bool(words), apart + bool(without)
        load = os.getloadavg()[0]
        print(f"the same, pair {number + 1}, load {load:.0f}: {', '.join(words) or 'no difference'}", flush=True)
    print(f"{false} of {options.pairs} pairs of the same compiler are told to differ; by the other rule {apart}")
    if options.save:
        options.save.write_text(json.dumps({"same": seen, "other": different}))
    return int(bool(false) or not different["whole_changed"])


if __name__ == "__main__":
    sys.exit(main())
