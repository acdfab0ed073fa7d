"""Small wheels in a folder, which uv installs without an index."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path


def local_wheel(
    folder: Path, name: str, version: str, files: dict[str, str], *, tag: str = "py3-none-any", scripts=""
) -> Path:
    """A wheel as a build tool would write it; every file is executable."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    if scripts:
        content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{scripts}\n"
    path = folder / f"{name.replace('-', '_')}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        record = "".join(f"{file},sha256={hashed(text)},{len(text)}\n" for file, text in content.items())
        for file, text in {**content, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            member = zipfile.ZipInfo(file)
            member.external_attr = 0o100755 << 16
            archive.writestr(member, text)
    return path


def hashed(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
