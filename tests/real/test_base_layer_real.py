"""One base from the real mirror: the layer is the committed one, and its Python starts in a locked-down container."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException, ImageNotFound

from matrix.images.debian.base_locking import fetch_base
from matrix.images.debian.layer import write_base_layer
from matrix.images.debian.lock import read_base

pytestmark = pytest.mark.real
BASES = Path(__file__).parents[2] / "images" / "base"
NEEDED = """
import ctypes, hashlib, json, lzma, os, sqlite3, ssl, subprocess, sys, zoneinfo
assert subprocess.run("exit 7", shell=True).returncode == 7
assert sqlite3.connect(":memory:").execute("select 6 * 7").fetchone() == (42,)
assert zoneinfo.ZoneInfo("Europe/Berlin").key
ctypes.CDLL("libstdc++.so.6"), ctypes.CDLL("libgomp.so.1")
print(json.dumps([sys.version.split()[0], os.confstr("CS_GNU_LIBC_VERSION"), os.getuid(), ssl.OPENSSL_VERSION]))
"""


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    try:
        connected = docker.from_env()
        connected.ping()
    except DockerException as error:
        warnings.warn(f"NOT RUN: no Docker daemon answers: {error}", stacklevel=1)
        pytest.skip("no Docker daemon answers")
    yield connected
    connected.close()


def archive(layer: Path, diff_id: str, architecture: str) -> tuple[str, bytes]:
    """The image's ID, known before the daemon sees it, and its `docker load` archive."""
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"User": "65534:65534", "Labels": {"iree-matrix.test": "base"}},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest()
    manifest = json.dumps([{"Config": f"{name}.json", "RepoTags": None, "Layers": ["layer.tar"]}]).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, content in ((f"{name}.json", config), ("layer.tar", layer.read_bytes()), ("manifest.json", manifest)):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return f"sha256:{name}", out.getvalue()


@pytest.mark.parametrize("python", ["3.11"])
def test_the_layer_is_the_committed_one_and_its_python_starts(python, tmp_path, client):
    lock = read_base(BASES / f"{python}.toml")
    fetch_base(lock, "x86_64", tmp_path / "files")
    layer = tmp_path / "layer.tar"
    with layer.open("wb") as out:
        diff_id = f"sha256:{write_base_layer(lock, 'x86_64', tmp_path / 'files', out).digest}"
    assert diff_id == lock.on("x86_64").layer

    image, content = archive(layer, diff_id, "amd64")
    [loaded] = client.images.load(content)
    try:
        assert loaded.id == image
        said = client.containers.run(
            image,
            [f"python{python}", "-I", "-c", NEEDED],
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            tmpfs={"/tmp": "size=16m"},
            remove=True,
            init=True,
        )
        version, c_library, user, _ = json.loads(said)
        assert version.startswith(f"{python}.")
        assert c_library == f"glibc {lock.glibc}"
        assert user == 65534
    finally:
        client.images.remove(image, force=True)
    with pytest.raises(ImageNotFound):
        client.images.get(image)
