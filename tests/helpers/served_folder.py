"""A folder behind a real server on the loopback, which can also answer with an error, or cut what it sends."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(SimpleHTTPRequestHandler):
    """Serves files; `status` answers everything with it, `cut` sends half of what it announces."""

    status, cut = 0, False
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.status:
            self.send_error(self.status)
        elif self.cut:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"api": 1, ')
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@contextlib.contextmanager
def serving(folder: Path, *, port: int = 0, status: int = 0, cut: bool = False) -> Iterator[tuple[str, list[str]]]:
    """The address of a folder, and the paths that are asked of it."""
    asked: list[str] = []
    kind = type("Handler", (Handler,), {"status": status, "cut": cut, "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", port), lambda *words: kind(*words, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()
