"""A server with PUT and GET in this process, which can be full, read-only, lying or gone."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PutServer:
    """`files` is what it has, by path; `answers` are statuses that it gives to a method instead of its usual ones; a
    request needs the `token`, if there is one."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, int] = {}
        self.token = ""
        self.asked: list[str] = []
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _begin(self) -> int:
                owner.asked.append(f"{self.command} {self.path}")
                if owner.token and self.headers.get("Authorization") != f"Bearer {owner.token}":
                    return 401
                return owner.answers.get(self.command, 0)

            def _answer(self, status: int, content: bytes = b"") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self) -> None:
                content = owner.files.get(self.path)
                status = self._begin() or (404 if content is None else 200)
                self._answer(status, content or b"" if status == 200 else b"")

            def do_PUT(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                status = self._begin()
                if not status:
                    owner.files[self.path] = content
                self._answer(status or 201)

            def log_message(self, *_: object) -> None:
                """Nothing is said."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def serving() -> Iterator[PutServer]:
    server = PutServer()
    try:
        yield server
    finally:
        server.end()
