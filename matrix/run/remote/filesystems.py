"""A shared store on S3 or behind SFTP, by fsspec: it has one way to open and put a file, whatever the protocol.

Names, keys, addresses of endpoints and regions are where the tools of the protocol look for them: `AWS_…` and `~/.aws`,
`~/.ssh/config` and an agent. Host keys of SFTP are checked.
"""

from __future__ import annotations

import importlib.util
import posixpath
import secrets
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

from matrix.core.errors import ExtraMissing, UsageError
from matrix.core.text import escape_controls
from matrix.run.remote.places import PATIENCE_SECONDS, PlaceGone, PlaceRefuses, copy_most

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def _s3(_: urllib.parse.SplitResult) -> AbstractFileSystem:
    from s3fs import S3FileSystem

    patience = {"connect_timeout": PATIENCE_SECONDS, "read_timeout": PATIENCE_SECONDS, "retries": {"max_attempts": 2}}
    return S3FileSystem(config_kwargs=patience, use_listings_cache=False, skip_instance_cache=True)


def _sftp(parts: urllib.parse.SplitResult) -> AbstractFileSystem:
    from sshfs import SSHFileSystem

    named = {"port": parts.port, "username": parts.username}
    return SSHFileSystem(
        parts.hostname,
        known_hosts=(),  # those of the user; by itself sshfs checks none
        connect_timeout=PATIENCE_SECONDS,
        keepalive_interval=PATIENCE_SECONDS / 2,
        skip_instance_cache=True,
        **{name: value for name, value in named.items() if value},
    )


FILESYSTEMS: Mapping[str, tuple[Callable[[urllib.parse.SplitResult], AbstractFileSystem], str]] = {
    "s3": (_s3, "s3fs"),
    "sftp": (_sftp, "sshfs"),
}
"""Scheme -> how its filesystem is opened, and the package that has it."""


class FilesystemPlace:
    """A bucket and a prefix in it, or a folder of another machine. It is opened when it is first asked."""

    def __init__(self, address: str) -> None:
        """Raises ExtraMissing, UsageError."""
        parts = urllib.parse.urlsplit(address)
        self._opener, package = FILESYSTEMS[parts.scheme]
        if importlib.util.find_spec(package) is None:
            raise ExtraMissing(
                f"--remote: {parts.scheme}:// is spoken by {package}, which is not installed here",
                tip="python3 -m pip install 'iree-matrix[remote]', or from a checkout: pip install -e '.[remote]'",
            )
        if parts.password is not None:
            raise UsageError("--remote: read an address with a password, expected one without: messages repeat it")
        self._parts, path = parts, urllib.parse.unquote(parts.path).rstrip("/")
        self._files: AbstractFileSystem | None = None
        self._root = f"{parts.netloc}{path}" if parts.scheme == "s3" else path or "/"
        self.shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"

    def get(self, name: str, target: IO[bytes], most: int) -> bool:
        files = self._opened()
        try:
            with files.open(posixpath.join(self._root, name), "rb") as file:
                copy_most(file, target, most)
        except FileNotFoundError:
            return False
        except Exception as error:  # noqa: BLE001 - each protocol's library has its own
            raise self._gone(error) from None
        return True

    def put(self, name: str, source: Path) -> None:
        files, path = self._opened(), posixpath.join(self._root, name)
        try:
            if self._parts.scheme == "s3":  # an object is there whole, or not at all
                files.put_file(str(source), path)
            else:
                _put_whole(files, path, str(source))
        except (PermissionError, FileNotFoundError) as error:
            raise PlaceRefuses(f"{self.shown}: {_words(error)}") from None
        except Exception as error:  # noqa: BLE001
            raise self._gone(error) from None

    def _opened(self) -> AbstractFileSystem:
        if self._files is None:
            try:
                self._files = self._opener(self._parts)
            except Exception as error:  # noqa: BLE001 - a missing file too: that of the known hosts
                raise self._gone(error) from None
        return self._files

    def _gone(self, error: Exception) -> PlaceGone:
        self._files = None
        return PlaceGone(f"{self.shown}: {_words(error)}")


def _put_whole(files: AbstractFileSystem, path: str, source: str) -> None:
    folder, name = posixpath.split(path)
    beside = posixpath.join(folder, f".partial-{name[:16]}-{secrets.token_hex(8)}")
    try:
        files.put_file(source, beside)
        files.mv(beside, path)
    except Exception:
        if files.exists(beside):
            files.rm_file(beside)
        raise


def _words(error: Exception) -> str:
    return escape_controls(str(error) or type(error).__name__)
