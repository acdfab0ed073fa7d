"""The seam to a container daemon, without one: its frames, what it says when it fails, who nobody is."""

from __future__ import annotations

import pwd
import socket
import struct
import threading
import time

import pytest

from matrix.core.disk import held_below
from matrix.core.errors import DaemonGone, DiskFull, EngineMissing, ImageFault
from matrix.engines.docker import daemon as daemons
from matrix.engines.docker.channel import ContainerChannel
from matrix.engines.docker.daemon import Daemon, host_mark, nobody
from matrix.engines.docker.exchange import empty


def frame(stream, data):
    return struct.pack(">BxxxL", stream, len(data)) + data


@pytest.fixture
def ends():
    """A channel at one end of a socket pair, and the other end."""
    ours, theirs = socket.socketpair()
    channel = ContainerChannel.__new__(ContainerChannel)
    channel._socket, channel._holder, channel._buffer = ours, ours, bytearray()
    yield channel, theirs
    ours.close()
    theirs.close()


def test_frames_are_read_whole_however_they_arrive(ends):
    channel, other = ends
    data = frame(1, b"one") + frame(2, b"a word on stderr") + frame(1, b"")
    for number in range(len(data)):
        other.sendall(data[number : number + 1])
    assert [channel.read(1.0) for _ in range(2)] == [(1, b"one"), (2, b"a word on stderr")]


def test_nothing_in_time_is_none_and_an_end_is_no_bytes(ends):
    channel, other = ends
    other.sendall(frame(1, b"half")[:6])
    begun = time.monotonic()
    assert channel.read(0.05) is None
    assert time.monotonic() - begun < 1
    assert channel.read(0.0) is None
    other.sendall(frame(1, b"half")[6:])
    assert channel.read(1.0) == (1, b"half")
    other.close()
    assert channel.read(1.0) == (1, b"")


def test_waiting_for_an_answer_does_not_disturb_a_long_request(ends):
    """The reader's patience was once the socket's timeout, and so the writer's."""
    channel, other = ends
    reader = threading.Thread(target=channel.read, args=(0.3,))
    reader.start()
    sent = threading.Thread(target=channel.write, args=(bytes(4 << 20),))
    sent.start()
    reader.join()
    got = 0
    while got < 4 << 20:
        got += len(other.recv(1 << 16))
    sent.join()


@pytest.mark.parametrize("address", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1", "nonsense://x"])
def test_no_daemon_is_engine_missing_with_a_tip(monkeypatch, address):
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(EngineMissing) as missing:
        Daemon()
    assert str(missing.value).startswith("no container daemon answers: ")
    assert "DOCKER_HOST" in missing.value.tip


def asked(error):
    import docker

    daemon = Daemon.__new__(Daemon)
    daemon._docker = docker

    def fail():
        raise error

    return daemon.call(fail)


def test_what_the_daemon_refuses_is_told_apart():
    import requests
    from docker.errors import APIError

    with pytest.raises(DiskFull):
        asked(APIError("x", explanation="write /a: no space left on device"))
    with pytest.raises(ImageFault, match="the daemon refuses: no such image"):
        asked(APIError("x", explanation="no such image"))
    for error in (requests.ConnectionError("refused"), BrokenPipeError(), requests.ReadTimeout("timed out")):
        with pytest.raises(DaemonGone, match="is gone"):
            asked(error)


class Api:
    def __init__(self, said):
        self.said = said

    def load_image(self, archive):
        list(archive)
        yield from self.said


def loading(said, archive):
    import docker

    daemon = Daemon.__new__(Daemon)
    daemon._docker = docker
    daemon.client = type("Client", (), {"api": Api(said)})()
    daemon.load(archive)


def test_a_fault_of_the_archive_is_not_the_daemons():
    def broken():
        yield b"x"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        loading([], broken())
    with pytest.raises(DiskFull):
        loading([{"error": "ApplyLayer: no space left on device"}], iter([b"x"]))
    loading([{"stream": "Loaded"}], iter([b"x"]))


def test_nobody_is_nobody(monkeypatch):
    number = int(nobody().partition(":")[0])
    with pytest.raises(KeyError):
        pwd.getpwuid(number)
    monkeypatch.setattr(daemons.pwd, "getpwuid", lambda number: None)
    assert nobody() == "65534:65534"


def test_a_host_has_one_mark_that_does_not_name_it():
    assert host_mark() == host_mark()
    assert socket.gethostname() not in host_mark()


def test_a_folder_is_emptied_and_its_size_told(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "file").write_bytes(bytes(100_000))
    (tmp_path / "sparse").open("wb").truncate(1 << 40)
    (tmp_path / "link").symlink_to(tmp_path.parent)
    assert 100_000 <= held_below(tmp_path)[0] < 1 << 20
    assert empty(tmp_path)
    assert list(tmp_path.iterdir()) == [] and tmp_path.parent.is_dir()
