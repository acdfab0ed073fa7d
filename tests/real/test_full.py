"""The second tier (`nox -s tests_full`): what a newcomer does, with nothing cached, and the bench."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from containers import daemon_or_skip

pytestmark = [pytest.mark.real, pytest.mark.full]

ROOT = Path(__file__).parents[2]


def test_a_fresh_clone_with_empty_caches_prints_the_square_in_150_s(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    own = ("UV_CACHE_DIR", "PIP_CACHE_DIR", "VIRTUAL_ENV", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if name not in own}
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "nox", "-s", "matrix"],
        cwd=clone,
        env=env | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - begun
    assert done.returncode == 0, done.stderr
    assert "225 cells: " in done.stdout + done.stderr
    assert "modules of compilers" in done.stdout
    assert seconds < 150, f"{seconds:.0f} s"


def test_nox_lists_every_session_with_what_it_is_for():
    words = [sys.executable, "-m", "nox", "-l"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    sessions = re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    assert all(re.search(rf"^[*-] {session} -> .{{20}}", listed, re.MULTILINE) for session in sessions), listed


def test_a_published_red_cell_is_reproduced_in_a_clean_venv_by_the_printed_command(tmp_path):
    """YOLOX on 3.8.0: `why` answers from the results in the wheel, and the line that it prints ends in the same
    message, from the same MLIR."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / "clone")], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", str(tmp_path / "clone")], check=True)
    shutil.rmtree(tmp_path / "clone")
    (tmp_path / "empty").mkdir()
    own = ("VIRTUAL_ENV", "PYTHONPATH", "IREE_MATRIX_DATA")
    env = {name: value for name, value in os.environ.items() if name not in own}
    uv = os.environ.get("UV_CACHE_DIR", str(Path("~/.cache/uv").expanduser()))  # else torch is downloaded once more
    env |= {"PATH": f"{python.parent}:{env['PATH']}", "XDG_CACHE_HOME": str(tmp_path / "cache"), "UV_CACHE_DIR": uv}

    def paste(line: str) -> str:
        done = subprocess.run(
            ["sh", "-c", line], cwd=tmp_path / "empty", env=env, capture_output=True, text=True, check=True
        )
        return done.stdout

    asked = "python -m matrix why --preset models model=yolox_nano compiler=3.8.0 runtime=3.8.0"
    published = paste(asked)
    assert published.startswith("of models.json, measured ")
    paste(published.partition("\nreproduce\n")[2].strip())
    again = paste(asked)
    assert not again.startswith("of models.json")
    for fact in (r"^outcome .*", r"^message .*", r"^  in +module\.mlir .*"):
        assert re.findall(fact, published, re.MULTILINE) == re.findall(fact, again, re.MULTILINE) != []
    assert list((tmp_path / "empty").iterdir()) == []


def test_the_bench_holds():
    done = subprocess.run(
        [sys.executable, "tests/bench/bench.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    print(done.stdout)
    assert re.search(r"^held$", done.stdout, re.MULTILINE), done.stdout + done.stderr
    daemon_or_skip().close()
    assert "225 run jobs in both engines" in done.stdout


MEASURED = """
import resource, sys
from matrix.cli.main import main
status = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MiB", file=sys.stderr)
sys.exit(status)
"""


def test_a_model_of_300_mb_of_weights_goes_through_in_less_memory_than_it_has(tmp_path):
    """Its weights stand in the MLIR as hex, 600 MB of it; the program that orders the jobs never holds them."""
    import numpy

    rows = 73_250
    row = numpy.random.default_rng(0).standard_normal(1024).astype("float32")
    with (tmp_path / "big.mlir").open("w") as file:
        file.write(f"func.func @main(%x: tensor<1x{rows}xf32>) -> tensor<1x1024xf32> {{\n")
        file.write('  %w = arith.constant dense<"0x')
        for _ in range(rows):
            file.write(row.tobytes().hex().upper())
        file.write(f'"> : tensor<{rows}x1024xf32>\n  %z = arith.constant 0.0 : f32\n')
        file.write("  %e = tensor.empty() : tensor<1x1024xf32>\n")
        file.write("  %i = linalg.fill ins(%z : f32) outs(%e : tensor<1x1024xf32>) -> tensor<1x1024xf32>\n")
        file.write(f"  %y = linalg.matmul ins(%x, %w : tensor<1x{rows}xf32>, tensor<{rows}x1024xf32>) ")
        file.write("outs(%i : tensor<1x1024xf32>) -> tensor<1x1024xf32>\n  return %y : tensor<1x1024xf32>\n}\n")
    numpy.save(tmp_path / "x.npy", numpy.eye(1, rows, dtype="float32"))
    numpy.save(tmp_path / "y.npy", row[None])
    words = ["run", "--model", "big.mlir", "--inputs", "x.npy", "--expected", "y.npy", "--format", "csv"]
    words += ["--compiler", "3.8.0", "--runtime", "3.8.0", "--store", str(tmp_path / "store")]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ",passed,run," in done.stdout, done.stdout + done.stderr
    (peak,) = re.findall(r"^peak (\d+) MiB", done.stderr, re.MULTILINE)
    print(f"the orchestrator's peak: {peak} MiB")
    assert int(peak) < 300
