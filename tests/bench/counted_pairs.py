"""Pairs of repeats of the stage `count` under full load: do they ever tell a difference that is not there?

    python tests/bench/counted_pairs.py [--store FOLDER] [--models 20] [--repeats 11] [--load 12]

So many models, each of half a per cent more elements than the one before, are counted again and again beside processes
that keep the cores busy. Printed, of the instructions and of the misses of the cache: pairs of repeats, the largest
difference of one, how many a table would call different (0.05 % and more). And how many neighbours the instructions
tell apart: a size that is tiled otherwise may execute 10 % more or less.
The status is 1 where a pair differs, or two neighbours do not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from command_line import write_spec  # noqa: E402

from matrix.plan.backends.iree.counting import MISSES  # noqa: E402
from matrix.results.measured.counts import COUNTS_WITHIN, INSTRUCTIONS  # noqa: E402

FEWEST = 128_000
"""Elements of the first model."""
WORK = """func.func @main(%x: tensor<{n}xf32>) -> tensor<{n}xf32> {{
  %y = math.exp %x : tensor<{n}xf32>
  %z = arith.addf %y, %x : tensor<{n}xf32>
  return %z : tensor<{n}xf32>
}}
"""
BUSY = "while True: pass"


def write_models(folder: Path, count: int) -> Path:
    """A spec with the models `work0`, `work1`, ... Returns its path."""
    names = [f"work{number}" for number in range(count)]
    stages = ("export", "compile", "run", "count")
    spec = write_spec(folder, compilers=["3.13.0"], runtimes=["3.13.0"], stages=stages, models=names)
    rows = []
    for number, name in enumerate(names):
        size = round(FEWEST * 1.005**number / 128) * 128
        (folder / f"{name}.mlir").write_text(WORK.format(n=size), encoding="utf-8")
        numpy.save(folder / f"{name}.npy", numpy.full(size, 0.5, "float32"))
        rows.append(f'[models.{name}]\nmlir = "{name}.mlir"\ninputs = ["{name}.npy"]\n')
    spec.write_text(spec.read_text(encoding="utf-8").partition("[models.")[0] + "".join(rows), encoding="utf-8")
    return spec


Figures = tuple[int, int]
"""(instructions, misses of the cache)"""


def counts(spec: Path, store: Path, *, again: bool) -> list[Figures]:
    """The figures of each model, in order, by the real command."""
    words = ["run", str(spec), "--store", str(store), "--format", "json", *(["--again", "passed"] if again else [])]
    done = subprocess.run(
        [sys.executable, "-m", "matrix", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    run = json.loads(done.stdout)
    jobs = [run["jobs"][key] for cell in run["cells"] for key in cell["evidence"].get("beside", [])]
    odd = [f"{job['outcome']}: {job.get('log', '')[-300:]}" for job in jobs if "measurements" not in job]
    if odd or len(jobs) != len(run["cells"]):
        raise SystemExit(f"{len(jobs)} of {len(run['cells'])} cells counted; without figures: {odd}")
    return [(job["measurements"][INSTRUCTIONS], job["measurements"][MISSES]) for job in jobs]


def false_verdicts(name: str, seen: list[list[int]]) -> int:
    """Prints how alike the repeats of each model are, `seen` has a list for each repeat. Returns how many differ."""
    pairs = [(a, b) for repeats in zip(*seen, strict=True) for a, b in itertools.pairwise(repeats)]
    differences = [abs(a - b) / min(a, b) for a, b in pairs]
    false = sum(difference >= COUNTS_WITHIN for difference in differences)
    print(f"{name}: {len(pairs)} pairs of repeats, {sum(a == b for a, b in pairs)} of them equal to the last one")
    print(f"{name}: largest difference {max(differences):.5%}, {false} called different")
    return false


def report(seen: list[list[Figures]]) -> int:
    """Prints what `seen` says, a list for each repeat. Returns the exit status."""
    instructions = [[first for first, _ in repeat] for repeat in seen]
    false = false_verdicts(INSTRUCTIONS, instructions)
    false += false_verdicts(MISSES, [[second for _, second in repeat] for repeat in seen])
    steps = [b / a - 1 for repeat in instructions for a, b in itertools.pairwise(repeat)]
    found = sum(abs(step) >= COUNTS_WITHIN for step in steps)
    print(f"{found} of {len(steps)} neighbours told apart, by {min(map(abs, steps)):.3%} and more")
    return int(bool(false) or found < len(steps))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path)
    for name, default in (("--models", 20), ("--repeats", 11), ("--load", 12)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    if options.models < 2 or options.repeats < 2:
        parser.error("expected at least 2 models and 2 repeats: pairs of both are compared")
    seen: list[list[Figures]] = []
    with tempfile.TemporaryDirectory() as folder:
        spec, store = write_models(Path(folder) / "work", options.models), options.store or Path(folder) / "store"
        busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(options.load)]
        try:
            for repeat in range(options.repeats):
                seen.append(counts(spec, store, again=repeat > 0))
                print(f"repeat {repeat + 1} of {options.repeats}, load {os.getloadavg()[0]:.1f}", flush=True)
        finally:
            for process in busy:
                process.kill()
                process.wait()
    return report(seen)


if __name__ == "__main__":
    sys.exit(main())
