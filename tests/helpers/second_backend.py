"""A backend of two stages beside those that ship: a release of `scaler` converts a model, a script runs what came out.

The model is MLIR whose first line says by what it scales. Release 1.0 converts it right, 2.0 adds a hundredth, 3.0
refuses it.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy
import pytest
from local_wheels import local_wheel

from matrix.core.records import Part, Stage
from matrix.plan import stages
from matrix.plan.backends.backend import (
    INPUT,
    OUTPUT,
    Axis,
    Backend,
    EnvironmentCost,
    EnvironmentKind,
    ModelForm,
    StageKind,
)
from matrix.plan.backends.iree.names import MLIR
from matrix.plan.backends.iree.values import release_values
from matrix.plan.backends.shared import BARE, MODEL_AXIS, PYTHON_AXIS, TARGET_AXIS
from matrix.plan.catalogue import Model

ROOT = Path(__file__).parents[2]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
RELEASES = {
    "1.0": "print('converted'); open('model.scaled', 'w').write(word)",
    "2.0": "open('model.scaled', 'w').write(str(round(float(word) * 1.01, 3)))",
    "3.0": "raise SystemExit(f'scaler: error: unknown operation scale of {word}')",
}
CONVERTER = "def main():\n    word = open('module.mlir').readline().split()[-1]\n    {}\n"
RUNS = """
import ast, pathlib, struct
scale = float(pathlib.Path("model.scaled").read_text())
for path in sorted(pathlib.Path().glob("input_*.npy")):
    content = path.read_bytes()
    start = 10 + struct.unpack("<H", content[8:10])[0]
    count = (len(content) - start) // 4
    values = struct.unpack(f"<{count}f", content[start:])
    made = content[:start] + struct.pack(f"<{count}f", *(scale * value for value in values))
    path.with_name(path.name.replace("input", "output")).write_bytes(made)
"""
SIGNATURES = """
[scaler-operation]
pattern = "scaler: error: unknown operation (?P<operation>\\\\w+)"
code = "sc"
means = "the converter does not know the operation {operation}"
legend = "the converter does not know an operation"
next = "use another release of scaler"
"""
SPEC = f"""
format = 1
name = "both"
question = "Which releases of scaler are right, beside IREE?"
tools_python = "{PYTHON}"
[axes]
backend = ["iree", "scaler"]
model = "double"
python = "{PYTHON}"
scaler = "all"
[models.double]
mlir = "double.mlir"
inputs = "x.npy"
expected = "y.npy"
[table]
rows = "scaler"
columns = "backend"
"""


def scaler(folder: Path) -> Backend:
    """The record; its program and its signatures lie in `folder`."""
    return Backend(
        name="scaler",
        axes=(
            MODEL_AXIS,
            PYTHON_AXIS,
            Axis(name="scaler", package="scaler", released=True, value=release_values("scaler", "convert")),
            TARGET_AXIS,
        ),
        stages=(
            StageKind(
                name="convert",
                environment="converter",
                axes=("python", "scaler"),
                inputs=(MLIR,),
                outputs=("model.scaled",),
                needed=("model.scaled",),
                command=lambda _: ("scaler",),
            ),
            StageKind(
                name="infer",
                environment=BARE.name,
                inputs=("model.scaled", INPUT),
                outputs=(OUTPUT,),
                needed=(OUTPUT,),
                command=lambda _: ("python", "infer.py"),
                programs=(str(folder / "infer.py"),),
                after=("convert",),
                compared=True,
                on_target=True,
            ),
        ),
        environments=(
            EnvironmentKind(
                name="converter",
                axes=("scaler",),
                cost=EnvironmentCost(download_bytes=1_000, disk_bytes=100_000, seconds=0.2),
            ),
        ),
        forms=(ModelForm(name="mlir", suffixes=(".mlir",), artifact=MLIR),),
        model=_model,
        square=("scaler", "python"),
        signatures=str(folder / "scaler.toml"),
    )


def _model(_model: Model) -> Mapping[Stage, Part]:
    return {}


def lay_out(folder: Path, monkeypatch: pytest.MonkeyPatch, releases: Mapping[str, str] = RELEASES) -> Path:
    """The backend, its releases as wheels with locks beside IREE's, and a spec over both. Returns the spec's path."""
    (folder / "infer.py").write_text(RUNS)
    (folder / "scaler.toml").write_text(SIGNATURES)
    wheels, locks = folder / "wheels", folder / "data" / "images" / "locks"
    for place in (wheels, locks / "converter", folder / "data" / "results"):
        place.mkdir(parents=True)
    (folder / "data" / "scripts").symlink_to(ROOT / "scripts")
    for shipped in (ROOT / "images" / "locks").iterdir():
        if shipped.is_dir():
            (locks / shipped.name).symlink_to(shipped)
    for version, line in releases.items():
        files = {"scaler.py": CONVERTER.format(line)}
        wheel = local_wheel(wheels, "scaler", version, files, scripts="scaler = scaler:main")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        text = f"# pins: scaler=={version}\nscaler=={version} \\\n    --hash=sha256:{digest}\n"
        (locks / "converter" / f"{version}.txt").write_text(text)
    wish = '\n[converter]\npackage = "scaler"\nspecifier = ">=1"\nlowest_python = "3.9"\n'
    (locks / "wanted.toml").write_text((ROOT / "images" / "locks" / "wanted.toml").read_text() + wish)
    for name, value in {
        "IREE_MATRIX_DATA": folder / "data",
        "UV_FIND_LINKS": wheels,
        "UV_CACHE_DIR": folder / "cache",
        "UV_OFFLINE": 1,
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(stages, "BACKENDS", (*stages.BACKENDS, scaler(folder)))
    (folder / "double.mlir").write_text("// scales by 2.0\n")
    x = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
    numpy.save(folder / "x.npy", x)
    numpy.save(folder / "y.npy", 2 * x)
    spec = folder / "both.toml"
    spec.write_text(SPEC)
    return spec
