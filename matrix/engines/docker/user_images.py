"""A user's own image in place of a release: finds it by name, and inspects it.

The worker runs on the image's Python: a job must see only the image's C library, and another interpreter would bring
its own. The inspection (`scripts/look.py`) is a program for that Python too, confined like jobs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matrix.artifacts.json_reader import read_json
from matrix.core.errors import EngineMissing, ImageFault, NotInstallable, ToolchainFault
from matrix.core.records import Environment, EnvironmentRequest, Toolchain
from matrix.engines.channel import STDERR, STDOUT
from matrix.engines.docker.channel import ContainerChannel
from matrix.engines.docker.daemon import Confinement, Daemon
from matrix.engines.docker.kind import DOCKER
from matrix.environments.user_tools import PROBE_OPTIONS, version_in
from matrix.images.image import OCI_ARCHITECTURES
from matrix.plan.stages import axes, environments

PYTHONS = ("python3", "python")
"""The possible names of a Python on the image's PATH."""
OLDEST = (3, 9)
"""The oldest Python for the worker (`scripts/worker.py`)."""
WORKER_MODULES = (
    "__future__",
    "argparse",
    "collections",
    "contextlib",
    "ctypes",
    "faulthandler",
    "fcntl",
    "functools",
    "importlib",
    "json",
    "marshal",
    "numbers",
    "os",
    "platform",
    "resource",
    "selectors",
    "signal",
    "socket",
    "stat",
    "struct",
    "sys",
    "time",
    "traceback",
    "typing",
)
"""The modules of the standard library that the worker imports. A reduced Python may lack some."""
CONFINEMENT = Confinement(memory_bytes=2 << 30, scratch_bytes=64 << 20, file_bytes=64 << 20)
LOOK_SECONDS = 60.0
FIND = "`docker pull` fetches one, `docker build -t NAME .` builds one, `docker images` lists those that are there"
INSTALL = "install one in the image, for example `RUN apt-get install -y --no-install-recommends python3`"


def find_images(names: Mapping[str, str], machine: str) -> dict[str, Toolchain]:
    """The images of toolchains by name. Raises EngineMissing without a daemon, ToolchainFault."""
    try:
        daemon = Daemon()
    except EngineMissing as missing:
        name, image = next(iter(names.items()))
        raise EngineMissing(
            f"toolchain {name}: the image {image!r} needs a container daemon: {missing}",
            tip="start it (`dockerd`, `systemctl start docker`), set DOCKER_HOST, or name a folder with the tools",
        ) from None
    try:
        return {name: find_image(daemon, name, image, machine) for name, image in names.items()}
    finally:
        daemon.close()


def find_image(daemon: Daemon, name: str, image: str, machine: str) -> Toolchain:
    """The image that has this name on the daemon now, as its ID. Fetches nothing. Raises ToolchainFault."""
    said = daemon.inspected(image)
    if said is None:
        raise _fault(name, image, "the name or the ID of an image that the daemon has", FIND)
    here, there = OCI_ARCHITECTURES.get(machine, machine), said["Architecture"]
    if there != here:
        raise _fault(name, image, f"an image for {here}, the architecture of this machine; it is for {there}", FIND)
    if places := sorted((said["Config"] or {}).get("Volumes") or ()):
        said_so = f"an image without volumes; in {', '.join(places)} a job would find files of the job before it"
        raise _fault(name, image, said_so, "build it from a Dockerfile without VOLUME")
    return Toolchain(name=name, path=Path(image), digest=said["Id"].removeprefix("sha256:"), in_image=True)


