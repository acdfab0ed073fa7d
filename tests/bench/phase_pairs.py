"""Pairs of the same compiler, and of two that differ, by the stage `phases`: is a difference told that is not there?

    python tests/bench/phase_pairs.py [--store FOLDER] [--pairs 12] [--load 2] [--other 2.9.0] [--save FILE.json]

A linear layer is compiled in turns by 3.13.0 and by the same files as a compiler of one's own, pair after pair, beside
processes that keep a core busy for some seconds and rest for some. Then in turns by 3.13.0 and an older release, which
takes twice as long. Printed: the phases that are told to differ in each pair. The status is 1 where one of the same
compiler is, or the older release is not told to differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "data" / "linear.mlir"
RELEASE = "3.13.0"
RESTLESS = """
import random, time
while True:
    end = time.monotonic() + random.uniform(1, 8)
    while time.monotonic() < end: pass
    time.sleep(random.uniform(1, 8))
"""


def matrix(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "matrix", *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def compared(store: Path, *sides: object, model: object = MODEL) -> dict[str, Any]:
    """One pair, measured anew."""
    words = [word for side in sides for word in ("--compiler", side)]
    matrix("run", "phases", "--model", model, *words, "--store", store, "--again", "passed", "--format", "json")
    found: dict[str, Any] = json.loads(matrix("phases", model, *words, "--store", store, "--format", "json"))
    return found


def told(found: dict[str, Any]) -> list[str]:
    """What is told to differ."""
    whole = ["the whole compile"] if found["whole_changed"] else []
    return whole + [f"{each['name']} ({each['change']:+.2f} s)" for each in found["phases"] if each["changed"]]


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
    matrix("phases", MODEL, "--compiler", RELEASE, "--store", store)
    own = next(store.glob(f"environments/compiler-{RELEASE}-*/lib/python*/site-packages"))
    pairs, false = [], 0
    for number in range(options.pairs):
        pairs.append(compared(store, RELEASE, own))
        false += bool(told(pairs[-1]))
        print(f"the same compiler, pair {number + 1}: {', '.join(told(pairs[-1])) or 'no difference'}", flush=True)
    other = compared(store, options.other, RELEASE)
    print(f"{options.other} and {RELEASE}: {', '.join(told(other)) or 'no difference'}")
    print(f"{false} of {options.pairs} pairs of the same compiler are told to differ")
    if options.save:
        options.save.write_text(json.dumps({"same": pairs, "other": other}))
    return int(bool(false) or not other["whole_changed"])


if __name__ == "__main__":
    sys.exit(main())
