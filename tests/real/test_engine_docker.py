"""The engine of containers passes the contract of engines, and a matrix says the same in containers and in venvs."""

from __future__ import annotations

import json

import pytest
from command_line import RELEASES, good, wait_until_gone, write_spec
from containers import containers_of, daemon_or_skip, image_of, new_engine, wait_until_no_container
from engine_contract import EngineContract, compile_job, request_for

from matrix.errors import NoImage

pytestmark = pytest.mark.real

MOVING = {"3.10.0"}
"""Compilers whose module.vmfb differs from call to call, in a venv as in a container."""


@pytest.fixture(scope="module", autouse=True)
def daemon():
    daemon = daemon_or_skip()
    yield daemon
    daemon.close()


class TestDockerEngine(EngineContract):
    refusal = NoImage
    one_root = shared_by_all = True

    @staticmethod
    def new(folder, on_event):
        engine = new_engine(folder, on_event)
        for kind in ("compiler", "runtime"):  # as a run does: an engine starts jobs in what it was asked about
            engine.recipe(request_for(kind, "3.8.0"))
        return engine

    @staticmethod
    def gone(place):
        wait_until_gone(place)
        wait_until_no_container(place)

    def recipe_on_another_python(self, engine):
        """No table of layers is committed for another one here, and that is said."""
        with pytest.raises(NoImage, match=r"no base image for Python 3\.13"):
            engine.recipe(request_for("runtime", "3.8.0", python="3.13"))
        return "no recipe"

    def test_the_digest_is_the_image_that_the_daemon_has(self, made, place, daemon):
        for environment, kind in zip(made, ("compiler", "runtime"), strict=True):
            image = image_of(request_for(kind, "3.8.0"), place)
            assert environment.digest == image.digest
            assert daemon.find(image) in (f"sha256:{image.digest}", f"sha256:{image.manifest_digest}")

    def test_jobs_of_one_environment_share_a_container(self, driven, made, place):
        for number in (10, 11):
            job = compile_job(made[0], number=number)
            bad = {"module.mlir": place / "bad.mlir"}
            bad["module.mlir"].write_text("no MLIR")
            assert driven.do(job, made[0], bad).exit_code == 1
            driven.engine.discard(job)
        assert len(containers_of(place)) == 1


@pytest.fixture(scope="module")
def square(tmp_path_factory):
    """The same nine cells by both engines, from empty stores: the reports as data, by engine."""
    folder = tmp_path_factory.mktemp("square")
    spec = write_spec(folder / "spec")
    reports = {}
    for engine in ("venv", "docker"):
        ran = good("run", spec, "--store", folder / engine, "--engine", engine, "--format", "json")
        reports[engine] = json.loads(ran.out)
    assert containers_of(folder / "docker") == []
    return reports


def by_labels(report):
    """(compiler, runtime) -> cell, with its jobs in the place of their keys."""
    for cell in report["cells"]:
        cell["jobs"] = [report["jobs"][key] for key in cell["evidence"]["jobs"]]
    return {(cell["axes"]["compiler"], cell["axes"]["runtime"]): cell for cell in report["cells"]}


def test_both_engines_give_the_same_table(square):
    venv, docker = (by_labels(square[engine]) for engine in ("venv", "docker"))
    assert venv.keys() == docker.keys() == {(compiler, runtime) for compiler in RELEASES for runtime in RELEASES}
    for labels, cell in venv.items():
        assert (cell["outcome"], cell["signature"]) == (docker[labels]["outcome"], docker[labels]["signature"]), labels


def test_both_engines_make_the_same_artifacts(square):
    venv, docker = (by_labels(square[engine]) for engine in ("venv", "docker"))
    compared = 0
    for labels, cell in venv.items():
        for one, other in zip(cell["jobs"], docker[labels]["jobs"], strict=True):
            if one["stage"] == "compile" and labels[0] in MOVING:
                continue
            assert one["artifacts"] == other["artifacts"], (labels, one["stage"])
            compared += len(one["artifacts"])
    assert compared >= 6 + 3  # a module for each cell of two compilers, an output for each cell on the diagonal


def test_the_evidence_names_engine_and_image(square, tmp_path):
    images = {
        (kind, version): image_of(request_for(kind, version), tmp_path).digest
        for kind in ("compiler", "runtime")
        for version in RELEASES
    }
    for engine, report in square.items():
        for (compiler, runtime), cell in by_labels(report).items():
            for job in cell["jobs"]:
                assert job["engine"] == engine
                of_job = images["compiler", compiler] if job["stage"] == "compile" else images["runtime", runtime]
                assert (job["environment"] == of_job) == (engine == "docker")