def look_inside(
    daemon: Daemon, request: EnvironmentRequest, toolchain: Toolchain, *, script: Path, labels: Mapping[str, str]
) -> Environment | None:
    """The environment of a toolchain's image; None where the daemon does not have the image any more.

    `script` is `scripts/look.py`. Raises ToolchainFault where the image has no Python for the worker, or not the tool
    that the axis needs; NotInstallable where a tool does not run.
    """
    said = daemon.inspected(f"sha256:{toolchain.digest}")
    if said is None:
        return None
    axis = axes()[environments()[request.kind].axes[0]]
    tools = (axis.tool, *axis.tools_beside)
    found = _found(daemon, toolchain, tools, script, labels)
    if tools[0] not in found["tools"]:
        tip = f"set it where the image is built: `ENV PATH=/folder/of/the/tools:$PATH`; {tools[0]} must be executable"
        raise _fault(toolchain.name, str(toolchain.path), f"{tools[0]} on its PATH", tip)
    for tool, (status, answer) in found["answers"].items():
        if status != 0:
            last = (answer.splitlines() or [f"exit code {status}"])[-1]
            raise NotInstallable(f"{tool} of the image does not run: {last.replace(found['tools'][tool], tool)}")
    version = version_in(found["answers"].get("iree-compile", ("", ""))[1])
    places = {"python": found["python"], **found["tools"]}
    settings = [setting.partition("=") for setting in (said["Config"] or {}).get("Env") or ()]
    return Environment(
        request_label=request.label,
        engine=DOCKER.name,
        digest=toolchain.digest,
        root=Path("/"),
        python_version=found["version"],
        c_library=found["c_library"],
        tools={tool: place.lstrip("/") for tool, place in places.items()},
        distributions=(("iree-compile", version),) if version else (),
        variables=tuple((name, value) for name, _, value in settings),
    )


def _found(
    daemon: Daemon, toolchain: Toolchain, tools: Sequence[str], script: Path, labels: Mapping[str, str]
) -> dict[str, Any]:
    """The result of `scripts/look.py`. Raises ToolchainFault where the worker cannot run on the image's Python."""
    name, image = toolchain.name, str(toolchain.path)
    oldest = ".".join(str(part) for part in OLDEST)
    wanted = f"a Python from {oldest} on in it, for the worker"
    questions = {tool: PROBE_OPTIONS[tool] for tool in tools if tool in PROBE_OPTIONS}
    question = json.dumps({"modules": WORKER_MODULES, "tools": tools, "ask": questions})
    for python in PYTHONS:
        argv = [python, "-I", "-c", script.read_text(encoding="utf-8"), question]
        ran = _run(daemon, f"sha256:{toolchain.digest}", argv, labels)
        if ran is None:
            continue
        status, out, err = ran
        if status != 0:
            last = (err.splitlines() or [f"exit code {status}"])[-1]
            raise _fault(name, image, f"{wanted}; {python} in it says: {last}", INSTALL)
        try:
            found: dict[str, Any] = read_json(out)
            version = tuple(map(int, found["version"].split(".")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _fault(name, image, f"{wanted}; {python} in it says something else: {error!r}", INSTALL) from None
        if version < OLDEST:
            raise _fault(name, image, f"{wanted}; {python} in it is {found['version']}", INSTALL)
        if found["lacks"]:
            raise _fault(name, image, f"{wanted}; {python} in it lacks {', '.join(found['lacks'])}", INSTALL)
        return found
    raise _fault(name, image, f"{wanted}; neither {' nor '.join(PYTHONS)} is on its PATH", INSTALL)


def _run(daemon: Daemon, image: str, argv: Sequence[str], labels: Mapping[str, str]) -> tuple[int, str, str] | None:
    """Runs a program. Returns exit status, stdout and stderr; None where the image does not have the program."""
    container = daemon.create(image, argv, confinement=CONFINEMENT, mounts={}, labels=labels)
    try:
        channel = ContainerChannel(daemon, container)
    except ImageFault as fault:
        daemon.remove(container)
        if "not found" in str(fault) or "no such file" in str(fault).lower():
            return None
        raise
    said: dict[int, bytes] = {STDOUT: b"", STDERR: b""}
    try:
        while part := channel.read(LOOK_SECONDS):
            stream, data = part
            if not data:
                break
            said[stream] += data
        status = channel.wait(LOOK_SECONDS) if part else None
    finally:
        channel.close()
    out, err = (said[stream].decode(errors="replace") for stream in (STDOUT, STDERR))
    return (124, out, f"no end after {LOOK_SECONDS:g} s") if status is None else (status, out, err)


def _fault(name: str, image: str, expected: str, tip: str) -> ToolchainFault:
    return ToolchainFault(f"toolchain {name}: read image {image!r}, expected {expected}", tip=tip)
