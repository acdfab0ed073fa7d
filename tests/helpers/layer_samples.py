"""Tables of layers."""

from __future__ import annotations

from pathlib import Path

from matrix.core.records import EnvironmentRequest, Lock
from matrix.images.layer import Layer
from matrix.images.layer_table import (
    LayerTable,
    WheelLayer,
)


def wheel(name: str, *, number: int = 1, tools: tuple[str, ...] = ()) -> WheelLayer:
    return WheelLayer(
        name=name,
        version="1.0",
        file=f"{name.replace('-', '_')}-1.0-py3-none-any.whl",
        sha256=f"{number:064x}",
        size=10,
        layer=Layer(digest=f"{number + 100:064x}", size=1024),
        tools=tools,
    )


def table(*wheels: WheelLayer) -> LayerTable:
    layer = Layer(digest="b" * 64, size=4096)
    skeleton = Layer(digest="c" * 64, size=2048)
    return LayerTable(python="3.11", machine="x86_64", base=layer, skeleton=skeleton, wheels=wheels)


def request_of(folder: Path, lines: str) -> EnvironmentRequest:
    path = folder / "1.0.txt"
    path.write_text(lines, encoding="utf-8")
    lock = Lock(name="runtime/1.0", path=path, digest="d" * 64, pins=(("iree-base-runtime", "1.0"),))
    return EnvironmentRequest(kind="runtime", python="3.11", lock=lock)


TEXT = f"iree-base-runtime==1.0 \\\n    --hash=sha256:{1:064x}\nnumpy==1.0 \\\n    --hash=sha256:{2:064x}\n"
