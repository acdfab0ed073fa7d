"""Fetches files of published results over HTTP. `requests` does it, as for mirrors: it knows proxies, redirects and
retries, and notices an answer that is cut. No message holds a password or the query of an address."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from matrix.core.errors import PublishedUnreachable, ResultsFault, UsageError
from matrix.results.published.index import API_FOLDER, INDEX_PATH, SITE_TIP

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS, SILENT_SECONDS, LONGEST_SECONDS = 10.0, 30.0, 300.0
"""How long a server may take to answer, to send anything, and to send a whole file."""
FETCH_TRIES, FETCH_BYTES = 3, 1 << 16
ANSWERS_TIP = "check the address and the network; `--results FOLDER` reads a copy of the site"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAddress:
    """`whole` is requested, `shown` has no user, password or query. One of a run's file is that of no site."""

    whole: str
    shown: str
    of_run: bool


def is_address(place: str) -> bool:
    return "://" in place


def parse_address(place: str) -> SiteAddress:
    """Raises UsageError."""
    try:
        parts = urlsplit(place)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise UsageError(
            f"--results: read {place.rpartition('@')[2]!r:.80}, expected a file, a folder, or http(s)://HOST/…",
            tip="for example: --results https://HOST/iree-matrix/",
        )
    place_of_host = f"[{host}]" if ":" in host else host
    shown = f"{parts.scheme}://{place_of_host}{f':{port}' if port else ''}{parts.path}"
    if parts.path.endswith(".json") and not parts.path.endswith(f"/{INDEX_PATH}"):
        return SiteAddress(whole=place.partition("#")[0], shown=shown, of_run=True)
    root = parts._replace(path=_root_of(parts.path), query="", fragment="")
    return SiteAddress(whole=root.geturl(), shown=_root_of(shown), of_run=False)


def _root_of(path: str) -> str:
    whole = path.rstrip("/").removesuffix("/index.html")
    return whole.removesuffix(f"/{INDEX_PATH}").removesuffix(f"/{API_FOLDER}")


def fetch(url: str, most: int, shown: str) -> bytes:
    """A file of at most so many bytes. Raises PublishedUnreachable, ResultsFault."""
    import requests

    try:
        with _session().get(url, stream=True, timeout=(CONNECT_SECONDS, SILENT_SECONDS)) as answer:
            if answer.status_code != 200:
                raise PublishedUnreachable(
                    f"{shown}: the server answers with status {answer.status_code}, expected 200 and a file",
                    tip=f"give the address of a built site, which has {INDEX_PATH}; {SITE_TIP}",
                    answered=answer.status_code < 500 and answer.status_code != 429,
                )
            return _body(answer, most, shown)
    except requests.RequestException as error:
        raise PublishedUnreachable(
            f"{shown}: the server does not answer ({type(error).__name__}), expected a file of published results",
            tip=ANSWERS_TIP,
        ) from None


def _body(answer: requests.Response, most: int, shown: str) -> bytes:
    begun, content = time.monotonic(), bytearray()
    for piece in answer.iter_content(FETCH_BYTES):
        content += piece
        if len(content) > most:
            raise ResultsFault(
                f"{shown}: read more than {most} bytes, expected no more", tip="it is no file of this site: try again"
            )
        if time.monotonic() - begun > LONGEST_SECONDS:
            raise PublishedUnreachable(
                f"{shown}: read {len(content)} bytes in {LONGEST_SECONDS:.0f} s, expected a whole file",
                tip=ANSWERS_TIP,
            )
    return bytes(content)


@functools.cache
def _session() -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    session = requests.Session()
    retry = Retry(total=FETCH_TRIES - 1, backoff_factor=0.2, status_forcelist=(502, 503, 504), raise_on_status=False)
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    session.headers["User-Agent"] = "iree-matrix"
    return session
