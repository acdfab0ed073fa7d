"""What engines share that run environments made from committed layers: which image a request has, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matrix.core.errors import EngineMissing
from matrix.core.records import Environment, EnvironmentRequest
from matrix.images.image import Image
from matrix.images.workshop import Workshop


def committed_image(request: EnvironmentRequest, workshop: Workshop, machine: str, *, engine: str) -> Image:
    """The image of a request. Raises EngineMissing for what only other engines make, NoImage."""
    if extended := request.lock.extends:
        raise EngineMissing(
            f"{request.lock.name}: no image of {extended.name} with {' '.join(request.lock.packages)} is committed",
            tip="packages of a model of one's own come with --engine venv, or into images/locks/wanted.toml",
        )
    if request.toolchain:
        raise EngineMissing(
            f"toolchain {request.toolchain.name}: the engine {engine} runs {RUNS[engine]}",
            tip="a folder or a wheel of one's own runs with --engine venv, an image (image:NAME) with --engine docker",
        )
    if request.build or request.built or request.linked:
        raise EngineMissing(
            f"the engine {engine} builds no runtime from source and repairs no linker",
            tip="such cells run with --engine venv",
        )
    if request.platform:
        raise EngineMissing(
            f"the engine {engine} runs environments of this machine only, none of {request.platform.machine}",
            tip="an emulated target runs with --engine venv",
        )
    return workshop.image(request, machine)


RUNS = {"docker": "images only", "nix": "environments from locks only"}


def environment_of(
    request: EnvironmentRequest,
    image: Image,
    *,
    engine: str,
    digest: str,
    root: Path,
    tools: Mapping[str, str] | None = None,
    evidence: tuple[tuple[str, object], ...] = (),
) -> Environment:
    """An environment with the files of an image, at `root`; `tools` where they are others than the image's."""
    return Environment(
        request_label=request.label,
        engine=engine,
        digest=digest,
        root=root,
        python_version=image.python_version,
        c_library=image.c_library,
        tools=image.tools if tools is None else tools,
        distributions=image.distributions,
        evidence=evidence,
    )
