"""A package index that is wrong, broken, slow or silent, while a run makes the environments of its runtimes.

A small index of this machine serves the real wheels of the locks. Its faults last for a whole run, or for its first
requests. Then it is well again, and the same command is given.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
import random
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from command_line import ROOT, no_index
from family import Family, Trial
from invariants import broken_after, last_line
from workload import RUNTIMES, Bed

from matrix.environments.index import configured_index

FAULTS = ("missing version", "missing wheel", "404", "500", "slow", "truncated", "wrong hash", "silent")
FIRST_REQUESTS = 6
SILENT_SECONDS = 60.0
PATIENCE = {"UV_HTTP_TIMEOUT": "3", "UV_HTTP_RETRIES": "1", "UV_HTTP_CONNECT_TIMEOUT": "3", "PIP_DEFAULT_TIMEOUT": "3"}


class Index(ThreadingHTTPServer):
    """`fault` is done to requests about packages that start with `about`, so long as `left` is not used up."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {path.name: path for path in folder.glob("*.whl")}
        self.fault, self.about, self.left = "", "", 0
        self.closing = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has given up is no news."""

    def what_goes_wrong(self, path: str) -> str:
        name = path.rstrip("/").rpartition("/")[2].replace("-", "_")
        if not self.fault or self.left <= 0 or not name.startswith(self.about):
            return ""
        self.left -= 1
        return self.fault


class Handler(BaseHTTPRequestHandler):
    server: Index
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        with contextlib.suppress(OSError):  # the client has given up
            self.answer(self.server.what_goes_wrong(self.path))

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, fault: str) -> None:
        page = self.path.startswith("/simple/")
        if fault == "silent":
            self.server.closing.wait(SILENT_SECONDS)
            self.close_connection = True
        elif fault == "500" or (fault == "404" and page) or (fault == "missing wheel" and not page):
            self.send_error(500 if fault == "500" else 404)
        elif page:
            self.send_page(lacking=fault == "missing version")
        elif (file := self.server.files.get(self.path.rpartition("/")[2])) is None:
            self.send_error(404)
        else:
            self.send_bytes(file.read_bytes(), fault)

    def send_page(self, *, lacking: bool) -> None:
        name = self.path.strip("/").rpartition("/")[2].replace("-", "_")
        files = [path for file, path in self.server.files.items() if file.startswith(f"{name}-")]
        if not files:
            self.send_error(404)
            return
        shown = [] if lacking else files
        links = (f'<a href="/files/{path.name}#sha256={sha256_of(path)}">{path.name}</a>' for path in shown)
        self.send_bytes(f"<!DOCTYPE html><html><body>{' '.join(links)}</body></html>".encode(), "", kind="text/html")

    def send_bytes(self, content: bytes, fault: str, *, kind: str = "application/octet-stream") -> None:
        if fault == "wrong hash":
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "truncated":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        for part in range(10 if fault == "slow" else 0):  # a second until the rest comes
            self.wfile.write(content[part : part + 1])
            self.wfile.flush()
            time.sleep(0.1)
        self.wfile.write(content[10 if fault == "slow" else 0 :])


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetched_wheels(bed: Bed) -> Path:
    """The wheels of the locks of the runtimes, fetched once."""
    folder = bed.folder / "wheels"
    if not folder.is_dir():
        partial = folder.with_name("wheels.partial")
        partial.mkdir(exist_ok=True)
        for release in RUNTIMES:
            lock = ROOT / "images" / "locks" / "runtime" / f"{release}.txt"
            glibc = platform.libc_ver()[1] or "2.36"
            configured_index().download(lock, python="3.11", machine=platform.machine(), glibc=glibc, folder=partial)
        partial.rename(folder)
    return folder


def trials(bed: Bed, chance: random.Random, count: int) -> Iterator[Trial]:
    untouched = bed.untouched()
    assert untouched
    index = Index(fetched_wheels(bed))
    threading.Thread(target=index.serve_forever, daemon=True).start()
    try:
        for number in range(count):
            fault = FAULTS[number % len(FAULTS)]
            about = chance.choice(["iree", "numpy", ""])
            yield one_fault(bed, index, fault, about, always=number % 2 == number // len(FAULTS) % 2)
    finally:
        index.closing.set()
        index.shutdown()
        index.server_close()


def one_fault(bed: Bed, index: Index, fault: str, about: str, *, always: bool) -> Trial:
    untouched = bed.untouched()
    assert untouched
    with bed.free_place() as place:
        place.link_environments(untouched.store, "compiler-")
        place.environ |= no_index(place.folder / "cache", index.server_address[1]) | PATIENCE
        index.fault, index.about, index.left = fault, about, 1 << 30 if always else FIRST_REQUESTS
        ran = place.call()
        index.fault = ""
        how = "for the whole run" if always else f"for {FIRST_REQUESTS} requests"
        name = f"{fault} {how}, packages {about or 'all'}, status {ran.status}"
        good = (0, 5, 6, 8)
        said = () if ran.status in good else (f"status {ran.status} for an index: {last_line(ran.err)}",)
        return Trial(fault=name, broken=(*said, *broken_after(bed, place)))


INDEX = Family(
    name="index",
    what=f"an index with a fault: {', '.join(FAULTS)}",
    full=32,
    short=1,
    trials=trials,
)
