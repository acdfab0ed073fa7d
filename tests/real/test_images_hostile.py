"""Bad packages on their way to a real daemon: refused and named, and nothing of them stands anywhere."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import ROOT
from containers import daemon_or_skip, workshop
from debian.arfile import ArFile

from matrix.cli.main import main
from matrix.core.errors import HashMismatch, ImageFault
from matrix.core.records import EnvironmentRequest
from matrix.engines.committed import Committed
from matrix.engines.docker.daemon import Daemon
from matrix.images.debian.lock import read_base
from matrix.images.image import Image
from matrix.plan.locks import load_locks
from matrix.run.planning import Question, plan_of

pytestmark = pytest.mark.real
ENVIRONMENT = "runtime/3.8.0"
WHEEL, PACKAGE = "ml-dtypes", "netbase"


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    opened = daemon_or_skip()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of one image."""
    place = tmp_path_factory.mktemp("fetched")
    locks = {lock.name: lock for lock in load_locks(ROOT / "images" / "locks").locks}
    request = EnvironmentRequest(kind="runtime", python="3.11", lock=locks[ENVIRONMENT])
    shop = workshop(place)
    shop.fetch(request, "x86_64", shop.image(request, "x86_64"))
    return place / "files"


class Place:
    """A data folder and a store of one's own, in which nothing of the image under test is known to any daemon."""

    def __init__(self, folder: Path, fetched: Path) -> None:
        self.data, self.store = folder / "data", folder / "store"
        for name in ("images", "scripts"):
            shutil.copytree(ROOT / name, self.data / name)
        self.files = Path(shutil.copytree(fetched, self.store / "files"))
        self.lock = self.data / "images" / "locks" / f"{ENVIRONMENT}.txt"
        self.lock.write_text(f"{self.lock.read_text()}# of this test: {folder}\n")
        self.table = self.data / "images" / "layers" / "3.11-x86_64.json"
        self.base = self.data / "images" / "base" / "3.11.toml"
        rows = json.loads(self.table.read_text())
        self.base_layer = rows["base"]["digest"]
        versions = {row["name"]: row for row in rows["wheels"] if row["name"] == WHEEL}
        self.wheel_sha256 = versions[WHEEL]["sha256"]
        self._replace(self.table, versions[WHEEL]["layer"]["digest"], hashlib.sha256(b"wheel").hexdigest())
        (self.deb,) = [deb for deb in read_base(self.base).on("x86_64").debs if deb.package == PACKAGE]

    @staticmethod
    def _replace(path: Path, old: str, new: str) -> None:
        text = path.read_text()
        assert text.count(old) >= 1
        path.write_text(text.replace(old, new))

    @property
    def wheel_path(self) -> Path:
        (found,) = (self.files / self.wheel_sha256[:2] / self.wheel_sha256).iterdir()
        return found

    @property
    def deb_path(self) -> Path:
        return self.files / f"{self.deb.sha256}.deb"

    def lock_wheel(self, content: bytes) -> Path:
        """This is the wheel now, for lock and table too."""
        digest, name = hashlib.sha256(content).hexdigest(), self.wheel_path.name
        for path in (self.lock, self.table):
            self._replace(path, self.wheel_sha256, digest)
        place = self.files / digest[:2] / digest
        place.mkdir(parents=True)
        (place / name).write_bytes(content)
        return place / name

    def lock_deb(self, content: bytes) -> Path:
        digest = hashlib.sha256(content).hexdigest()
        self._replace(self.base, self.deb.sha256, digest)
        self._replace(
            self.table, self.base_layer, hashlib.sha256(b"base").hexdigest()
        )  # a daemon may have the good one
        (self.files / f"{digest}.deb").write_bytes(content)
        return self.files / f"{digest}.deb"

    def image(self) -> Image:
        (request,) = [
            each for each in plan_of(Question(preset="portability")).environments() if each.lock.name == ENVIRONMENT
        ]
        image = Committed("x86_64").row(request).image
        assert image is not None
        return image


