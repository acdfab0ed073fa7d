"""A user's own image as a value of an axis, by the documents' command line: here the project's own image under another
name, with the settings that images of users have, and with what can be wrong with them."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from command_line import DATA, ROOT, Ran, matrix
from containers import containers_of, daemon_or_skip, docker_command, new_engine
from engine_contract import Driven, job_of, request_for
from own_models import line

from matrix.core.errors import NotInstallable, ToolchainFault
from matrix.core.records import EnvironmentRequest, Lock
from matrix.engines.docker.daemon import Daemon
from matrix.engines.docker.user_images import find_image, look_inside
from matrix.images.image import image_tag

pytestmark = pytest.mark.real

MINE = "iree-matrix-tests"
AS_USERS_DO = ['ENTRYPOINT ["/bin/false"]', "ENV MARK=set HOME=/nowhere", "HEALTHCHECK CMD /bin/false", "USER 0"]
BROKEN = {"broken-python": "python3", "broken-tool": "iree-run-module"}
"""Image -> the program in it that is a script which ends badly."""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    daemon = daemon_or_skip()
    yield daemon
    daemon.close()


@pytest.fixture(scope="module")
def desk(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a user's files, and images of the tests' own, which go when the tests are over."""
    folder = tmp_path_factory.mktemp("own-image")
    for name, given in (("my.mlir", "linear.mlir"), ("x.npy", "linear_input.npy"), ("y.npy", "linear_expected.npy")):
        shutil.copy(DATA / given, folder / name)
    engine = new_engine(folder / "made", lambda event: None)
    request = request_for("runtime", "3.8.0")
    engine.realise(request)
    engine.close()
    api = daemon.client.api
    made = api.create_container(image_tag(request), ["x"])["Id"]
    api.commit(made, f"{MINE}/usual", changes=AS_USERS_DO)
    api.remove_container(made)
    for image, program in BROKEN.items():
        made = api.create_container(image_tag(request), ["x"])["Id"]
        api.put_archive(made, "/opt/env/bin", tar_of({program: b"#!/bin/sh\necho it is broken >&2\nexit 3\n"}))
        api.commit(made, f"{MINE}/{image}")
        api.remove_container(made)
    api.import_image_from_data(tar_of({"nothing": b""}), repository=f"{MINE}/empty")
    yield folder
    for image in ("usual", "empty", *BROKEN):
        api.remove_image(f"{MINE}/{image}")


def tar_of(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def ask(desk: Path, *words: str, verb: str = "run", image: str = "usual") -> Ran:
    """The documents' line, with an image of the tests and a compiler."""
    asked = line("--model my.mlir --inputs x.npy --expected y.npy --runtime image:")
    assert "image:my-iree" in asked
    named = [word.replace("image:my-iree", f"image:{MINE}/{image}") for word in asked]
    rest = () if verb == "why" else ("--format", "csv")
    return matrix(verb, *named, "--compiler", "3.8.0", *words, *rest, "--store", desk / "store", cwd=desk)


def outcomes(ran: Ran) -> list[tuple[str, str]]:
    return [(row["runtime"], row["outcome"]) for row in csv.DictReader(io.StringIO(ran.out))]


def test_an_image_of_ones_own_stands_beside_a_release(desk):
    ran = ask(desk, "--runtime", "3.8.0")
    assert sorted(outcomes(ran)) == [("3.8.0", "passed"), ("usual", "passed")], ran.err
    assert ran.jobs_run == 3  # the image's ID is another one, though the tools in it are the same
    assert ask(desk, "--runtime", "3.8.0").jobs_run == 0
    assert containers_of(desk / "store") == []


def test_the_evidence_is_the_images_id_and_the_pasted_line_runs_it(desk, daemon):
    docker_command()
    told = ask(desk, verb="why").out
    assert f"environment  {daemon.inspected(f'{MINE}/usual')['Id'].removeprefix('sha256:')}" in told
    pasted = told.partition("\nreproduce\n")[2].splitlines()[0]
    done = subprocess.run(["sh", "-c", pasted], cwd=desk, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "/bin/false" in pasted) == (0, False), done.stderr


@pytest.mark.parametrize(
    ("image", "kind", "said"),
    [
        ("empty", "runtime", "expected a Python from 3.9 on in it, .* neither python3 nor python is on its PATH"),
        ("broken-python", "runtime", "for the worker; python3 in it says: it is broken"),
        ("usual", "compiler", "expected iree-compile on its PATH"),
        ("broken-tool", "runtime", "iree-run-module of the image does not run: it is broken"),
    ],
)
def test_an_image_that_cannot_do_it_is_told(desk, daemon, image, kind, said):
    """One that lacks what is needed ends the run; where its tool does not run, that is a finding of its cells."""
    request = request_of(daemon, image, kind)
    faults = NotInstallable if image == "broken-tool" else ToolchainFault
    with pytest.raises(faults, match=said) as caught:
        look_inside(daemon, request, request.toolchain, script=ROOT / "scripts" / "look.py", labels={})
    assert faults is NotInstallable or len(caught.value.tip) > 10


def request_of(daemon: Daemon, image: str, kind: str = "runtime") -> EnvironmentRequest:
    own = find_image(daemon, "mine", f"{MINE}/{image}", "x86_64")
    lock = Lock(name="own/mine", path=own.path, digest=own.digest, pins=())
    return EnvironmentRequest(kind=kind, python="3.11", lock=lock, toolchain=own)


def test_a_job_has_the_images_variables_and_no_more_rights(desk, daemon):
    (desk / "driven").mkdir()
    driven = Driven(new_engine, desk / "driven")
    environment = driven.engine.realise(request_of(daemon, "usual"))
    code = "import os; print(os.environ['MARK'], os.environ['PATH'], os.environ['HOME'], os.getuid() > 0)"
    job = job_of("run", environment, ("python", "-I", "-c", code))
    end = driven.do(job, environment, {})
    driven.engine.terminate()
    assert end.log == "set /opt/env/bin:/usr/bin:/bin /tmp True\n"


def test_an_image_without_the_tools_ends_the_run_with_one_message(desk):
    ran = ask(desk, image="empty")
    assert (ran.status, ran.out, ran.err.count("ERROR ")) == (2, "", 1), ran.err
    assert re.search(r"^ERROR toolchain empty: read image .*\nTIP install one in the image", ran.err, re.MULTILINE)
    assert containers_of(desk / "store") == []
