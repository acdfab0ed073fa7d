"""A container as a `matrix.engines.channel.Channel`: its stdin, stdout and stderr over its attached socket."""

from __future__ import annotations

import contextlib
import select
import socket
import struct

from matrix.core.errors import DaemonGone, ImageFault, MatrixError
from matrix.engines.channel import READ_BYTES, STDOUT
from matrix.engines.docker.daemon import PATIENCE, Daemon


class ContainerChannel:
    """Starts the container and talks to its first process."""

    def __init__(self, daemon: Daemon, name: str) -> None:
        self._daemon, self._name = daemon, name
        params = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        attached = daemon.call(lambda: daemon.client.api.attach_socket(name, params=params))
        self._holder = attached
        self._socket: socket.socket = getattr(attached, "_sock", attached)
        self._socket.settimeout(None)
        self._buffer = bytearray()
        daemon.call(lambda: daemon.client.api.start(name))

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end_input(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def read(self, seconds: float | None) -> tuple[int, bytes] | None:
        while (frame := self._frame()) is None:
            if not self._readable(seconds):
                return None
            try:
                data = self._socket.recv(READ_BYTES)
            except OSError:
                data = b""
            if not data:
                return STDOUT, b""
            self._buffer += data
        return frame

    def _readable(self, seconds: float | None) -> bool:
        """Waits by `poll`: a timeout of the socket itself would also apply to the thread that writes."""
        pending = getattr(self._socket, "pending", None)  # bytes that TLS has decrypted already
        if self._socket.fileno() < 0 or (pending and pending()):
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def _frame(self) -> tuple[int, bytes] | None:
        """The next whole frame of the daemon's multiplexed stream: 8 bytes of header (stream, length), then data."""
        if len(self._buffer) < 8:
            return None
        stream, length = struct.unpack(">BxxxL", self._buffer[:8])
        if len(self._buffer) < 8 + length:
            return None
        data = bytes(self._buffer[8 : 8 + length])
        del self._buffer[: 8 + length]
        return stream, data

    def wait(self, seconds: float | None) -> int | None:
        api = self._daemon.client.api
        try:
            status = self._daemon.call(lambda: api.wait(self._name, timeout=seconds or PATIENCE))
        except ImageFault:
            return 137  # the container was removed
        except DaemonGone as error:
            return None if "timed out" in str(error).lower() and seconds is not None else 137
        return int(status["StatusCode"])

    def is_stopped(self) -> bool:
        """Asks the daemon, which may be on another machine. Its `top` needs a `ps` there."""
        api = self._daemon.client.api
        with contextlib.suppress(MatrixError):
            if self._daemon.call(lambda: api.inspect_container(self._name))["State"]["Paused"]:
                return True
            top = self._daemon.call(lambda: api.top(self._name, ps_args="-eo pid,stat"))
            return any(row[-1].startswith("T") for row in top["Processes"] or [])
        return False

    def kill(self) -> None:
        self._daemon.remove(self._name)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._daemon.remove(self._name)
        with contextlib.suppress(OSError):
            self._holder.close()
