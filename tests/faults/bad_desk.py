"""A folder of good files, of which each row of bad input spoils one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from command_line import DATA, ROOT, write_spec
from fuzz_kinds import onnx_samples
from modules import module

SMALL = 6
"""Cells of the run on the desk."""


def make_desk(folder: Path) -> Path:
    """`spec.toml` with its files, a run as `run.json`, a model of each form, and things that are no file of ours."""
    write_spec(folder, name="spec", compilers=("3.8.0",), runtimes=("3.8.0",))
    shutil.copy(ROOT / "scripts" / "models" / "linear.py", folder / "model.py")
    shutil.copy(DATA / "linear.mlir", folder / "model.mlir")
    shutil.copy(DATA / "linear.mlirbc", folder / "model.mlirbc")
    shutil.copy(DATA / "linear_expected.npy", folder / "expected.npy")
    shutil.copy(module("plain-3.13.0"), folder / "model.vmfb")
    (folder / "model.onnx").write_bytes(onnx_samples()[0])
    run = json.loads((ROOT / "results" / "portability.json").read_text())
    run["cells"] = run["cells"][:SMALL]
    needed = {key for cell in run["cells"] for key in cell["evidence"]["jobs"]}
    run["jobs"] = {key: job for key, job in run["jobs"].items() if key in needed}
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "other.json").write_text(json.dumps(run))
    (folder / "taken").write_text("mine")
    (folder / "empty").touch()
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "folder").mkdir()
    (folder / "folder" / "mine.txt").write_text("mine")
    return folder
