"""The flake as a user of Nix meets it: what it offers, and that a build of it starts on any machine."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from command_line import DATA, ROOT, good

from matrix.engines.nix.store import settings

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("nix")]

FEATURES = ("--extra-experimental-features", "nix-command flakes")


@pytest.fixture(scope="module")
def flake(tmp_path_factory):
    """What git has of this project, as a folder: a flake sees nothing else."""
    folder = tmp_path_factory.mktemp("flake")
    said = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, said.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def nix(*words, **options):
    argv = ["nix", *FEATURES, *settings().options, *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False, **options)


def test_it_offers_every_locked_environment_of_both_machines(flake):
    done = nix("flake", "show", "--json", f"path:{flake}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for machine in ("x86_64", "aarch64"):
        table = json.loads((ROOT / "images" / "nix" / f"3.11-{machine}.json").read_text())
        locks = {row["lock"].replace("/", "-").replace(".", "_").replace("+", "-") for row in table["environments"]}
        assert found["packages"][f"{machine}-linux"].keys() == {"default", *locks}
        assert found["apps"][f"{machine}-linux"].keys() == {"default", "matrix", "shell"}


def test_a_build_of_it_runs_a_module(flake, tmp_path):
    good("image", "build", "--engine", "nix", "--environment", "runtime/3.13.0", "--store", tmp_path / "store")
    done = nix("build", f"path:{flake}#runtime-3_13_0", "--out-link", tmp_path / "result")
    assert done.returncode == 0, done.stderr
    files = ("--module", DATA / "vmfb" / "plain-3.13.0.vmfb", "--input", f"@{DATA / 'linear_input.npy'}")
    argv = [tmp_path / "result" / "bin" / "iree-run-module", "--function=main", "--output=@out.npy", *joined(files)]
    subprocess.run(argv, cwd=tmp_path, env={}, check=True, timeout=60)
    assert (tmp_path / "out.npy").read_bytes() == (DATA / "linear_expected.npy").read_bytes()


def joined(words):
    return [f"{option}={value}" for option, value in zip(words[::2], words[1::2], strict=True)]


@pytest.mark.full
def test_the_matrix_and_a_shell_are_its_apps(flake, tmp_path):
    """Both need the project's own environment; the matrix then runs on nothing of this machine's Python."""
    chosen = [word for name in ("matrix", "compiler/3.13.0", "runtime/3.13.0") for word in ("--environment", name)]
    good("image", "build", "--engine", "nix", *chosen, "--store", tmp_path / "store", timeout=600)
    path = {"PATH": f"{Path(shutil.which('nix')).parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    said = nix("run", f"path:{flake}", "--", "whatis", str(DATA / "vmfb" / "plain-3.13.0.vmfb"), env=path)
    assert said.returncode == 0, said.stderr
    assert "3.13" in said.stdout
    script = "python -c 'import numpy, docker; print(1)' && iree-compile --version && iree-run-module --list_drivers"
    said = nix("run", f"path:{flake}#shell", "--", "-c", script, env={**path, "SHELL": "/bin/sh"})
    assert said.returncode == 0, said.stderr
    assert "3.13" in said.stdout
