"""Published results by where they are: a run's file, a folder or an address. The runs of a built site are those that
its index names, each with the bytes that the index says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from matrix.artifacts.json_reader import JsonFault, read_json
from matrix.core.errors import DiskFull, PublishedUnreachable, ResultsFault, StoreUnusable
from matrix.core.text import say
from matrix.results.files import RESULTS_TIP, parse_run, read_run, read_runs, run_files
from matrix.results.published.copies import Copies
from matrix.results.published.fetching import SiteAddress, fetch, is_address, parse_address
from matrix.results.published.index import (
    API_FOLDER,
    INDEX_PATH,
    LARGEST_INDEX,
    LARGEST_RUN,
    SITE_TIP,
    PublishedRun,
    read_api_index,
)
from matrix.results.run import Run

SiteReader = Callable[[str, int, str], bytes]
"""Gives a file of a site: its path below the root, the most bytes that are of use, its sha256 ('' if unknown)."""


def read_published(places: Sequence[str], store: Path) -> tuple[Run, ...]:
    """The runs of files, folders and addresses, in this order; the store has copies of what was fetched. Raises
    ResultsFault, PublishedUnreachable, UsageError."""
    return tuple(run for place in places for run in _read_place(place, store))


def _read_place(place: str, store: Path) -> tuple[Run, ...]:
    if is_address(place):
        return _of_address(parse_address(place), Copies(store))
    if Path(place).is_dir() or place.endswith(INDEX_PATH):
        return _of_folder(Path(place))
    return (read_run(Path(place)),)


def _of_address(address: SiteAddress, copies: Copies) -> tuple[Run, ...]:
    """What an address has now; where its server does not answer, what it had when it was fetched last, with a note.
    Raises PublishedUnreachable, ResultsFault."""
    contents: dict[str, bytes] = {}

    def fetched(path: str, most: int, digest: str) -> bytes:
        content = copies.read(digest) if digest else None
        if content is None:
            content = fetch(f"{address.whole}/{path}" if path else address.whole, most, _below(address, path))
        contents[path] = content
        return content

    try:
        runs = _runs_at(address, fetched)
    except PublishedUnreachable as fault:
        kept = None if fault.answered else copies.find(address.whole)
        if kept is None:
            raise
        say(f"NOTE {fault}; this is the answer of the copy of {kept.fetched_at} in {copies.folder}")
        return _runs_at(address, lambda path, _, digest: copies.read(digest or kept.files.get(path, "")) or b"")
    try:
        copies.keep(address.whole, address.shown, contents)
    except (StoreUnusable, DiskFull) as fault:
        say(f"NOTE {address.shown}: no copy is kept: {fault}")
    return runs


def _runs_at(address: SiteAddress, read: SiteReader) -> tuple[Run, ...]:
    if address.of_run:
        return (run_of_bytes(read("", LARGEST_RUN, ""), address.shown),)
    return read_site_runs(read, address.shown)


def _below(address: SiteAddress, path: str) -> str:
    return f"{address.shown}/{path}" if path else address.shown


def _of_folder(folder: Path) -> tuple[Run, ...]:
    """The runs of a built site, or of files that lie in a folder. Raises ResultsFault."""
    root = Path(site_root(folder.absolute().as_posix()))
    if (root / INDEX_PATH).is_file():
        shown = folder if (folder / INDEX_PATH).is_file() else root
        return read_site_runs(lambda path, most, _: _read_bytes(shown / path, most), str(shown))
    if (root / "site.json").is_file():
        raise ResultsFault(
            f"{folder}: read a site without {INDEX_PATH}, expected one that has it",
            tip=f"an older version built it: build it again, or give {folder / 'data'}",
        )
    if not (files := run_files(folder)):
        raise ResultsFault(f"{folder}: read no {INDEX_PATH} and no .json, expected a built site or runs", tip=SITE_TIP)
    return read_runs(files)


def site_root(place: str) -> str:
    """The root of a site whose root, API or index is named."""
    whole = place.rstrip("/")
    for end in (f"/{INDEX_PATH}", f"/{API_FOLDER}"):
        if whole.endswith(end):
            return whole.removesuffix(end) or "/"
    return whole or "/"


def read_site_runs(read: SiteReader, place: str) -> tuple[Run, ...]:
    """The runs of a site, by the names of their files. Raises ResultsFault, and what the reader raises."""
    index = read_api_index(read(INDEX_PATH, LARGEST_INDEX, ""), f"{place}/{INDEX_PATH}")
    chosen = [run for run in index.runs if not run.other_machine]
    return tuple(_checked(read, run, place) for run in sorted(chosen, key=lambda run: PurePosixPath(run.name)))


def _checked(read: SiteReader, run: PublishedRun, place: str) -> Run:
    source = f"{place}/{run.path}"
    content = read(run.path, run.bytes, run.sha256)
    found = hashlib.sha256(content).hexdigest()
    if found != run.sha256:
        raise ResultsFault(
            f"{source}: read a file of sha256 {found[:16]}…, expected {run.sha256[:16]}… as {INDEX_PATH} says",
            tip="it was changed or cut, or the site was built again meanwhile: try again",
        )
    return run_of_bytes(content, source)


def run_of_bytes(content: bytes, source: str) -> Run:
    """The run in the bytes of a file. Raises ResultsFault."""
    try:
        return parse_run(read_json(content), source=source)
    except JsonFault as error:
        raise ResultsFault(f"{source}: not JSON: {error}", tip=RESULTS_TIP) from None


def _read_bytes(path: Path, most: int) -> bytes:
    """Up to one byte more than `most`. Raises ResultsFault."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise ResultsFault(
            f"{path}: read nothing ({error.strerror}), expected a file of the site", tip=SITE_TIP
        ) from None
