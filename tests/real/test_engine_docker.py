"""The engine of containers passes the contract of engines, and a matrix says the same in containers and in venvs."""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import replace

import pytest
from command_line import RELEASES, good, matrix, rows, write_spec
from containers import (
    containers_of,
    daemon_or_skip,
    image_of,
    over_tcp,
    volumes_of,
)
from docker_contract import DockerContract
from engine_contract import job_of, request_for

pytestmark = pytest.mark.real

MOVING = {"3.10.0"}
"""Compilers whose module.vmfb differs from call to call, in a venv as in a container."""


@pytest.fixture(scope="module", autouse=True)
def daemon():
    daemon = daemon_or_skip()
    yield daemon
    daemon.close()


class TestDockerEngine(DockerContract):
    pass


class TestDockerEngineThatCopies(TestDockerEngine):
    """The same over a port: nothing is mounted, every file goes through the daemon."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def far(cls):
        with over_tcp() as address, pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", address)
            yield

    @pytest.fixture
    def endless(self, made, tmp_path):
        """A pipe cannot be copied."""
        environment = replace(made[0], tools={"python": "bin/python"})
        argv = ("python", "-c", "import time; time.sleep(600)")
        return job_of("compile", environment, argv, number=hash(tmp_path)), environment, {}

    @staticmethod
    def gone(place):
        TestDockerEngine.gone(place)
        assert volumes_of(place) == []

    def test_a_job_sees_nothing_of_the_one_before_it(self, driven, made, place):
        """Whatever it left, and however it closed that to others; its inputs it cannot write."""
        environment = replace(made[1], tools={"python": "bin/python"})
        leave = """
            import os
            os.makedirs("deep/er")
            open("deep/er/word", "w").write("left")
            open("wanted.txt", "w").write("brought")
            os.chmod("deep", 0)
            tries = (lambda: open("input", "w"), lambda: os.unlink("/job/in/input"), lambda: os.mkdir("/job/new"))
            for change in tries:
                try:
                    change()
                except OSError as error:
                    print("refused", error)
            """
        look = """
            import os
            print([name for top in ("in", "out") for _, *names in os.walk(f"/job/{top}") for name in sum(names, [])])
            """
        (place / "word").write_text("given")
        ends = []
        for number, code in enumerate((leave, look)):
            argv = ("python", "-I", "-c", textwrap.dedent(code))
            job = replace(job_of("run", environment, argv, number=number), outputs=("*.txt",))
            ends.append(driven.do(job, environment, {"input": place / "word"} if code is leave else {}))
            collected = driven.engine.collect(job)
            assert {name: path.read_text() for name, path in collected.items()} == (
                {"wanted.txt": "brought"} if code is leave else {}
            )
            driven.engine.clear(job)
        assert [end.exit_code for end in ends] == [0, 0], ends
        assert ends[0].log.count("refused") == 3
        assert ends[1].log == "[]\n"
        (container,) = containers_of(place)
        assert [(each["Type"], each["Destination"]) for each in container["Mounts"]] == [("volume", "/job")]
        assert (place / "word").read_text() == "given"


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


@pytest.mark.full
def test_the_disk_that_is_told_is_that_of_the_images(square, tmp_path):
    """As the daemon measures it, beside the layers as they are committed: shared ones once, whatever stood before."""
    disk = square["docker"]["disk"]
    assert disk["measured"] == "the run's environments, where the engine keeps them"
    assert (disk["budget_bytes"], disk["environments_dropped"]) == (None, 0)
    images = [
        image_of(request_for(kind, release), tmp_path) for kind in ("compiler", "runtime") for release in RELEASES
    ]
    chains = [tuple(each.layer for each in image.layers) for image in images]
    layers = {chain[: number + 1]: layer.size for chain in chains for number, layer in enumerate(chain)}
    assert disk["peak_bytes"] == pytest.approx(sum(layers.values()), rel=0.05)
    assert square["venv"]["disk"]["measured"] == "environments and their wheels"


def test_a_budget_below_the_missing_images_ends_the_run_before_anything_is_made(tmp_path, daemon):
    releases = ("2.9.0", "3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0")
    missing = [each for each in releases if not daemon.has(image_of(request_for("compiler", each), tmp_path))]
    if not missing:
        pytest.skip("NOT TESTED: all images stand already")
    spec = write_spec(tmp_path / "spec", compilers=missing[:1], runtimes=missing[:1])
    ran = matrix("run", spec, "--store", tmp_path / "store", "--engine", "docker", "--disk-budget", "0.3")
    assert (ran.status, ran.out) == (7, ""), ran.err
    assert re.search(
        r"^ERROR the engine docker keeps what it made: [12] are missing, about 0\.[56] GB, and", ran.err, re.M
    )
    assert "of a budget of 0.3 GB\nTIP give more with --disk-budget" in ran.err
    assert rows(tmp_path / "store") == {}
    assert not daemon.has(image_of(request_for("compiler", missing[0]), tmp_path))
    assert containers_of(tmp_path / "store") == []


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
