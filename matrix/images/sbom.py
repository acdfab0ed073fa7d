"""The content of images as a CycloneDX bill of materials: from the committed locks alone, always the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from matrix import __version__
from matrix.core.records import EnvironmentRequest
from matrix.images.debian.lock import BaseLock, DebFile, PythonArchive
from matrix.images.image import Image, ImageLayer

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

ImageRow = tuple[EnvironmentRequest, Image, BaseLock]
"""An environment, its image and the lock of its base."""


def bill(rows: Sequence[ImageRow], *, machine: str) -> str:
    """CycloneDX 1.6 as JSON: a container for each image, with its wheels and Debian packages as dependencies."""
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    known: dict[str, Component] = {}
    tree: list[tuple[Component, list[Component]]] = []
    for request, image, base in rows:
        locked = base.on(machine)
        parts = [_deb(deb, base) for deb in locked.debs] + ([_python(locked.python)] if locked.python else [])
        parts += [_wheel(part) for part in image.layers[2:]]
        parts = [known.setdefault(str(part.bom_ref.value), part) for part in parts]
        tree.append((_container(request, image), parts))
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, " ".join(image.digest for _, image, _ in rows)),
        metadata=BomMetaData(
            timestamp=datetime(1970, 1, 1, tzinfo=UTC),
            component=Component(name="iree-matrix", version=__version__, type=ComponentType.APPLICATION),
        ),
        components=[*known.values(), *(container for container, _ in tree)],
    )
    assert bom.metadata.component is not None
    bom.metadata.component.bom_ref.value = f"iree-matrix@{__version__}"
    bom.register_dependency(bom.metadata.component, [container for container, _ in tree])
    for container, parts in tree:
        bom.register_dependency(container, parts)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1) + "\n"


def _component(
    *, name: str, version: str, sha256: str, reference: str, address: str, properties: Iterable[tuple[str, str]]
) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY if address else ComponentType.CONTAINER,
        bom_ref=reference,
        purl=PackageURL.from_string(address) if address else None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
        properties=[Property(name=f"iree-matrix:{key}", value=value) for key, value in properties],
    )


def _container(request: EnvironmentRequest, image: Image) -> Component:
    return _component(
        name=request.label,
        version=__version__,
        sha256=image.digest,
        reference=f"image:{image.digest}",
        address="",
        properties=[("lock", f"sha256:{request.lock.digest}"), ("python", image.python_version)],
    )


def _wheel(part: ImageLayer) -> Component:
    from packaging.utils import parse_wheel_filename

    name, version, _, _ = parse_wheel_filename(part.made_of)
    return _component(
        name=name,
        version=str(version),
        sha256=part.source,
        reference=f"wheel:{part.source}",
        address=_address("pypi", "", name, str(version)),
        properties=[("file", part.made_of), ("layer", f"sha256:{part.layer.digest}")],
    )


def _deb(deb: DebFile, base: BaseLock) -> Component:
    qualifiers = {"arch": deb.architecture, "distro": base.suite}
    return _component(
        name=deb.package,
        version=deb.version,
        sha256=deb.sha256,
        reference=f"deb:{deb.sha256}",
        address=_address("deb", "debian", deb.package, deb.version, qualifiers),
        properties=[("file", deb.path)],
    )


def _python(archive: PythonArchive) -> Component:
    return _component(
        name="cpython",
        version=archive.version,
        sha256=archive.sha256,
        reference=f"python:{archive.sha256}",
        address=_address("generic", "", "cpython", archive.version),
        properties=[("file", archive.path)],
    )


def _address(kind: str, namespace: str, name: str, version: str, qualifiers: dict[str, str] | None = None) -> str:
    from packageurl import PackageURL

    return PackageURL(kind, namespace or None, name, version, qualifiers).to_string()
