"""Writes an image as a folder for other tools: an OCI image layout with uncompressed layers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from matrix.core.keys import canonical
from matrix.images.image import Image, ImageLayer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def write_layout(folder: Path, image: Image, *, tag: str, layer: Callable[[ImageLayer], Iterator[bytes]]) -> None:
    """Writes `oci-layout`, `index.json` and `blobs/sha256` into an empty folder; a layer is streamed from `layer`."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for each in {part.layer.digest: part for part in image.layers}.values():
        with (blobs / each.layer.digest).open("wb") as out:
            for block in layer(each):
                out.write(block)
    for content in (image.config, image.manifest):
        (blobs / hashlib.sha256(content).hexdigest()).write_bytes(content)
    (folder / "oci-layout").write_bytes(canonical({"imageLayoutVersion": "1.0.0"}))
    (folder / "index.json").write_bytes(
        canonical(
            {
                "schemaVersion": 2,
                "mediaType": INDEX,
                "manifests": [
                    {
                        "mediaType": MANIFEST,
                        "digest": f"sha256:{image.manifest_digest}",
                        "size": len(image.manifest),
                        "annotations": {"org.opencontainers.image.ref.name": tag},
                    }
                ],
            }
        )
    )
