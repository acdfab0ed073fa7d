"""A shared store on S3 and behind SFTP: a server that speaks S3, and a real sshd, both on loopback."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from sshd_here import Server, ssh_server

from matrix.core.errors import ExtraMissing, UsageError
from matrix.run.remote import filesystems
from matrix.run.remote.places import PlaceGone, PlaceRefuses, SharedPlace, place_of

NAME = f"cas/{'a' * 64}"


@pytest.fixture(scope="module")
def sshd() -> Iterator[Server]:
    with ssh_server() as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sshd: Server) -> Path:
    """A home whose SSH configuration knows the server as `zero`."""
    folder = tmp_path / "home" / ".ssh"
    folder.mkdir(parents=True)
    (folder / "config").write_text(sshd.config.read_text(), encoding="utf-8")
    monkeypatch.setenv("HOME", str(folder.parent))
    return folder.parent


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {"ENDPOINT_URL": f"http://{host}:{port}", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "test")
    boto3.client("s3").create_bucket(Bucket="results")
    yield "results"
    server.stop()


@pytest.fixture(params=["s3", "sftp"])
def address(request: pytest.FixtureRequest) -> str:
    if request.param == "s3":
        return f"s3://{request.getfixturevalue('bucket')}/team"
    request.getfixturevalue("home")
    return f"sftp://zero{request.getfixturevalue('sshd').place}/team"


def content(place: SharedPlace, name: str, most: int = 1 << 20) -> bytes | None:
    target = io.BytesIO()
    return target.getvalue() if place.get(name, target, most) else None


def test_a_file_is_put_found_and_replaced(tmp_path, address):
    place, source = place_of(address), tmp_path / "source"
    assert content(place, NAME) is None
    for written in (b"first", b"the second, which is longer"):
        source.write_bytes(written)
        place.put(NAME, source)
        assert content(place_of(address), NAME) == written
    assert content(place, NAME, most=4) == written[:5], "one more than was asked for, and not all of it"
    assert content(place, "ac/other") is None


def test_nothing_partial_stays_behind_sftp(tmp_path, home, sshd):
    source = tmp_path / "source"
    source.write_bytes(b"x")
    place_of(f"sftp://zero{sshd.place}/whole").put(NAME, source)
    assert [path.name for path in (sshd.place / "whole").rglob("*") if path.is_file()] == [NAME[4:]]


@pytest.mark.parametrize(
    "known", ["", "[127.0.0.1]:{port} ssh-ed25519 {key}\n", None], ids=["none", "another", "no file"]
)
def test_a_host_that_is_not_known_is_refused(tmp_path, home, sshd, known):
    """sshfs by itself, and the sftp of fsspec, take any host key."""
    config, own = home / ".ssh" / "config", tmp_path / "known"
    if known is not None:
        key = (sshd.folder / "key.pub").read_text().split()[1]
        own.write_text(known.format(port=sshd.port, key=key), encoding="utf-8")
    config.write_text(config.read_text().replace(f"{sshd.folder}/known", str(own)), encoding="utf-8")
    with pytest.raises(PlaceGone, match="sftp://zero/x: "):
        content(place_of("sftp://zero/x"), NAME)


def test_a_folder_that_may_not_be_written_is_only_read(tmp_path, home, sshd):
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with pytest.raises(PlaceRefuses, match="sftp://zero/proc/team"):
        place_of("sftp://zero/proc/team").put(NAME, source)


def test_a_bucket_that_is_not_there_takes_nothing(tmp_path, bucket):
    source = tmp_path / "source"
    source.write_bytes(b"x")
    place = place_of("s3://nowhere/team")
    assert content(place, NAME) is None
    with pytest.raises(PlaceRefuses, match="s3://nowhere/team"):
        place.put(NAME, source)


def test_a_server_that_is_gone_is_told(monkeypatch, bucket, home):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for address in ("s3://results/team", "sftp://127.0.0.1:9/team"):
        with pytest.raises(PlaceGone, match=address):
            content(place_of(address), NAME)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(filesystems.FILESYSTEMS, "s3", (lambda _: None, "no_such_package"))
    with pytest.raises(ExtraMissing, match="s3:// is spoken by no_such_package, which is not installed here") as fault:
        place_of("s3://results/team")
    assert "iree-matrix[remote]" in str(fault.value.tip)


def test_a_password_in_an_address_is_refused():
    with pytest.raises(UsageError, match="read an address with a password"):
        place_of("sftp://me:secret@host/team")
