"""The sources of Debian's files, and the download of one file, also from other servers.

The project holds no address. The mirror is the one of this machine's apt, or IREE_MATRIX_DEBIAN_MIRROR (for machines
without apt). IREE_MATRIX_DEBIAN_SNAPSHOT may name a second source: the address of a snapshot archive with its time,
below which `pool/` lies.
HTTP is done by `requests`: the Docker SDK needs it anyway, it knows proxies, redirects and retries, and unlike urllib
it keeps the connection for the thirty files of a base.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import requests
from debian.deb822 import Deb822
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from matrix.core.disk import atomic_write
from matrix.core.errors import HashMismatch, IndexUnreachable

MIRROR_VARIABLE = "IREE_MATRIX_DEBIAN_MIRROR"

SNAPSHOT_VARIABLE = "IREE_MATRIX_DEBIAN_SNAPSHOT"

APT = Path("/etc/apt")

CODE_NAMES = ("buster", "bullseye", "bookworm", "trixie", "forky", "duke", "sid")

SUITES = frozenset((*CODE_NAMES, "oldoldstable", "oldstable", "stable", "testing", "unstable"))
"""The suites of Debian. An entry of apt's configuration with another suite is of another archive."""

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between two pieces of an answer."""

DOWNLOAD_ATTEMPTS = 3

CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The name of a server in messages, and the variable that sets another one."""

    name: str
    variable: str


DEBIAN = Server(name="the Debian mirror", variable=MIRROR_VARIABLE)


class NotOnServer(Exception):
    """The server has no such file (404 or 410). Callers always catch it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Addresses below which `dists/` and `pool/` lie, in the order of use, without a slash at the end."""

    mirrors: tuple[str, ...]
    snapshot: str = ""

    @property
    def every(self) -> tuple[str, ...]:
        return (*self.mirrors, self.snapshot) if self.snapshot else self.mirrors


def find_sources(environ: Mapping[str, str] | None = None, apt: Path = APT) -> Sources:
    """The sources of this machine. Raises IndexUnreachable where neither apt nor the environment names a mirror."""
    variables = os.environ if environ is None else environ
    given = _address(variables.get(MIRROR_VARIABLE, ""))
    mirrors = (given,) if given else apt_mirrors(apt)
    if not mirrors:
        raise IndexUnreachable(
            "no Debian mirror is known: apt's configuration on this machine names none",
            tip=f"set {MIRROR_VARIABLE} to the address of a Debian mirror, the one below which dists/ and pool/ lie",
        )
    return Sources(mirrors=mirrors, snapshot=_address(variables.get(SNAPSHOT_VARIABLE, "")))


def apt_mirrors(apt: Path) -> tuple[str, ...]:
    """The Debian mirrors in apt's configuration, each once, in apt's order. Reads both formats of sources.list(5)."""
    found: list[str] = []
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))):
        with contextlib.suppress(OSError, UnicodeDecodeError, ValueError):
            text = path.read_text(encoding="utf-8")
            entries = _deb822_entries(text) if path.suffix == ".sources" else _line_entries(text, path.suffix)
            found += [uri for uri, suite, components in entries if suite in SUITES and "main" in components]
    addresses = (_address(address) for uri in found for address in _resolved(uri, apt))
    return tuple(dict.fromkeys(address for address in addresses if address))


AptEntry = tuple[str, str, list[str]]


def _deb822_entries(text: str) -> Iterator[AptEntry]:
    for paragraph in Deb822.iter_paragraphs(text.splitlines()):
        if "deb" in paragraph.get("Types", "").split() and paragraph.get("Enabled", "yes").strip().lower() != "no":
            for uri in paragraph.get("URIs", "").split():
                for suite in paragraph.get("Suites", "").split():
                    yield uri, suite, paragraph.get("Components", "").split()


APT_LINE = re.compile(r"deb\s+(?:\[[^\]]*\]\s*)?(?P<uri>\S+)\s+(?P<suite>\S+)\s*(?P<components>[^#]*)")


