"""Where Debian's files are fetched from, and the fetching of one file, also from other servers.

No address is written into this project. The mirror is the one that this machine's apt uses, or
IREE_MATRIX_DEBIAN_MIRROR (users without apt). A snapshot archive as the second source is IREE_MATRIX_DEBIAN_SNAPSHOT:
an address with its time, below which `pool/` lies.
HTTP is done by `requests`: the Docker SDK brings it anyway, it knows proxies, redirects and retries, and it keeps the
connection over the thirty files of a base, which urllib does not.
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
"""What an entry of apt's configuration must name to be of Debian itself: other archives have suites of other names."""

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between two pieces of an answer."""

ATTEMPTS = 3

PIECE = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What messages call a server, and the variable that names another one."""

    name: str
    variable: str


DEBIAN = Server(name="the Debian mirror", variable=MIRROR_VARIABLE)


class NotThere(Exception):
    """The server says that it has no such file (404 or 410). Never leaves the rooms that fetch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Addresses below which `dists/` and `pool/` lie, in the order in which they are asked; none ends in a slash."""

    mirrors: tuple[str, ...]
    snapshot: str = ""

    @property
    def every(self) -> tuple[str, ...]:
        return (*self.mirrors, self.snapshot) if self.snapshot else self.mirrors


def sources(environ: Mapping[str, str] | None = None, apt: Path = APT) -> Sources:
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
    """The Debian mirrors in apt's configuration, each once, in apt's order; both of its formats (sources.list(5))."""
    found: list[str] = []
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))):
        with contextlib.suppress(OSError, UnicodeDecodeError, ValueError):
            text = path.read_text(encoding="utf-8")
            entries = _deb822_entries(text) if path.suffix == ".sources" else _line_entries(text, path.suffix)
            found += [uri for uri, suite, components in entries if suite in SUITES and "main" in components]
    addresses = (_address(address) for uri in found for address in _resolved(uri, apt))
    return tuple(dict.fromkeys(address for address in addresses if address))


Entry = tuple[str, str, list[str]]


def _deb822_entries(text: str) -> Iterator[Entry]:
    for paragraph in Deb822.iter_paragraphs(text.splitlines()):
        if "deb" in paragraph.get("Types", "").split() and paragraph.get("Enabled", "yes").strip().lower() != "no":
            for uri in paragraph.get("URIs", "").split():
                for suite in paragraph.get("Suites", "").split():
                    yield uri, suite, paragraph.get("Components", "").split()


LINE = re.compile(r"deb\s+(?:\[[^\]]*\]\s*)?(?P<uri>\S+)\s+(?P<suite>\S+)\s*(?P<components>[^#]*)")


def _line_entries(text: str, suffix: str) -> Iterator[Entry]:
    if suffix != ".list":
        return
    for line in text.splitlines():
        if match := LINE.match(line.strip()):
            yield match["uri"], match["suite"], match["components"].split()


def _resolved(uri: str, apt: Path) -> list[str]:
    """The addresses that a URI means: apt's `mirror+file:` (cloud images have it) names a file that lists them."""
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
    """The address without its last slash; empty for what is not reached by HTTP (cdrom:, file:)."""
    return uri.strip().rstrip("/") if re.match(r"https?://[^/]", uri.strip()) else ""


@functools.cache
def _session() -> requests.Session:
    session = requests.Session()
    retry = Retry(total=ATTEMPTS, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False)
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    session.headers["User-Agent"] = "iree-matrix"
    session.headers["Accept-Encoding"] = "identity"
    return session


def kept(target: Path, sha256: str, *, what: str) -> bool:
    """Whether a file was fetched before. Raises HashMismatch where it was damaged since."""
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
    """Fetch `path` below the address `source` into `target`, which appears whole and checked or not at all.

    `size` is the most that is read, in bytes. Raises NotThere, IndexUnreachable, HashMismatch (the message says `what`
    is not the one `named_in` names) and DiskFull. No message holds the address: it may hold a password.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _answer(f"{source}/{path}", what, server) as answer, atomic_write(target, what=what) as file:
                length, digest = _copy(answer.iter_content(PIECE), file, size)
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
            if attempt == ATTEMPTS or not isinstance(error, requests.exceptions.ChunkedEncodingError):
                raise IndexUnreachable(
                    f"{what}: {server.name} does not answer: {type(error).__name__}",
                    tip=f"check the network, or set {server.variable} to another mirror",
                ) from error


@contextlib.contextmanager
def _answer(url: str, what: str, server: Server) -> Iterator[requests.Response]:
    with _session().get(url, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code in (404, 410):
            raise NotThere(what)
        if not answer.ok:
            raise IndexUnreachable(
                f"{what}: {server.name} answers with status {answer.status_code}",
                tip=f"try again later, or set {server.variable} to another mirror",
            )
        yield answer


def _copy(pieces: Iterator[bytes], file: IO[bytes], limit: int) -> tuple[int, str]:
    """Length and sha256 of what was copied; one piece more than `limit` at most."""
    digest, length = hashlib.sha256(), 0
    for piece in pieces:
        file.write(piece)
        digest.update(piece)
        length += len(piece)
        if length > limit:
            break
    return length, digest.hexdigest()
