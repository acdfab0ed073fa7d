"""A shared store on a server that people have: nginx from Debian, as the documents set it."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from answering import AnsweringExecutor, plan_in
from nginx_here import nginx
from sharded import SQUARE

from matrix.run.progress import PlainProgress
from matrix.run.remote.places import TOKEN, HttpPlace, PlaceGone, PlaceRefuses, place_of
from matrix.run.remote.shared import SharedStore
from matrix.run.runner import Runner

NAME, SECRET = f"cas/{'a' * 64}", "only-for-writers"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nginx")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with nginx(folder, SECRET) as address:
        yield address


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch, address: str) -> HttpPlace:
    monkeypatch.setenv(TOKEN, SECRET)
    return HttpPlace(address)


def read(place: HttpPlace, name: str, most: int = 1 << 20) -> bytes | None:
    target = io.BytesIO()
    return target.getvalue() if place.get(name, target, most) else None


def test_a_file_is_put_found_and_replaced(tmp_path, writer):
    assert read(writer, NAME) is None
    for content in (b"first" * 100_000, b"", b"second"):
        (tmp_path / "x").write_bytes(content)
        writer.put(NAME, tmp_path / "x")
        assert read(writer, NAME) == content
    assert read(writer, NAME, most=3) == b"seco", "one byte more than asked for says that there is more"


def test_who_has_no_token_reads_and_writes_nothing(tmp_path, monkeypatch, address, writer):
    (tmp_path / "x").write_bytes(b"x")
    writer.put("ac/1", tmp_path / "x")
    for token in ("", "another"):
        monkeypatch.setenv(TOKEN, token)
        reader = HttpPlace(address)
        assert read(reader, "ac/1") == b"x"
        with pytest.raises(PlaceRefuses, match="status 403, it may only be read"):
            reader.put("ac/2", tmp_path / "x")
        assert read(reader, "ac/2") is None


def test_half_a_file_is_never_there(address, folder, writer):
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port)) as half:
        head = f"PUT /cas/half HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: 1000\r\n\r\n"
        half.sendall(head.encode() + b"x" * 500)
        assert read(writer, "cas/half") is None
    assert read(writer, "cas/half") is None and not (folder / "files" / "cas" / "half").exists()


def test_a_second_machine_runs_nothing_and_poison_is_named_and_healed(tmp_path, monkeypatch, address, folder, capsys):
    monkeypatch.setenv(TOKEN, SECRET)
    plan = plan_in(tmp_path / "models", SQUARE)

    def jobs_on(machine: str) -> int:
        with SharedStore(tmp_path / machine, place_of(f"{address}/team")) as store, (tmp_path / "log").open("a") as log:
            executor = AnsweringExecutor(store)
            Runner(plan=plan, store=store, progress=PlainProgress(log), executor=executor).run()
            return len(executor.carried_out)

    assert (jobs_on("a"), jobs_on("b")) == (13, 0)
    path = next((folder / "files" / "team" / "cas").iterdir())
    path.write_bytes(b"poison")
    assert jobs_on("c") == 1
    assert f"NOTE --remote: cas/{path.name}: read other bytes than its name says" in capsys.readouterr().err
    assert jobs_on("d") == 0


def test_a_server_that_is_gone_is_told(tmp_path):
    with nginx(tmp_path / "gone", SECRET) as address:
        place = HttpPlace(address)
        assert read(place, NAME) is None
    with pytest.raises(PlaceGone):
        read(place, NAME)
