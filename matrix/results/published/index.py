"""The index of a site's static API, as far as a reader of results needs it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from matrix.artifacts.json_reader import JsonFault, read_json
from matrix.core.errors import ResultsFault
from matrix.core.text import mark_controls
from matrix.results.files import LONGEST_FAULT, MOST_FAULTS, structured

API_VERSION = 1
"""The version of all documents below `API_FOLDER`. Within a version, keys are only added."""
API_FOLDER = f"api/v{API_VERSION}"
INDEX_PATH = f"{API_FOLDER}/index.json"
"""Paths below the root of a site, as are all paths in the documents."""
SITE_TIP = "`python -m matrix site -o FOLDER` builds one"
FILE_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
LARGEST_INDEX, LARGEST_RUN = 1 << 24, 1 << 28
"""Bytes that are read at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRun:
    """A run's file; `other_machine` says that it repeats, elsewhere, the preset of another run: answers leave it
    out."""

    name: str
    path: str
    sha256: str
    bytes: int
    other_machine: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedIndex:
    """The version, and the runs from which the pages and answers of a site were made."""

    api: int
    runs: tuple[PublishedRun, ...]


def read_api_index(content: bytes, place: str) -> PublishedIndex:
    """The index in a file of this name. Raises ResultsFault."""
    try:
        document: object = read_json(content)
    except JsonFault as error:
        raise ResultsFault(f"{place}: not an index of results: {error}", tip=SITE_TIP) from None
    read = document.get("api") if isinstance(document, Mapping) else None
    if type(read) is not int:
        head = mark_controls(f"{read!r:.40}") if isinstance(document, Mapping) else f"a {type(document).__name__}"
        raise ResultsFault(f"{place}: read {head} as `api`, expected {API_VERSION}", tip=SITE_TIP)
    if read != API_VERSION:
        newer = "a newer version of this project wrote it: update" if read > API_VERSION else SITE_TIP
        raise ResultsFault(f"{place}: read version {read} of the API, expected {API_VERSION}", tip=newer)
    index, faults = structured(document, PublishedIndex)
    if index is not None:
        faults = [fault for number, run in enumerate(index.runs) for fault in _faults(run, f"runs[{number}]")]
        faults += [] if index.runs else ["runs: read none, expected some"]
    if index is None or faults:
        listed = "\n".join(f"  {mark_controls(fault, LONGEST_FAULT)}" for fault in faults[:MOST_FAULTS])
        raise ResultsFault(f"{place}: not an index of version {API_VERSION}:\n{listed}", tip=SITE_TIP)
    return index


def _faults(run: PublishedRun, place: str) -> list[str]:
    """What would lead out of the site, or cannot be checked."""
    parts = PurePosixPath(run.path).parts
    below = bool(parts) and not ({"..", "/"} & set(parts)) and not any(letter in run.path for letter in ":?#%\\\0")
    found = [] if below else [f"{place}.path: read {run.path!r}, expected a path below the site"]
    if not FILE_SHA256.match(run.sha256):
        found.append(f"{place}.sha256: read {run.sha256!r}, expected 64 hex digits")
    if not 0 <= run.bytes <= LARGEST_RUN:
        found.append(f"{place}.bytes: read {run.bytes}, expected at most {LARGEST_RUN}")
    return found
