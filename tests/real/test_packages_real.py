"""Models that need packages beside torch, and `.onnx` files of torch's own exporter. What installs torch is of the
second tier; the resolver answers in the first."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from command_line import ROOT, good, new_store, standing
from containers import daemon_or_skip
from own_models import ask, cells, line, outcomes

from matrix.core.records import EnvironmentRequest, Lock
from matrix.environments.index import configured_index
from matrix.environments.interpreters import uv_binary
from matrix.environments.resolving import resolve_missing
from matrix.plan.locks import load_locks, pinned_packages

pytestmark = pytest.mark.real

LOCKS = ROOT / "images" / "locks"
PACKAGED = ROOT / "scripts" / "models" / "packaged"
TWO = ("--compiler", "3.12.0", "--compiler", "3.13.0", "--runtime", "3.13.0")


def resolved(place: Path, *packages: str) -> tuple[Lock, Lock]:
    """The newest exporter's lock, and what the real resolver makes of it and these packages."""

    def extended() -> tuple[Lock, Lock]:
        locks = load_locks(LOCKS, place)
        base = locks.find("exporter", {"torch": "2.9.1", "iree-turbine": "3.9.0"})
        assert base is not None
        return base, locks.with_packages(base, packages, "3.11")

    request = EnvironmentRequest(kind="exporter", python="3.11", lock=extended()[1])
    assert request.lock.digest == ""
    assert resolve_missing([request], configured_index(), print) == (request.lock.path,)
    return extended()


def wheels(lock: Lock) -> set[tuple[str, str]]:
    found = pinned_packages(lock, python="3.11", machine="x86_64")
    assert all(each.hashes for each in found)
    return {(each.name, each.version) for each in found}


def test_a_package_is_added_and_nothing_else_changes(tmp_path):
    base, lock = resolved(tmp_path, "einops>=0.8,<0.8.1")
    assert lock.name == "exporter/torch-2.9.1+turbine-3.9.0+einops-0.8.0.cuda"
    assert wheels(lock) - wheels(base) == {("einops", "0.8.0")}
    assert wheels(base) <= wheels(lock)


def test_a_package_that_wants_another_torch_is_refused_with_the_reason(tmp_path):
    _, lock = resolved(tmp_path, "torchvision==0.23.0")
    assert "torchvision==0.23.0" in lock.refusal
    assert "torch==2.8.0" in lock.refusal


# -- the second tier


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    """A folder with a user's file, and a store beside it."""
    folder = tmp_path_factory.mktemp("packages")
    new_store(folder / "store", shared)
    text = (PACKAGED / "bert_transformers.py").read_text()
    written = text.replace('PACKAGES = ("transformers",)', 'PACKAGES = ("transformers==4.56.2",)')
    assert written != text
    (folder / "my_bert.py").write_text(written)
    return folder


@pytest.mark.full
def test_a_small_transformers_model_of_a_users_file(desk):
    """A version that no committed lock has."""
    words = line("--model my_bert.py")
    assert words == shlex.split("--model my_bert.py --compiler '>=3.12'")
    ran = ask(desk, *words, "--runtime", "3.13.0", timeout=1500)
    assert outcomes(ran) == [("passed", "run", ""), ("passed", "run", "")], ran.err
    assert all(float(cell["error"]) < 1e-5 for cell in cells(ran))
    again = ask(desk, *words, "--runtime", "3.13.0", "--format", "json")
    assert again.jobs_run == 0
    assert "resolving" not in again.err
    jobs = json.loads(again.out)["jobs"].values()
    (export,) = [job for job in jobs if job["stage"] == "export"]
    assert export["lock"] == "exporter/torch-2.9.1+turbine-3.9.0+transformers-4.56.2.cuda"
    why = ask(desk, *words, "--runtime", "3.13.0", "compiler=3.13.0", verb="why")
    assert "transformers-4.56.2" in why.out
    docker = ask(desk, *words, "--runtime", "3.13.0", "--engine", "docker")
    assert {cell["outcome"] for cell in cells(docker)} <= {"untested", "blocked"}


@pytest.mark.full
def test_torchvisions_mobilenet_has_the_numbers_of_torch(desk):
    ran = ask(desk, "--model", "mobilenet_v2_torchvision", "--compiler", "3.13.0", "--runtime", "3.13.0", timeout=1500)
    assert outcomes(ran) == [("passed", "run", "")], ran.err


TO_ONNX = """
import importlib.util, sys, torch
path, out, how, opset = sys.argv[1:]
spec = importlib.util.spec_from_file_location("model", path)
file = importlib.util.module_from_spec(spec)
spec.loader.exec_module(file)
torch.onnx.export(file.model().eval(), file.inputs(), out, dynamo=how == "dynamo", opset_version=int(opset))
"""


@pytest.fixture(scope="module")
def to_onnx(desk: Path) -> list[str | Path]:
    """A command that makes an `.onnx`: the exporter's own torch, with onnx and onnxscript in a folder beside it."""
    words = ("--torch", "2.9.1", "--turbine", "3.9.0", "--store", desk / "store")
    good("export", "linear", "-o", desk / "l.mlir", *words, timeout=1500)
    folders = [path for path in standing(desk / "store") if path.name.startswith("exporter-torch-2.9.1+turbine-3.9.0.")]
    python = folders[0] / "bin" / "python"
    beside = desk / "beside"
    install = [uv_binary(), "pip", "install", "--quiet", "--no-deps", "--target", beside, "--python", python]
    packages = ["onnx==1.23.2", "onnxscript==0.7.2", "onnx-ir==1.1.0", "protobuf==7.36.2", "packaging==26.3"]
    subprocess.run([*install, *packages], check=True, timeout=300, env={**configured_index().environment})
    return ["env", f"PYTHONPATH={beside}", python, "-c", TO_ONNX]


@pytest.mark.full
@pytest.mark.parametrize(("model", "how", "opset"), [("mobilenet_v2", "script", "17"), ("linear", "dynamo", "20")])
def test_an_onnx_of_torchs_exporter(desk, to_onnx, model, how, opset):
    """The newer exporter leaves its weights in a file beside the `.onnx`."""
    path = desk / f"{how}.onnx"
    subprocess.run([*to_onnx, ROOT / "scripts" / "models" / f"{model}.py", path, how, opset], check=True, timeout=600)
    assert path.with_name(f"{how}.onnx.data").exists() == (how == "dynamo")
    ran = ask(desk, "--model", path, *TWO, timeout=900)
    assert outcomes(ran) == [("passed", "run", ""), ("passed", "run", "")], ran.out + ran.err
    assert all(float(cell["error"]) < 1e-4 for cell in cells(ran))


@pytest.mark.full
def test_an_onnx_in_containers_has_the_same_end(desk, to_onnx):
    daemon_or_skip().close()
    path = desk / "contained.onnx"
    subprocess.run([*to_onnx, ROOT / "scripts" / "models" / "linear.py", path, "dynamo", "20"], check=True, timeout=600)
    ran = ask(desk, "--model", path, "--compiler", "3.13.0", "--runtime", "3.13.0", "--engine", "docker", timeout=900)
    assert outcomes(ran) == [("passed", "run", "")], ran.out + ran.err
