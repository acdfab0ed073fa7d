"""The image of a tested environment, in words. Reads files only."""

from __future__ import annotations

from pathlib import Path

from matrix.answers.pins.requirements import LockedEnvironment
from matrix.core.errors import NoImage
from matrix.images.debian.lock import load_bases
from matrix.images.image import image_tag
from matrix.images.layer_table import compute_image, read_layer_table


def image_words(environment: LockedEnvironment, images: Path) -> str:
    """`iree-matrix/…:tag sha256:…`, computed from the committed layers, or the reason why there is no image."""
    table = read_layer_table(images / "layers", environment.request.python, environment.machine)
    base = next((base for base in load_bases(images / "base") if base.python == environment.request.python), None)
    try:
        image = compute_image(environment.request, table, base)
    except NoImage as error:
        return f"none: {error}"
    return f"{image_tag(environment.request)} sha256:{image.digest}"
