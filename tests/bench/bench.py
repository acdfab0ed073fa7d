"""The 240 compile and run jobs of `portability` beside the script that a user would write, in one run.

    python tests/bench/bench.py [--store FOLDER] [--rounds 3]

Environments are ready, the MLIR is given to all contestants, nothing else is cached. Contestants, interleaved:
`matrix` (the whole command, start to table), `loop` (a shell loop over the venvs' iree-compile and iree-run-module)
and `xargs -P2` (the same lines, two at a time: all compiles, then all runs). Printed: wall seconds, ratios of one round
with their spread, and how busy the cores were with IREE's own tools. Then, where a container daemon or Nix answers,
what those engines cost each run job (`overhead.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import overhead

from matrix.core.data import default_store
from matrix.core.machine import usable_cores

SPEC = """
format = 1
name = "bench"
question = "Which IREE runtimes load modules from which compilers, from a given MLIR?"
[axes]
model = "given"
torch = "2.9.1"
turbine = "3.9.0"
compiler = "latest-minors >=2.9"
runtime = "latest-minors >=2.9"
[models.given]
mlir = "module.mlir"
inputs = ["input_0.npy"]
expected = ["expected_0.npy"]
"""
COMPILE = ("--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=x86-64-v3")
LIMIT_LOOP, LIMIT_BUSY = 0.35, 0.8


def matrix(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "matrix", *arguments], capture_output=True, text=True, check=True)


def prepare(store: Path, folder: Path) -> list[tuple[str, Path, Path]]:
    """Makes the environments and the MLIR with the real command; returns (release, compile, run) of console scripts."""
    matrix("run", "portability", "--store", str(store), "--output", os.devnull)
    published = json.loads(matrix("show", "portability", "--store", str(store), "--format", "json").stdout)
    export = next(job for job in published["jobs"].values() if job["stage"] == "export")
    for name, artifact in export["artifacts"].items():
        digest = artifact["sha256"]
        shutil.copyfile(store / "blobs" / digest[:2] / digest, folder / name)
    (folder / "spec.toml").write_text(SPEC)
    labels = {axis: sorted({cell["axes"][axis] for cell in published["cells"]}) for axis in ("compiler", "runtime")}
    compilers = [(label, script(store, folder, "compiler", label, "iree-compile")) for label in labels["compiler"]]
    runtimes = [(label, script(store, folder, "runtime", label, "iree-run-module")) for label in labels["runtime"]]
    return [(c, compiler, runtime) for c, compiler in compilers for _, runtime in runtimes]


def script(store: Path, folder: Path, kind: str, label: str, tool: str) -> Path:
    """The console script that pip writes: our venvs are relocatable, and their scripts start a shell first."""
    root = next((store / "environments").glob(f"{kind}-{label}-py*[!k]"))
    module = {
        "iree-compile": "iree.compiler.tools.scripts.iree_compile.__main__",
        "iree-run-module": "iree._runtime.scripts.iree_run_module.__main__",
    }[tool]
    path = folder / f"{kind}-{label}"
    path.write_text(f"#!{root}/bin/python\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
    path.chmod(0o755)
    return path


def lines(pairs: list[tuple[str, Path, Path]]) -> tuple[list[str], list[str]]:
    """The command lines of a user's script: 15 compiles, 225 runs."""
    compiles = {
        label: shlex.join([str(tool), "module.mlir", "-o", f"{label}.vmfb", *COMPILE]) for label, tool, _ in pairs
    }
    runs = [
        f"{runtime} --module={label}.vmfb --function=main --input=@input_0.npy "
        f"--output=@out-{label}-{runtime.name}.npy --device=local-sync > {label}-{runtime.name}.log 2>&1"
        for label, _, runtime in pairs
    ]
    return list(compiles.values()), runs


def timed(argv: list[str], folder: Path, text: str = "") -> tuple[float, str]:
    begun = time.monotonic()
    done = subprocess.run(argv, cwd=folder, input=text, capture_output=True, text=True, check=False)
    return time.monotonic() - begun, done.stderr


def one_round(store: Path, folder: Path, compiles: list[str], runs: list[str]) -> dict[str, float]:
    fresh = Path(tempfile.mkdtemp(dir=folder))
    (fresh / "environments").symlink_to(store / "environments")
    command = [sys.executable, "-m", "matrix", "run", str(folder / "spec.toml"), "--store", str(fresh)]
    wall, told = timed([*command, "--output", os.devnull], Path.cwd())
    found = re.search(r"(\d+) jobs run, (\d+) reused, .*?, ([\d.]+) s of it CPU", told)
    assert found, told
    (folder / "loop.sh").write_text("\n".join([*compiles, *runs]) + "\n")
    loop, _ = timed(["bash", "loop.sh"], folder)
    first, _ = timed(["xargs", "-P2", "-d", "\n", "-n1", "sh", "-c"], folder, "\n".join(compiles) + "\n")
    second, _ = timed(["xargs", "-P2", "-d", "\n", "-n1", "sh", "-c"], folder, "\n".join(runs) + "\n")
    assert len(list(folder.glob("*.vmfb"))) == len(compiles), "a compile of the loop failed"
    shutil.rmtree(fresh)
    return {
        "matrix": wall,
        "loop": loop,
        "xargs": first + second,
        "busy": float(found[3]) / (usable_cores() * wall),
        "run": float(found[1]),
        "shared": float(found[2]),
        "tool_cpu": float(found[3]),
    }


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, default=default_store())
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        pairs = prepare(options.store.resolve(), folder)
        compiles, runs = lines(pairs)
        for tool in {script for row in pairs for script in row[1:]}:  # from the disk into memory, for all contestants
            subprocess.run([str(tool), "--version"], capture_output=True, check=False)
        rounds = [one_round(options.store.resolve(), folder, compiles, runs) for _ in range(options.rounds)]
        given = {"mlir": folder / "module.mlir", "given": folder / "input_0.npy"}
        contained = overhead.measured_or_told(options.store.resolve(), overhead.all_releases(), **given)
    jobs = len(compiles) + len(runs)
    ratio = [each["matrix"] / each["loop"] for each in rounds]
    ahead = [each["matrix"] / each["xargs"] for each in rounds]
    busy = [each["busy"] for each in rounds]
    cores = usable_cores()
    beyond = [1000 * (each["matrix"] - each["tool_cpu"] / cores) / jobs for each in rounds]
    print(f"{jobs} jobs ({rounds[0]['run']:.0f} run, {rounds[0]['shared']:.0f} shared by content), {cores} cores")
    for name in ("matrix", "loop", "xargs"):
        print(f"{name:8} {spread([each[name] for each in rounds])} s")
    print(f"matrix / loop       {spread(ratio)}, at most {LIMIT_LOOP}")
    print(f"matrix / xargs -P2  {spread(ahead)}, below 1")
    print(f"tools' CPU / (cores x wall)  {spread(busy)}, at least {LIMIT_BUSY}")
    print(f"overhead a cell     {spread(beyond)} ms of wall time beyond the tools' own CPU")
    good = statistics.median(ratio) <= LIMIT_LOOP and max(ahead) < 1 and statistics.median(busy) >= LIMIT_BUSY
    good = good and contained
    print("held" if good else "NOT held")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
