"""A TCP link to a port of this machine that can be slow, frozen or cut."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self


class SlowLink:
    """Each byte needs `seconds` for each way. `freeze` stops all bytes and keeps the connections; `cut` resets them."""

    def __init__(self, port: int, seconds: float = 0.0) -> None:
        self._target, self._seconds = port, seconds
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._flowing = threading.Event()
        self._flowing.set()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()

    def freeze(self) -> None:
        self._flowing.clear()

    def cut(self) -> None:
        """A reset, as from a router that has forgotten the connection."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._sockets = []

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._sockets += [client, server]
            for source, sink in ((client, server), (server, client)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        """Reads at once and writes later: a slow link delays, and does not narrow."""
        waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

        def write() -> None:
            while (item := waiting.get())[1]:
                time.sleep(max(0.0, item[0] - time.monotonic()))
                self._flowing.wait()
                with contextlib.suppress(OSError):
                    sink.sendall(item[1])
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

        threading.Thread(target=write, daemon=True).start()
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                waiting.put((time.monotonic() + self._seconds, data))
        waiting.put((0.0, b""))
