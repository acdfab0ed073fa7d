"""The engine docker as a record. The client is imported only to talk to a daemon."""

from __future__ import annotations

import platform
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from matrix.core import processes
from matrix.core.errors import EngineMissing
from matrix.core.records import Toolchain
from matrix.engines.contract import Engine, tool_line
from matrix.engines.kind import EngineKind, EngineSetting, Feature, Finding, ImageWork, ManualRepeat, workshop

PING_SECONDS = 10.0


def _make(setting: EngineSetting) -> Engine:
    from matrix.engines.docker.engine import DockerEngine

    return DockerEngine(
        folder=setting.places.environments,
        scratch=setting.places.scratch,
        scripts=setting.scripts,
        slots=setting.slots,
        on_event=setting.on_event,
        offline=setting.offline,
        gpus=setting.gpus,
        workshop=workshop(setting.places),
        machine=platform.machine(),
    )


def _answers() -> bool:
    from matrix.engines.docker.daemon import Daemon

    try:
        Daemon().close()
    except EngineMissing:
        return False
    return True


def _shell_line(made: ManualRepeat) -> str:
    files = {**made.files, **({Path(made.model).name: Path(made.model)} if made.script else {})}
    copies = "".join(f"cp {shlex.quote(str(path))} $d/{shlex.quote(name)} && " for name, path in files.items())
    entry = "--entrypoint '' " if made.request.toolchain else ""
    gpus = "--gpus all " if made.request.driver else ""
    image = f"{gpus}{entry}--init --network none -v $d:/out -w /out sha256:{made.environment.digest}"
    line, mounted = tool_line(made.job.command, made.environment), ""
    if made.script:
        mounted = f"-v {shlex.quote(str(made.scripts))}:/scripts:ro "
        python = tool_line(("python",), made.environment)
        line = (*python, f"/scripts/{made.script}", Path(made.model).name, *made.words)
    return f"d=$(mktemp -d) && {copies}docker run --rm {mounted}{image} {shlex.join(line)}"


def _examine() -> Finding:
    """Client and daemon are two checks: often there is a client without a daemon."""
    if shutil.which("docker") is None:
        advice = "only --engine docker needs it; the default engine does not"
        return Finding(name="Docker", state="missing", found="not on the PATH", advice=advice)
    asked = processes.run(["docker", "version", "--format", "{{.Server.Version}}"], timeout=PING_SECONDS)
    if asked.ok and asked.stdout.strip():
        return Finding(name="Docker", state="ok", found=f"daemon {asked.stdout.strip()}")
    lines = asked.output.splitlines() or ["it does not answer"]
    advice = "start the daemon or join its group; only --engine docker needs it"
    return Finding(name="Docker", state="warning", found=f"client only: {lines[0]}", advice=advice)


def _image(verb: str, work: ImageWork) -> int:
    from matrix.engines.docker.image_verbs import DOCKER_VERBS

    return DOCKER_VERBS[verb](work)


def _find_images(images: Mapping[str, str], machine: str) -> dict[str, Toolchain]:
    from matrix.engines.docker.user_images import find_images

    return find_images(images, machine)


DOCKER = EngineKind(
    name="docker",
    title="Docker",
    make=_make,
    shell_line=_shell_line,
    takes=frozenset({Feature.IMAGES, Feature.DEVICES}),
    preferred=_answers,
    examine=_examine,
    image_verbs=frozenset({"plan", "build", "list", "verify", "push", "remove"}),
    image=_image,
    find_images=_find_images,
)
