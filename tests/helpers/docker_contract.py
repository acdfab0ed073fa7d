"""The contract of an engine, and what the engine `docker` promises beyond it."""

from __future__ import annotations

import pytest
from command_line import wait_until_gone
from containers import (
    containers_of,
    image_of,
    new_engine,
    wait_until_no_container,
)
from engine_contract import EngineContract, compile_job, request_for

from matrix.core.errors import NoImage


class DockerContract(EngineContract):
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
            driven.engine.clear(job)
        assert len(containers_of(place)) == 1
