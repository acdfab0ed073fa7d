"""Small wheels in a folder, which uv installs without an index."""

from __future__ import annotations

import base64
import hashlib
import shutil
import zipfile
from collections.abc import Iterable
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


def hashed(text: str | bytes) -> str:
    content = text.encode() if isinstance(text, str) else text
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def local_index(folder: Path, wheels: Iterable[Path]) -> str:
    """The address of an index of these wheels with their hashes, as a registry has them."""
    by_name: dict[str, list[Path]] = {}
    for path in wheels:
        by_name.setdefault(path.name.split("-")[0].replace("_", "-"), []).append(path)
    folder.mkdir(exist_ok=True)
    for name, paths in by_name.items():
        links = (f"{path.as_uri()}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths)
        page = "".join(f'<a href="{link}">{path.name}</a><br>\n' for link, path in zip(links, paths, strict=True))
        (folder / name).mkdir()
        (folder / name / "index.html").write_text(f"<!DOCTYPE html><html><body>{page}</body></html>")
    return folder.as_uri() + "/"


def repacked(wheel: Path, folder: Path, version: str) -> Path:
    """A real release's wheel under another version, as a nightly build comes: the same files, another file name,
    METADATA and RECORD. What is packed stays packed: a wheel's metadata stands at its end."""
    name, before, *tags = wheel.stem.split("-")
    place = folder / "-".join((name, version, *tags))
    place = place.with_name(place.name + ".whl")
    shutil.copyfile(wheel, place)
    old, new = f"{name}-{before}.dist-info/", f"{name}-{version}.dist-info/"
    with zipfile.ZipFile(place, "a") as archive:
        info = {each: archive.read(each) for each in archive.namelist() if each.startswith(old)}
        rows = archive.read(f"{old}RECORD").decode().splitlines(keepends=True)
        gone = [archive.NameToInfo.pop(each) for each in info]
        archive.filelist = [each for each in archive.filelist if each not in gone]
        archive.start_dir = min(each.header_offset for each in gone)
        assert all(each.header_offset < archive.start_dir for each in archive.filelist), wheel
        del info[f"{old}RECORD"]
        said = info[f"{old}METADATA"].decode()
        info[f"{old}METADATA"] = said.replace(f"\nVersion: {before}\n", f"\nVersion: {version}\n").encode()
        for each, content in info.items():
            archive.writestr(each.replace(old, new), content)
        kept = [row for row in rows if not row.startswith(old)]
        kept += [
            f"{each.replace(old, new)},sha256={hashed(content)},{len(content)}\n" for each, content in info.items()
        ]
        archive.writestr(f"{new}RECORD", "".join(kept) + f"{new}RECORD,,\n")
    return place
