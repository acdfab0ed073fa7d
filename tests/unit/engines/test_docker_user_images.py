"""A user's own image as a toolchain, without a daemon: its names, what a daemon tells of it, and the look inside."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from samples import catalogue, spec_of

from matrix.core.errors import EngineMissing, NoImage, ToolchainFault
from matrix.core.records import EnvironmentRequest, Lock, Toolchain
from matrix.engines.docker.images import Images
from matrix.engines.docker.user_images import WORKER_MODULES, find_image, find_images
from matrix.engines.venv.engine import VenvEngine
from matrix.images.layer_table import compute_image
from matrix.plan.graph import make_plan
from matrix.plan.question import Question, ask
from matrix.plan.user_inputs import image_of as image_named
from matrix.plan.user_inputs import is_toolchain, toolchain_name

SCRIPTS = Path(__file__).parents[3] / "scripts"
OWN = Toolchain(name="mine", path=Path("team/iree:1"), digest="1" * 64, in_image=True)
FOLDER = Toolchain(name="mine", path=Path("build"), digest="2" * 64)


def request_of(toolchain: Toolchain) -> EnvironmentRequest:
    lock = Lock(name=f"own/{toolchain.name}", path=toolchain.path, digest=toolchain.digest, pins=())
    return EnvironmentRequest(kind="runtime", python="3.11", lock=lock, toolchain=toolchain)


# -- its names


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("my-iree", "my-iree"),
        ("example.org:5000/team/iree:3.14-dev", "iree-3.14-dev"),
        (f"team/iree@sha256:{'a' * 64}", "iree"),
        (f"sha256:{'a' * 64}", "a" * 12),
        ("9" * 64, f"own-{'9' * 12}"),
    ],
)
def test_an_image_is_named_by_what_says_something(image, name):
    assert is_toolchain("runtime", f"image:{image}")
    assert image_named(f"image:{image}") == image
    assert toolchain_name(f"image:{image}", ()) == name
    assert toolchain_name(f"image:{image}", (name,)) == f"{name}-2"


def test_an_image_of_the_command_line_is_a_value_with_a_name():
    spec = ask(spec_of(), Question(axes={"runtime": ("3.0.0", "image:team/iree:1")}), shipped=())
    assert spec.axes["runtime"] == ("3.0.0", "iree-1")
    assert spec.toolchains == {"iree-1": "image:team/iree:1"}
    assert spec.options == ("--runtime", "3.0.0", "--runtime", "image:team/iree:1")


def test_a_spec_names_one_too():
    spec = spec_of("[axes]\nruntime = 'mine'\n[toolchains.mine]\nimage = 'team/iree:1'\n")
    assert spec.toolchains == {"mine": "image:team/iree:1"}


# -- what a daemon tells of it


class Told:
    """A daemon with one image."""

    def __init__(self, *, volumes=None, architecture="amd64"):
        self.said = {
            "Id": f"sha256:{'1' * 64}",
            "Architecture": architecture,
            "Config": {"Volumes": volumes, "Env": ["PATH=/bin"]},
        }

    def inspected(self, name):
        return self.said if name == "team/iree:1" else None


def test_an_image_is_known_by_its_id():
    assert find_image(Told(), "mine", "team/iree:1", "x86_64") == OWN


@pytest.mark.parametrize(
    ("daemon", "image", "said"),
    [
        (
            Told(),
            "team/iree:2",
            "read image 'team/iree:2', expected the name or the ID of an image that the daemon has",
        ),
        (
            Told(architecture="arm64"),
            "team/iree:1",
            "expected an image for amd64, the architecture of this machine; it is for arm64",
        ),
        (
            Told(volumes={"/b": {}, "/a": {}}),
            "team/iree:1",
            "an image without volumes; in /a, /b a job would find files of the job before it",
        ),
    ],
)
def test_an_image_that_cannot_be_used_is_named(daemon, image, said):
    with pytest.raises(ToolchainFault, match="toolchain mine: ") as caught:
        find_image(daemon, "mine", image, "x86_64")
    assert said in str(caught.value)
    assert caught.value.tip


def test_without_a_daemon_the_message_names_the_image(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(EngineMissing, match="the image 'team/iree:1' needs a container daemon") as caught:
        find_images({"mine": "team/iree:1"}, "x86_64")
    assert "DOCKER_HOST" in caught.value.tip


# -- which engine runs it


def test_the_engine_venv_says_which_one_runs_an_image(tmp_path):
    engine = VenvEngine(
        folder=tmp_path, scratch=tmp_path, scripts=SCRIPTS, workshop=bool, slots=1, on_event=print, offline=True
    )
    with pytest.raises(EngineMissing, match="toolchain mine: the engine venv takes no tools from a cont") as caught:
        engine.recipe(request_of(OWN))
    assert "--engine docker" in caught.value.tip


def test_the_engine_docker_knows_an_image_by_its_id_and_takes_no_folder():
    images = Images(workshop=None, machine="x86_64", look=SCRIPTS / "look.py", labels={}, ending=bool)
    other = Toolchain(name="mine", path=Path("team/iree:1"), digest="3" * 64, in_image=True)
    assert images.recipe(request_of(OWN)) == images.recipe(request_of(OWN)) != images.recipe(request_of(other))
    with pytest.raises(EngineMissing, match="toolchain mine: the engine docker takes no tools from a folder") as caught:
        images.recipe(request_of(FOLDER))
    assert "--engine venv" in caught.value.tip


@pytest.mark.parametrize("toolchain", [OWN, FOLDER])
def test_no_image_is_made_of_tools_of_ones_own(toolchain):
    with pytest.raises(NoImage, match="no image is made of a user's own tools"):
        compute_image(request_of(toolchain), None, None)


def test_a_plan_has_an_environment_of_the_image():
    from dataclasses import replace

    spec = spec_of("[axes]\nmodel = 'given'\ncompiler = '3.0.0'\nruntime = 'mine'\n[toolchains.mine]\nimage = 'x'\n")
    plan = make_plan(spec, replace(catalogue(), toolchains={("runtime", "mine"): OWN}))
    (request,) = (each for each in plan.environments() if each.kind == "runtime")
    assert (request.label, request.toolchain) == ("own/mine", OWN)


def test_the_look_asks_for_every_module_that_the_worker_imports():
    found, files = set(), ["worker"]
    for name in files:
        for node in ast.walk(ast.parse((SCRIPTS / f"{name}.py").read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for each in {every.partition(".")[0] for every in names}:
                if not (SCRIPTS / f"{each}.py").exists():
                    found.add(each)
                elif each not in files:
                    files.append(each)
    assert set(WORKER_MODULES) == found