@pytest.fixture
def place(tmp_path: Path, fetched: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("IREE_MATRIX_DATA", str(tmp_path / "data"))
    return Place(tmp_path, fetched)


def flipped(content: bytes) -> bytes:
    where = len(content) // 2
    return content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :]


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_member(wheel: bytes, name: str, mode: int = 0o100644) -> bytes:
    out = io.BytesIO(wheel)
    with zipfile.ZipFile(out, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, b"evil")
    return out.getvalue()


def with_file(deb: bytes, name: str, *, kind: bytes = tarfile.REGTYPE, mode: int = 0o644) -> bytes:
    """The package with one more member at the end of its files."""
    data = io.BytesIO()
    with (
        tarfile.open(fileobj=ArFile(fileobj=io.BytesIO(deb)).getmember("data.tar.xz")) as old,
        tarfile.open(fileobj=data, mode="w:xz") as new,
    ):
        for member in old:
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
        extra = tarfile.TarInfo(name)
        extra.type, extra.mode = kind, mode
        new.addfile(extra)
    content = data.getvalue()
    header = f"{'data.tar.xz':<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
    return b"!<arch>\n" + header + content + b"\n" * (len(content) % 2)


DAMAGED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a wheel with a flipped byte": ("wheel", flipped),
    "a wheel cut short": ("wheel", halved),
    "a package with a flipped byte": ("deb", flipped),
    "a package cut short": ("deb", halved),
}
HOSTILE: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "a wheel that leaves": ("wheel", lambda old: with_member(old, "../../../../../escaped"), "leads outside"),
    "a wheel with an absolute path": ("wheel", lambda old: with_member(old, "/escaped"), "absolute path"),
    "a wheel with a device": ("wheel", lambda old: with_member(old, "ml_dtypes/null", 0o020666), "device node"),
    "a wheel with setuid": ("wheel", lambda old: with_member(old, "ml_dtypes/su", 0o104755), "set-id bit"),
    "a package that leaves": ("deb", lambda old: with_file(old, "./../../escaped"), "leads outside"),
    "a package with an absolute path": ("deb", lambda old: with_file(old, "/escaped"), "absolute path"),
    "a package with a device": ("deb", lambda old: with_file(old, "./null", kind=tarfile.CHRTYPE), "device node"),
    "a package with setuid": ("deb", lambda old: with_file(old, "./su", mode=0o4755), "set-id bit"),
}


def nothing_stands(place: Place, daemon: Daemon) -> None:
    image = place.image()
    assert not daemon.has(image)
    label = f"org.iree-matrix.lock=sha256:{hashlib.sha256(place.lock.read_bytes()).hexdigest()}"
    assert label in [f"{name}={value}" for name, value in json.loads(image.config)["config"]["Labels"].items()]
    assert daemon.client.api.images(all=True, filters={"label": label}) == []
    assert list(place.store.rglob("environment.json")) == []
    assert [path for path in (place.store / "scratch").rglob("*") if path.is_file()] == []
    assert not Path("/escaped").exists()


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_named_and_nothing_stands(case, place, daemon, capsys):
    kind, damage = DAMAGED[case]
    path = place.wheel_path if kind == "wheel" else place.deb_path
    path.write_bytes(damage(path.read_bytes()))
    assert main(["image", "build", "--store", str(place.store), "--environment", ENVIRONMENT]) == HashMismatch.exit_code
    said = capsys.readouterr().err
    assert path.name in said
    assert str(path if kind == "deb" else path.parent) in said.partition("TIP remove")[2]
    nothing_stands(place, daemon)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_that_was_locked_is_named_and_nothing_stands(case, place, daemon, capsys):
    kind, change, reason = HOSTILE[case]
    old = place.wheel_path if kind == "wheel" else place.deb_path
    path = (place.lock_wheel if kind == "wheel" else place.lock_deb)(change(old.read_bytes()))
    assert main(["image", "build", "--store", str(place.store), "--environment", ENVIRONMENT]) == ImageFault.exit_code
    said = capsys.readouterr().err
    assert reason in said
    assert (path.name if kind == "wheel" else f"{PACKAGE}: ") in said
    assert "so it was locked like this" in said
    nothing_stands(place, daemon)
