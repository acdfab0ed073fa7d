"""A layer is a function of its wheel: not of the folder, the umask, the time zone or the hash seed."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from wheelsamples import FILES, make_wheel, unpack

from matrix.core.errors import HashMismatch
from matrix.environments.wheels import FetchedFiles
from matrix.images.layer import skeleton_tree, write_tree
from matrix.images.layer_files import Reader, first_damaged, first_difference, layer_files, layer_in_archive


def test_other_bytes_are_another_layer(tmp_path):
    (tmp_path / "a").mkdir()
    one = unpack(make_wheel(tmp_path / "a"), tmp_path)
    other = unpack(make_wheel(tmp_path, {**FILES, "small/__init__.py": b"x = 1\n"}), tmp_path)
    difference = first_difference(layer_files(Reader([one])), layer_files(Reader([other])))
    # RECORD sorts before it: `-` comes before `/`.
    assert difference.startswith("opt/env/lib/python3.11/site-packages/small-1.0.dist-info/RECORD: sha256 is")


def test_a_skeleton_points_at_the_bases_python(tmp_path):
    out = io.BytesIO()
    with skeleton_tree(python="3.11", scratch=tmp_path) as tree:
        write_tree(tree, out)
    assert layer_files(Reader([out.getvalue()]))["opt/env/bin/python"][4] == "/usr/bin/python3.11"


def stored(wheel: Path, tmp_path: Path) -> tuple[FetchedFiles, str, Path]:
    """A folder of fetched files that holds a wheel."""
    files, digest = FetchedFiles(tmp_path / "files"), hashlib.sha256(wheel.read_bytes()).hexdigest()
    return files, digest, files.add(wheel, digest)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_wheel_truncated_in_the_store_is_refused(tmp_path, kept):
    files, digest, path = stored(make_wheel(tmp_path), tmp_path)
    assert files.find(digest) == path
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(HashMismatch, match=r"small-1\.0-py3-none-any\.whl"):
        files.find(digest)
    assert first_damaged(path) == "the archive's directory"


def test_a_byte_flipped_in_the_store_is_refused_and_its_file_named(tmp_path):
    files, digest, path = stored(make_wheel(tmp_path), tmp_path)
    assert first_damaged(path).startswith("no file")
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("small/data.bin").header_offset
    content = bytearray(path.read_bytes())
    content[place + 30 + len("small/data.bin") + 20] ^= 1
    path.write_bytes(content)
    with pytest.raises(HashMismatch, match=r"small-1\.0-py3-none-any\.whl"):
        files.find(digest)
    assert first_damaged(path) == "small/data.bin"


def test_a_layer_is_found_in_an_archive(tmp_path):
    layer = unpack(make_wheel(tmp_path), tmp_path)
    digest = hashlib.sha256(layer).hexdigest()
    for name in ("0123/layer.tar", f"blobs/sha256/{digest}"):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for path, content in (("blobs/sha256/config", b"{}" * 400), (name, layer), ("manifest.json", b"[]")):
                member = tarfile.TarInfo(path)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        archive = out.getvalue()
        blocks = [archive[at : at + 1000] for at in range(0, len(archive), 1000)]
        assert layer_in_archive(blocks, digest) == layer_files(Reader([layer]))
        assert layer_in_archive(blocks, "0" * 64) == {}


def test_the_first_difference_is_named():
    facts = ("0", 0o644, 0, 3, "", "aa")
    assert first_difference({"a": facts}, {"a": facts}) == ""
    assert first_difference({"a": facts, "b": facts}, {"a": facts}) == "b: only in what the files give"
    assert first_difference({}, {"b": facts}) == "b: only on the daemon"
    assert first_difference({"a": facts}, {"a": (*facts[:5], "bb")}) == "a: sha256 is aa, on the daemon bb"
