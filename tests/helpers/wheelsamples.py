"""Wheels for tests: good ones, and such as nobody should ship."""

from __future__ import annotations

import base64
import hashlib
import io
import stat
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matrix.images.layer import write_tree
from matrix.images.wheel_layer import wheel_tree

FILES = {"small/__init__.py": b"", "small/tool": b"#!/bin/sh\n", "small/data.bin": bytes(range(256)) * 500}
INFO = "small-1.0.dist-info"
METADATA = {
    f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: small\nVersion: 1.0\n",
    f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{INFO}/entry_points.txt": b"[console_scripts]\nsmall = small:main\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a wheel beside the good ones. `mode` is a whole st_mode; `row` stands in RECORD for the true one."""

    name: str
    content: bytes = b"x"
    mode: int = stat.S_IFREG | 0o644
    row: str | None = None


def row_of(path: str, data: bytes, algorithm: str = "sha256") -> str:
    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode()
    quoted = f'"{path}"' if {",", "\n"} & set(path) else path
    return f"{quoted},{algorithm}={digest},{len(data)}\n"


def make_wheel(
    folder: Path,
    files: Mapping[str, bytes] = FILES,
    *,
    more: Sequence[Member] = (),
    metadata: Mapping[str, bytes] = METADATA,
    record: str = "",
    has_record: bool = True,
) -> Path:
    """A wheel of these files and members. `record` are further lines of RECORD."""
    folder.mkdir(parents=True, exist_ok=True)
    members = [
        *(Member(name=name, content=data, mode=stat.S_IFREG | _mode(name)) for name, data in files.items()),
        *(Member(name=name, content=data) for name, data in metadata.items()),
        *more,
    ]
    rows = [row_of(each.name, each.content) if each.row is None else each.row for each in members]
    wheel = folder / "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in members:
            info = zipfile.ZipInfo(each.name, (2020, 1, 1, 0, 0, 0))
            info.external_attr = each.mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, each.content)
        if has_record:
            lines = "".join(dict.fromkeys(rows)) + record + f"{INFO}/RECORD,,\n"
            archive.writestr(zipfile.ZipInfo(f"{INFO}/RECORD"), lines)
    return wheel


def _mode(name: str) -> int:
    return 0o755 if name.endswith("tool") else 0o644


def unpack(wheel: Path, scratch: Path) -> bytes:
    out = io.BytesIO()
    with wheel_tree(wheel, python="3.11", scratch=scratch) as tree:
        write_tree(tree, out)
    return out.getvalue()
