"""A user's own packages beside a model: a folder and an sdist are built, a wheel is taken, and the real resolver locks
them. What installs torch is of the second tier."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from command_line import ROOT
from local_wheels import local_wheel
from own_models import ask, cells, outcomes

from matrix.core.errors import ModelUnusable
from matrix.core.keys import sha256
from matrix.core.records import EnvironmentRequest, Lock
from matrix.environments.index import configured_index
from matrix.environments.interpreters import running, uv_binary
from matrix.environments.resolving import resolve_missing
from matrix.plan.locks import OWN_WHEELS, load_locks, pinned_packages
from matrix.run.own.models import packages_of

pytestmark = pytest.mark.real

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "my-layers"
version = "1.0"
"""
MODEL = """
import my_layers
import torch

PACKAGES = ("./layers",)


def model():
    torch.manual_seed(0)
    return torch.nn.Linear(8, my_layers.WIDTH)


def inputs():
    return (torch.ones(2, 8),)
"""


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with a package."""
    (tmp_path / "layers" / "my_layers").mkdir(parents=True)
    (tmp_path / "layers" / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "layers" / "my_layers" / "__init__.py").write_text("WIDTH = 4\n")
    return tmp_path


def extended(desk: Path, *words: str) -> Lock:
    model = desk / "model.py"
    model.write_text(f"PACKAGES = {words!r}\n")
    locks = load_locks(ROOT / "images" / "locks", desk / "locks")
    base = locks.find("exporter", {"torch": "2.9.1", "iree-turbine": "3.9.0"})
    assert base is not None
    return locks.with_packages(base, packages_of(model), "3.11")


def resolved(desk: Path, *words: str) -> Lock:
    request = EnvironmentRequest(kind="exporter", python="3.11", lock=extended(desk, *words))
    assert resolve_missing([request], configured_index(), print) == (request.lock.path,)
    return extended(desk, *words)


def own(lock: Lock) -> tuple[str, frozenset[str]]:
    """The version and the hashes of the own package in a lock."""
    (found,) = (each for each in pinned_packages(lock, python="3.11", machine="x86_64") if each.name == "my-layers")
    return found.version, found.hashes


def wheels(desk: Path) -> list[Path]:
    return sorted((desk / "locks" / OWN_WHEELS).glob("*/*.whl"))


def test_a_folder_is_built_and_locked_and_a_change_is_another_lock(desk):
    before = set((desk / "layers").rglob("*"))
    lock = resolved(desk, "./layers")
    assert lock.name.startswith("exporter/torch-2.9.1+turbine-3.9.0+my-layers-1.0")
    (wheel,) = wheels(desk)
    assert own(lock) == ("1.0", {sha256(wheel)})
    assert lock.places == (f"--find-links={wheel.parent}",)
    assert set((desk / "layers").rglob("*")) == before  # its build wrote elsewhere
    (desk / "layers" / "my_layers" / "__init__.py").write_text("WIDTH = 5\n")
    assert not extended(desk, "./layers").digest
    assert own(resolved(desk, "./layers")) != own(lock)
    assert len(wheels(desk)) == 2


def test_an_sdist_is_built_and_a_wheel_is_taken(desk):
    subprocess.run([uv_binary(), "build", "--sdist", desk / "layers", "--out-dir", desk, "-q"], check=True, timeout=300)
    lock = resolved(desk, "./my_layers-1.0.tar.gz", "einops==0.8.0")
    assert own(lock) == ("1.0", {sha256(wheels(desk)[0])})
    given = local_wheel(desk, "my-layers", "2.0", {"my_layers.py": "WIDTH = 4\n"})
    assert own(resolved(desk, f"./{given.name}")) == ("2.0", {sha256(given)})


def test_a_package_of_an_index_with_the_same_name_is_not_taken(desk):
    """`einops` of the index has other bytes under this version."""
    given = local_wheel(desk, "einops", "0.8.0", {"einops.py": "ours = True\n"})
    lock = resolved(desk, f"./{given.name}")
    (found,) = (each for each in pinned_packages(lock, python="3.11", machine="x86_64") if each.name == "einops")
    assert found.hashes == {sha256(given)}
    place = desk / "venv"
    index = configured_index()
    index.venv(place, running().path)
    text = next(part for part in lock.path.read_text().split("\n") if part.startswith("einops=="))
    (desk / "only.txt").write_text(f"{text}\n    --hash=sha256:{sha256(given)}\n")
    only = Lock(name=lock.name, path=desk / "only.txt", digest="", pins=lock.pins)
    index.at(lock.places).install(place, only)
    assert next(place.rglob("einops.py")).read_text() == "ours = True\n"


def test_a_folder_that_does_not_build(desk):
    (desk / "layers" / "pyproject.toml").write_text(PROJECT.replace('"1.0"', '"no version"'))
    with pytest.raises(ModelUnusable, match=r"PACKAGES: \S+layers does not build: ") as caught:
        resolved(desk, "./layers")
    assert "uv build --wheel" in caught.value.tip
    assert not wheels(desk)


@pytest.mark.full
def test_a_model_with_a_package_of_its_own_folder(desk):
    (desk / "my.py").write_text(MODEL)
    words = ("--model", desk / "my.py", "--compiler", "3.13.0", "--runtime", "3.13.0")
    first = ask(desk, *words, timeout=900.0)
    assert outcomes(first) == [("passed", "run", "")], first.err
    assert ask(desk, *words).jobs_run == 0
    (desk / "layers" / "my_layers" / "__init__.py").write_text("WIDTH = 5\n")
    again = ask(desk, *words, timeout=900.0)
    assert outcomes(again) == [("passed", "run", "")], again.err
    assert again.jobs_run == 3
    assert cells(again) != cells(first)
