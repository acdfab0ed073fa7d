"""Computes an image from its lock: the config and so the image ID, without a daemon. Pure.

The ID is the sha256 of the config, the config names the layers by their digests, and those are committed
(`images/layers/`). A daemon with the containerd image store uses the digest of the manifest as the ID instead; both are
computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matrix import __version__
from matrix.core.keys import canonical
from matrix.core.records import EnvironmentRequest
from matrix.images.layer import ENVIRONMENT, Layer

OCI_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64"}
"""`platform.machine()` -> the name of the architecture in images."""

LABEL_PREFIX = "org.iree-matrix"
"""The prefix of the project's labels. Everything that it creates has the label `<LABEL_PREFIX>.project`."""

EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayer:
    """A layer and its origin: `made_of` is `base`, `skeleton` or the file name of a wheel; `source` is its sha256."""

    layer: Layer
    made_of: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image, computed from a lock. `digest` is its ID without `sha256:`: the sha256 of `config`."""

    label: str
    digest: str
    config: bytes
    layers: tuple[ImageLayer, ...]
    python_version: str
    c_library: str
    tools: Mapping[str, str]
    distributions: tuple[tuple[str, str], ...]

    @property
    def size(self) -> int:
        """The bytes of all layers, uncompressed."""
        return sum(each.layer.size for each in self.layers)

    @property
    def manifest(self) -> bytes:
        """The OCI manifest of uncompressed layers. Its digest is the ID on a daemon with the containerd image store."""
        return canonical(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": f"sha256:{self.digest}",
                    "size": len(self.config),
                },
                "layers": [
                    {
                        "mediaType": "application/vnd.oci.image.layer.v1.tar",
                        "digest": f"sha256:{each.layer.digest}",
                        "size": each.layer.size,
                    }
                    for each in self.layers
                ],
            }
        )

    @property
    def manifest_digest(self) -> str:
        return hashlib.sha256(self.manifest).hexdigest()


def image_tag(request: EnvironmentRequest) -> str:
    """The tag of the image on a daemon."""
    release = request.lock.name.partition("/")[2].replace("+", "_")
    return f"iree-matrix/{request.kind}:{release}-py{request.python}"


def make_image(
    request: EnvironmentRequest,
    *,
    machine: str,
    layers: Sequence[ImageLayer],
    python_version: str,
    c_library: str,
    tools: Mapping[str, str],
    distributions: Sequence[tuple[str, str]],
) -> Image:
    """The image of an environment: its layers, lowest first, and labels that describe its origin."""
    config = _config(request, machine, layers)
    return Image(
        label=request.label,
        digest=hashlib.sha256(config).hexdigest(),
        config=config,
        layers=tuple(layers),
        python_version=python_version,
        c_library=c_library,
        tools=tools,
        distributions=tuple(distributions),
    )


def _config(request: EnvironmentRequest, machine: str, layers: Sequence[ImageLayer]) -> bytes:
    pins = {f"{LABEL_PREFIX}.pin.{package}": version for package, version in request.lock.pins}
    return canonical(
        {
            "architecture": OCI_ARCHITECTURES[machine],
            "os": "linux",
            "created": EPOCH,
            "config": {
                "Env": [
                    f"PATH=/{ENVIRONMENT}/bin:/usr/bin:/bin",
                    "LANG=C.UTF-8",
                    "TZ=UTC",
                    "PYTHONDONTWRITEBYTECODE=1",
                ],
                "WorkingDir": "/",
                "Labels": {
                    "org.opencontainers.image.title": f"IREE matrix: {request.label}",
                    "org.opencontainers.image.version": __version__,
                    "org.opencontainers.image.created": EPOCH,
                    f"{LABEL_PREFIX}.project": "iree-matrix",
                    f"{LABEL_PREFIX}.environment": request.label,
                    f"{LABEL_PREFIX}.lock": f"sha256:{request.lock.digest}",
                    f"{LABEL_PREFIX}.python": request.python,
                    f"{LABEL_PREFIX}.machine": machine,
                    **pins,
                },
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{each.layer.digest}" for each in layers]},
            "history": [{"created": EPOCH, "created_by": f"iree-matrix: {each.made_of}"} for each in layers],
        }
    )
