"""Where a shared store is: a folder, a server with PUT and GET, such as bazel-remote or nginx with WebDAV, S3 or SFTP.

`cas/<sha256>` are artifacts, `ac/<key>` are rows. A place may be gone, full, read-only or lying: who asks
checks what it says.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import ssl
import tempfile
import urllib.parse
from pathlib import Path
from typing import IO, Protocol

from matrix.core.errors import UsageError
from matrix.core.text import escape_controls

TOKEN = "IREE_MATRIX_REMOTE_TOKEN"
PATIENCE_SECONDS = 30.0
"""How long a server may be silent."""
PIECE = 1 << 20
_READ_ONLY = (401, 403, 405)


class PlaceGone(Exception):
    """The place does not answer, or not in its protocol."""


class PlaceRefuses(Exception):
    """The place takes nothing from this machine: it is full, or may only be read."""


class SharedPlace(Protocol):
    """A shared store as a table of files. Every name is `cas/<sha256>` or `ac/<key>`."""

    def get(self, name: str, target: IO[bytes], most: int) -> bool:
        """Copies a file; False if there is none. Reads at most `most` bytes and one. Raises PlaceGone."""

    def put(self, name: str, source: Path) -> None:
        """Puts a file there, in place of one with its name. Raises PlaceGone, PlaceRefuses."""


def place_of(text: str) -> SharedPlace:
    """The place of an address. Raises UsageError."""
    parts = urllib.parse.urlsplit(text)
    try:
        served = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # the port is no number
        served = False
    if served:
        return HttpPlace(text)
    if parts.scheme in ("s3", "sftp") and parts.hostname:
        from matrix.run.remote.filesystems import FilesystemPlace

        return FilesystemPlace(text)
    if parts.scheme in ("", "file") and (parts.path or text):
        return FolderPlace(Path(urllib.parse.unquote(parts.path) if parts.scheme else text).absolute())
    raise UsageError(
        f"--remote: read {text!r}, expected a folder, http://HOST[:PORT][/PATH], s3://BUCKET[/PATH] or sftp://HOST/PATH",
        tip="a server with PUT and GET, such as bazel-remote or nginx with WebDAV; a folder on a mounted disk",
    )


class FolderPlace:
    """A folder, which may be on the disk of another machine: nothing in it is locked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str, target: IO[bytes], most: int) -> bool:
        try:
            with (self.folder / name).open("rb") as file:
                copy_most(file, target, most)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise PlaceGone(f"{self.folder}: {error.strerror}") from None
        return True

    def put(self, name: str, source: Path) -> None:
        place = self.folder / name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".partial-", delete=False) as file:
                beside = Path(file.name)
            try:
                shutil.copyfile(source, beside)
                beside.chmod(0o644)
                beside.replace(place)
            finally:
                beside.unlink(missing_ok=True)
        except OSError as error:
            raise PlaceRefuses(f"{self.folder}: {error.strerror}") from None


class HttpPlace:
    """A server. One connection is kept, and opened again once where the server has closed it meanwhile."""

    def __init__(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        self._parts, self._path = parts, parts.path.rstrip("/")
        self.shown = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{self._path}"
        self._connection: http.client.HTTPConnection | None = None
        token = os.environ.get(TOKEN, "")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, name: str, target: IO[bytes], most: int) -> bool:
        answer = self._ask("GET", name)
        if answer.status == http.client.OK:
            try:
                copy_most(answer, target, most)
            except (OSError, http.client.HTTPException) as error:
                raise self._gone(error) from None
            finally:
                if not answer.isclosed():  # more than was asked for
                    self._close()
            return True
        self._drain(answer)
        if answer.status in (http.client.NOT_FOUND, http.client.GONE):
            return False
        raise PlaceGone(f"{self.shown}: read status {answer.status}, expected 200 or 404")

    def put(self, name: str, source: Path) -> None:
        answer = self._ask("PUT", name, source)
        self._drain(answer)
        if answer.status in (502, 503, 504):
            raise PlaceGone(f"{self.shown}: status {answer.status} to a PUT")
        if answer.status in _READ_ONLY:
            raise PlaceRefuses(f"{self.shown}: status {answer.status}, it may only be read with this {TOKEN}")
        if answer.status not in (200, 201, 204):
            validates = answer.status == http.client.BAD_REQUEST and name.startswith("ac/")
            why = ", bazel-remote takes rows only with --disable_http_ac_validation" * validates
            raise PlaceRefuses(f"{self.shown}: status {answer.status} to a PUT{why}")

    def _ask(self, method: str, name: str, source: Path | None = None) -> http.client.HTTPResponse:
        for attempt in (1, 2):
            fresh = self._connection is None
            try:
                return self._asked(method, name, source)
            except (OSError, http.client.HTTPException) as error:
                self._close()
                if fresh or attempt == 2:
                    raise self._gone(error) from None
        raise AssertionError  # the loop returns or raises

    def _asked(self, method: str, name: str, source: Path | None) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = self._opened()
        headers, path = dict(self._headers), f"{self._path}/{name}"
        if source is None:
            self._connection.request(method, path, headers=headers)
        else:
            headers |= {"Content-Length": str(source.stat().st_size)}
            headers |= {"Content-Type": "application/json" if name.startswith("ac/") else "application/octet-stream"}
            with source.open("rb") as file:
                self._connection.request(method, path, body=file, headers=headers)
        return self._connection.getresponse()

    def _opened(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(
                host, port, timeout=PATIENCE_SECONDS, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)

    def _drain(self, answer: http.client.HTTPResponse) -> None:
        try:
            answer.read(PIECE)
        except (OSError, http.client.HTTPException):
            self._close()
            return
        if not answer.isclosed():
            self._close()

    def _close(self) -> None:
        if self._connection:
            with contextlib.suppress(OSError):
                self._connection.close()
        self._connection = None

    def _gone(self, error: Exception) -> PlaceGone:
        self._close()
        return PlaceGone(f"{self.shown}: {escape_controls(str(error) or type(error).__name__)}")


def copy_most(source: IO[bytes] | http.client.HTTPResponse, target: IO[bytes], most: int) -> None:
    """At most `most` bytes and one, by which the reader sees that there are more."""
    left = most + 1
    while left > 0 and (block := source.read(min(PIECE, left))):
        target.write(block)
        left -= len(block)