def _line_entries(text: str, suffix: str) -> Iterator[AptEntry]:
    if suffix != ".list":
        return
    for line in text.splitlines():
        if match := APT_LINE.match(line.strip()):
            yield match["uri"], match["suite"], match["components"].split()


def _resolved(uri: str, apt: Path) -> list[str]:
    """The addresses of a URI: apt's `mirror+file:` (in cloud images) names a file with a list of them."""
    scheme, _, rest = uri.partition(":")
    if scheme != "mirror+file":
        return [uri]
    listed = Path("/" + rest.lstrip("/"))
    if listed.is_relative_to(APT):
        listed = apt / listed.relative_to(APT)
    try:
        lines = listed.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


def _address(uri: str) -> str:
    """The address without its last slash; empty for any scheme but HTTP (cdrom:, file:)."""
    return uri.strip().rstrip("/") if re.match(r"https?://[^/]", uri.strip()) else ""


@functools.cache
def _session() -> requests.Session:
    session = requests.Session()
    retry = Retry(
        total=DOWNLOAD_ATTEMPTS, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    session.headers["User-Agent"] = "iree-matrix"
    session.headers["Accept-Encoding"] = "identity"
    return session


def is_fetched(target: Path, sha256: str, *, what: str) -> bool:
    """Whether a file was fetched before. Raises HashMismatch where it is damaged."""
    if not target.exists():
        return False
    with target.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
            return True
    raise HashMismatch(
        f"{what}: the stored file {target.name} is damaged: it has another sha256", tip=f"remove it: {target}"
    )


def download(
    source: str,
    path: str,
    target: Path,
    *,
    what: str,
    named_in: str,
    size: int = 1 << 26,
    sha256: str = "",
    server: Server = DEBIAN,
) -> None:
    """Downloads `path` below the address `source` into `target`, which appears complete and checked, or not at all.

    At most `size` bytes are read. Raises NotOnServer, IndexUnreachable, HashMismatch (with `what`, and `named_in` for
    the file that has its sha256) and DiskFull. No message holds the address: it may contain a password.
    """
    for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
        try:
            with _answer(f"{source}/{path}", what, server) as answer, atomic_write(target, what=what) as file:
                length, digest = _copy(answer.iter_content(CHUNK_BYTES), file, size)
                if sha256 and digest != sha256:
                    reason = "is longer than" if length > size else "is not"
                    raise HashMismatch(
                        f"{what}: what {server.name} gave {reason} the file that {named_in} names "
                        f"(sha256 {sha256[:16]}…)",
                        tip="a proxy or a mirror in the middle of an update: try again, or set another mirror "
                        f"({server.variable}); nothing was kept",
                    )
            return
        except requests.RequestException as error:
            if attempt == DOWNLOAD_ATTEMPTS or not isinstance(error, requests.exceptions.ChunkedEncodingError):
                raise IndexUnreachable(
                    f"{what}: {server.name} does not answer: {type(error).__name__}",
                    tip=f"check the network, or set {server.variable} to another mirror",
                ) from error


@contextlib.contextmanager
def _answer(url: str, what: str, server: Server) -> Iterator[requests.Response]:
    with _session().get(url, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code in (404, 410):
            raise NotOnServer(what)
        if not answer.ok:
            raise IndexUnreachable(
                f"{what}: {server.name} answers with status {answer.status_code}",
                tip=f"try again later, or set {server.variable} to another mirror",
            )
        yield answer


def _copy(pieces: Iterator[bytes], file: IO[bytes], limit: int) -> tuple[int, str]:
    """Copies the pieces up to `limit` bytes and one piece more. Returns length and sha256."""
    digest, length = hashlib.sha256(), 0
    for piece in pieces:
        file.write(piece)
        digest.update(piece)
        length += len(piece)
        if length > limit:
            break
    return length, digest.hexdigest()
