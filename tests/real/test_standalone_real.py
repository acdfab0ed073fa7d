"""A Python that no suite has, from a server on this machine: locked, put into images, and IREE runs on it. Where there
is none, its cells say so."""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import http.server
import io
import json
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from command_line import ROOT, good, matrix, write_spec
from containers import daemon_or_skip

from matrix.core.errors import NotAllMeasured
from matrix.engines.docker.daemon import Daemon
from matrix.environments import interpreters
from matrix.environments.index import configured_index
from matrix.environments.wheels import FetchedFiles
from matrix.images.debian import mirror, python_archive
from matrix.images.debian.base_locking import lock_all_bases
from matrix.images.debian.lock import WANTED
from matrix.images.workshop import Workshop, lock_layers
from matrix.plan.locks import LockOutcome

pytestmark = pytest.mark.real
PYTHON, RELEASE = "3.12", "3.8.0"
LEFT_OUT = ("test", "__pycache__", "site-packages", "idlelib", "tkinter", "ensurepip", "pkgconfig")
TABLES = f'format = 1\n[[table]]\npython = "{PYTHON}"\nmachine = "x86_64"\nlocks = ["compiler/*", "runtime/*"]\n'
ROW = f'[[base]]\npython = "{PYTHON}"\nsuite = "bookworm"\nstandalone = true\n'


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    opened = daemon_or_skip()
    yield opened
    opened.close()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def offer(folder: Path) -> str:
    """An archive of this machine's own Python, laid out as standalone ones are, where uv says that the newest lies.
    Returns the version."""
    info = next(interpreters.find_all(PYTHON), None)
    if info is None:
        pytest.skip(f"NOT TESTED: no Python {PYTHON} on this machine to make an archive of")
    prefix = info.path.parents[1]
    release, name = unquote(python_archive._newest(PYTHON, "x86_64")[1]).split("/")[-2:]
    (folder / release).mkdir(parents=True)
    with tarfile.open(folder / release / name, "w:gz", compresslevel=1) as tar:
        tar.add(info.path, f"python/bin/python{PYTHON}")
        for library in prefix.glob("lib/libpython*.so*"):
            tar.add(library, f"python/lib/{library.name}")
        tar.add(
            prefix / "lib" / f"python{PYTHON}",
            f"python/lib/python{PYTHON}",
            filter=lambda member: None if {*LEFT_OUT} & set(member.name.split("/")) else member,
        )
    digest = hashlib.sha256((folder / release / name).read_bytes()).hexdigest()
    (folder / release / python_archive.SUMS).write_text(f"{digest}  {name}\n")
    return info.version


def data_of_its_own(folder: Path) -> Path:
    """Committed data that asks for this one base, and for images of one release on it."""
    for name in ("images", "scripts"):
        shutil.copytree(ROOT / name, folder / name)
    images = folder / "images"
    for path in (*images.glob("locks/compiler/*.txt"), *images.glob("locks/runtime/*.txt")):
        if path.stem != RELEASE:
            path.unlink()
    for path in (*images.glob("base/3.*.toml"), *images.glob("layers/*.json")):
        path.unlink()
    wanted = (images / "base" / WANTED).read_text()
    text = wanted[: wanted.index("[[base]]")].replace('["x86_64", "aarch64"]', '["x86_64"]')
    text = text.replace(
        '"libc6",', '"libc6", "libffi8", "zlib1g", "libbz2-1.0", "liblzma5",'
    )  # one made to be standalone brings these
    (images / "base" / WANTED).write_text(text + ROW)
    (images / "layers" / "wanted.toml").write_text(TABLES)
    return folder


@pytest.mark.full
def test_iree_runs_on_a_standalone_python(tmp_path, daemon, monkeypatch):
    version = offer(tmp_path / "builds")
    data, store = data_of_its_own(tmp_path / "data"), tmp_path / "store"
    shop = Workshop(
        images=data / "images",
        files=FetchedFiles(store / "files"),
        scratch=tmp_path,
        index=configured_index(),
        sources=mirror.find_sources(),
    )
    with serving(tmp_path / "builds") as address:
        monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", address)
        (base,) = lock_all_bases(shop.images / "base", files=shop.files.folder, source=shop.sources)
        assert (base.name, base.change) == (f"base/{PYTHON}", LockOutcome.ADDED)
    assert [change.change for change in lock_layers(shop, print)] == [LockOutcome.ADDED]

    spec = write_spec(tmp_path / "spec", compilers=[RELEASE], runtimes=[RELEASE])
    spec.write_text(spec.read_text().replace("[axes]", f'tools_python = "{PYTHON}"\n[axes]', 1))
    words = [spec, "--store", store, "--engine", "docker", "--format", "json"]
    images: set[str] = set()
    try:
        report = json.loads(good("run", *words, IREE_MATRIX_DATA=str(data)).out)
        assert [cell["outcome"] for cell in report["cells"]] == ["passed"]
        images = {job["environment"] for job in report["jobs"].values()}
        assert len(images) == 2
        for image in images:
            said = daemon.client.containers.run(
                image,
                ["/opt/env/bin/python", "-I", "-c", "import ctypes, sys; print(sys.version.split()[0], sys.prefix)"],
                network_mode="none",
                remove=True,
            )
            assert said.decode().split() == [version, "/opt/env"]
    finally:
        for image in images:
            daemon.client.images.remove(image, force=True)


def test_without_a_base_image_cells_are_untested_for_that_reason(tmp_path, daemon):
    spec = write_spec(tmp_path / "spec", compilers=[RELEASE], runtimes=[RELEASE])
    spec.write_text(spec.read_text().replace("[axes]", f'tools_python = "{PYTHON}"\n[axes]', 1))
    ran = matrix("run", spec, "--store", tmp_path / "store", "--engine", "docker", "--format", "csv")
    assert ran.status == NotAllMeasured.exit_code
    (row,) = csv.DictReader(io.StringIO(ran.out))
    assert (row["outcome"], row["stage"]) == ("untested", "compile")
    assert row["message"].startswith(f"no base image for Python {PYTHON}")
    assert f"some cells stay untested: no base image for Python {PYTHON}" in ran.err
