"""Standalone Pythons from a server of this machine: locked by the release's own sums, fetched, and put into a base."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from debian_archives import CONTENT, HELLO, lock_of, member, publish, serving
from layer_samples import TEXT, request_of, table, wheel

from matrix.core.errors import HashMismatch, ImageFault, IndexUnreachable, PackageGone, ResolutionRefused
from matrix.images.debian import archive as debian
from matrix.images.debian import python_archive
from matrix.images.debian.base_locking import fetch_base, lock_all_bases
from matrix.images.debian.layer import write_base_layer
from matrix.images.debian.lock import BaseLock, PythonArchive, base_text, read_base, stored_file
from matrix.images.debian.mirror import Sources
from matrix.images.layer_table import compute_image
from matrix.images.sbom import bill
from matrix.plan.locks import LockOutcome

GOOD = (
    member("python/bin/python3.12", b"\x7fELF", mode=0o755),
    member("python/bin/python3", kind=tarfile.SYMTYPE, mode=0o777, target="python3.12"),
    member("python/bin/also", kind=tarfile.LNKTYPE, target="python/bin/python3.12"),
    member("python/share/man/man1/python3.1", b"man"),
)
WANTED = """format = 1
machines = ["x86_64"]
packages = ["hello", "python{python}-minimal"]
exclude = []
[[base]]
python = "3.12"
suite = "bookworm"
standalone = true
"""


def archive_of(*members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def offer(folder: Path, content: bytes, sums: str = "{sha256}  {name}\n") -> Path:
    """Puts a build where uv says that the newest 3.12 lies, with the sums of its release."""
    release, name = unquote(python_archive._newest("3.12", "x86_64")[1]).split("/")[-2:]
    place = folder / release
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_bytes(content)
    if sums:
        (place / "SHA256SUMS").write_text(sums.format(sha256=hashlib.sha256(content).hexdigest(), name=name))
    return place / name


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Path]:
    folder = tmp_path / "builds"
    folder.mkdir()
    with serving(folder) as address:
        monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", f"{address}/")
        yield folder


def lock_with(archive: PythonArchive) -> BaseLock:
    lock = replace(lock_of(HELLO), python="3.12")
    return replace(lock, machines=(replace(lock.machines[0], python=archive),))


def layer_with(content: bytes, files: Path) -> tarfile.TarFile:
    archive = PythonArchive(version="3.12.1", path="1/x.tar.gz", size=1, sha256=hashlib.sha256(content).hexdigest())
    stored_file(files, archive).write_bytes(content)
    stored_file(files, HELLO).write_bytes(CONTENT)
    out = io.BytesIO()
    write_base_layer(lock_with(archive), "x86_64", files, out)
    return tarfile.open(fileobj=io.BytesIO(out.getvalue()))


def test_a_build_is_locked_by_the_sums_of_its_release_and_fetched_again(server, tmp_path):
    path = offer(server, archive_of(*GOOD))
    locked = python_archive.lock_python("3.12", "x86_64", tmp_path / "files")
    assert locked.path == f"{path.parent.name}/{path.name}"
    assert locked.version.startswith("3.12.")
    assert locked.size == path.stat().st_size
    path.unlink()
    assert stored_file(tmp_path / "files", locked).is_file()
    assert python_archive.fetch_python(locked, tmp_path / "files", named_in="a lock") == stored_file(
        tmp_path / "files", locked
    )
    with pytest.raises(PackageGone, match=r"3\.12\.\d+ of a lock: its server no longer has this file"):
        python_archive.fetch_python(locked, tmp_path / "others", named_in="a lock")
    stored_file(tmp_path / "files", locked).write_bytes(b"")
    with pytest.raises(HashMismatch, match="is damaged"):
        python_archive.fetch_python(locked, tmp_path / "files", named_in="a lock")


def test_a_lock_with_a_python_is_read_as_it_was_written(tmp_path):
    archive = PythonArchive(version="3.12.1", path="2026/cpython-3.12.1+2026-x.tar.gz", size=3, sha256="a" * 64)
    lock = lock_with(archive)
    (tmp_path / "3.12.toml").write_text(base_text(lock))
    assert read_base(tmp_path / "3.12.toml") == lock


@pytest.mark.parametrize(
    ("sums", "error", "said"),
    [
        ("", IndexUnreachable, "its release has no SHA256SUMS"),
        ("{sha256}  another\n", IndexUnreachable, "SHA256SUMS of its release does not name it"),
        ("0" * 64 + "  {name}\n", HashMismatch, "is not the file that SHA256SUMS names"),
    ],
)
def test_a_build_that_its_release_does_not_vouch_for_is_not_locked(server, tmp_path, sums, error, said):
    offer(server, archive_of(*GOOD), sums)
    with pytest.raises(error, match=said) as caught:
        python_archive.lock_python("3.12", "x86_64", tmp_path / "files")
    assert "UV_PYTHON_INSTALL_MIRROR" in caught.value.tip
    assert not list((tmp_path / "files").glob("*"))


def test_a_python_that_uv_does_not_know_is_named(tmp_path):
    with pytest.raises(ResolutionRefused, match=r"uv knows no standalone Python 3\.12 for vax"):
        python_archive.lock_python("3.12", "vax", tmp_path)


def test_its_files_lie_where_the_suites_own_python_lies(tmp_path):
    tar = layer_with(archive_of(*GOOD), tmp_path)
    assert [name for name in tar.getnames() if name.startswith("usr/")] == [
        "usr/bin",
        "usr/bin/also",
        "usr/bin/hello",
        "usr/bin/python3",
        "usr/bin/python3.12",
    ]
    assert tar.getmember("usr/bin/python3.12").linkname == "usr/bin/also"
    assert tar.getmember("usr/bin/python3").linkname == "python3.12"


REFUSED = {
    "beside": (member("bin/x", b"x"), r"bin/x lies outside of python/"),
    "leads outside": (member("python/../../x", b"x"), "leads outside"),
    "absolute": (member("/python/x", b"x"), "lies outside of python/"),
    "device": (member("python/null", kind=tarfile.CHRTYPE), "device node"),
    "setuid": (member("python/bin/su", b"x", mode=0o4755), "set-id"),
    "twice": (member("python/bin/python3.12", b"x"), "is there twice"),
    "climbing link": (member("python/x", kind=tarfile.SYMTYPE, target="../../etc/shadow"), "outside"),
    "hard link outside": (member("python/x", kind=tarfile.LNKTYPE, target="../etc/shadow"), "leads outside"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_hostile_archive_is_refused_by_name(tmp_path, case):
    bad, reason = REFUSED[case]
    with pytest.raises(ImageFault, match=reason) as caught:
        layer_with(archive_of(*GOOD, bad), tmp_path)
    assert str(caught.value).startswith("python: ")


@pytest.mark.parametrize("kept", [0, 100, 150])
def test_a_broken_archive_is_refused_by_name(tmp_path, kept):
    with pytest.raises(ImageFault, match=r"the standalone Python 3\.12\.1: it cannot be unpacked"):
        layer_with(archive_of(*GOOD)[:kept], tmp_path)


def lock_bases(folder: Path, files: Path, mirror: Path) -> dict[str, tuple[LockOutcome, str]]:
    folder.mkdir(exist_ok=True)
    (folder / "wanted.toml").write_text(WANTED)
    with serving(mirror) as address:
        changes = lock_all_bases(folder, files=files, source=Sources(mirrors=(address,)))
    return {change.name: (change.change, change.detail) for change in changes}


def test_bases_with_a_standalone_python_are_locked_where_it_is_reached(server, tmp_path, monkeypatch):
    monkeypatch.setattr(debian, "which", lambda program: None)  # what is published here is signed by nobody
    publish(tmp_path / "mirror", {HELLO: CONTENT})
    bases, files = tmp_path / "base", tmp_path / "files"
    change, reason = lock_bases(bases, files, tmp_path / "mirror")["base/3.12"]
    assert change is LockOutcome.SKIPPED
    assert reason.startswith("the standalone Python 3.12.")
    assert "\n" not in reason
    assert not (bases / "3.12.toml").exists()

    offer(server, archive_of(*GOOD))
    assert lock_bases(bases, files, tmp_path / "mirror") == {"base/3.12": (LockOutcome.ADDED, "")}
    lock = read_base(bases / "3.12.toml")
    assert lock.packages == ("hello",)
    assert len(fetch_base(lock, "x86_64", files)) == 2
    assert lock.on("x86_64").layer == f"sha256:{write_base_layer(lock, 'x86_64', files, None).digest}"
    assert lock_bases(bases, files, tmp_path / "mirror") == {"base/3.12": (LockOutcome.UNCHANGED, "")}


def test_a_bill_of_materials_names_the_python(tmp_path):
    archive = PythonArchive(version="3.12.1", path="2026/cpython-3.12.1+2026-x.tar.gz", size=3, sha256="a" * 64)
    lock = lock_with(archive)
    request = request_of(tmp_path, TEXT)
    image = compute_image(request, table(wheel("iree-base-runtime"), wheel("numpy", number=2)), lock)
    parts = {each["name"]: each for each in json.loads(bill([(request, image, lock)], machine="x86_64"))["components"]}
    assert parts["cpython"]["purl"] == "pkg:generic/cpython@3.12.1"
    assert parts["cpython"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert "hello" in parts
