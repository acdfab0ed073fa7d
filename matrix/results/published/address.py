"""Published results by where they are: a run's file, a folder or an address. The runs of a built site are those that
its index names, each with the bytes that the index says."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from matrix.artifacts.json_reader import JsonFault, read_json
from matrix.core.errors import DiskFull, PublishedUnreachable, ResultsFault, StoreUnusable
from matrix.core.text import say
from matrix.results.files import RESULTS_TIP, machine_files, parse_run, read_run, read_runs, run_files
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
Taken = TypeVar("Taken")
RUN_FILE_NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,99}")
OTHER_MACHINES = "other-machines"
"""The folder, beside the runs of a site, of those that repeat one of them on another machine."""


def read_published(places: Sequence[str], store: Path) -> tuple[Run, ...]:
    """The runs of files, folders and addresses, in this order; the store has copies of what was fetched. Raises
    ResultsFault, PublishedUnreachable, UsageError."""
    return tuple(run for place in places for run in _read_place(place, store))


def published_files(places: Sequence[str], store: Path, folder: Path) -> tuple[Path, ...]:
    """The same as files, for who copies and draws whole runs: also those of other machines, and with the runs of sites
    written into `folder`. Raises what `read_published` raises."""
    return tuple(
        path for number, place in enumerate(places) for path in _place_files(place, store, folder / f"{number}")
    )


def _place_files(place: str, store: Path, folder: Path) -> Sequence[Path]:
    if is_address(place):
        address = parse_address(place)
        return _of_address(address, Copies(store), lambda read: _files_at(address, read, folder))
    if not (Path(place).is_dir() or place.endswith(INDEX_PATH)):
        return (Path(place),)
    shown = _site_folder(Path(place))
    if shown is None:
        return (*_runs_in(Path(place)), *machine_files(Path(place)))
    return _write_runs(lambda path, most, _: _read_bytes(shown / path, most), str(shown), folder)


def _read_place(place: str, store: Path) -> tuple[Run, ...]:
    if is_address(place):
        address = parse_address(place)
        return _of_address(address, Copies(store), lambda read: _runs_at(address, read))
    if Path(place).is_dir() or place.endswith(INDEX_PATH):
        return _of_folder(Path(place))
    return (read_run(Path(place)),)


def _of_address(address: SiteAddress, copies: Copies, take: Callable[[SiteReader], Taken]) -> Taken:
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
        taken = take(fetched)
    except PublishedUnreachable as fault:
        kept = None if fault.answered else copies.find(address.whole)
        if kept is None:
            raise
        say(f"NOTE {fault}; this is the answer of the copy of {kept.fetched_at} in {copies.folder}")
        return take(lambda path, _, digest: copies.read(digest or kept.files.get(path, "")) or b"")
    try:
        copies.keep(address.whole, address.shown, contents)
    except (StoreUnusable, DiskFull) as fault:
        say(f"NOTE {address.shown}: no copy is kept: {fault}")
    return taken


def _runs_at(address: SiteAddress, read: SiteReader) -> tuple[Run, ...]:
    if address.of_run:
        return (run_of_bytes(read("", LARGEST_RUN, ""), address.shown),)
    return read_site_runs(read, address.shown)


def _files_at(address: SiteAddress, read: SiteReader, folder: Path) -> Sequence[Path]:
    if not address.of_run:
        return _write_runs(read, address.shown, folder)
    content = read("", LARGEST_RUN, "")
    run_of_bytes(content, address.shown)  # its faults name the address
    return (_write_run(folder, address.whole, content),)


def _write_runs(read: SiteReader, place: str, folder: Path) -> list[Path]:
    """The runs of a site as files: those that repeat another one in a folder of their own."""
    written: list[Path] = []
    for run in read_api_index(read(INDEX_PATH, LARGEST_INDEX, ""), f"{place}/{INDEX_PATH}").runs:
        content = _checked(read, run, place)
        run_of_bytes(content, f"{place}/{run.path}")
        apart = folder / OTHER_MACHINES if run.other_machine else folder
        written.append(_write_run(apart / f"{len(written)}", run.name, content))
    return written


def _write_run(folder: Path, path: str, content: bytes) -> Path:
    """Under the name of the file that the site was built from, if that is one for a file."""
    name = PurePosixPath(path).name
    file = folder / (name if RUN_FILE_NAME.fullmatch(name) else f"{hashlib.sha256(content).hexdigest()[:16]}.json")
    folder.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def _below(address: SiteAddress, path: str) -> str:
    return f"{address.shown}/{path}" if path else address.shown


def _of_folder(folder: Path) -> tuple[Run, ...]:
    """The runs of a built site, or of files that lie in a folder. Raises ResultsFault."""
    shown = _site_folder(folder)
    if shown is None:
        return read_runs(_runs_in(folder))
    return read_site_runs(lambda path, most, _: _read_bytes(shown / path, most), str(shown))


def _site_folder(folder: Path) -> Path | None:
    """The root of the built site that a folder is, or is in; None for a folder of runs. Raises ResultsFault."""
    root = Path(site_root(folder.absolute().as_posix()))
    if (root / INDEX_PATH).is_file():
        return folder if (folder / INDEX_PATH).is_file() else root
    if (root / "site.json").is_file():
        raise ResultsFault(
            f"{folder}: read a site without {INDEX_PATH}, expected one that has it",
            tip=f"an older version built it: build it again, or give {folder / 'data'}",
        )
    return None


def _runs_in(folder: Path) -> tuple[Path, ...]:
    if not (files := run_files(folder)):
        raise ResultsFault(f"{folder}: read no {INDEX_PATH} and no .json, expected a built site or runs", tip=SITE_TIP)
    return files


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
    ordered = sorted(chosen, key=lambda run: PurePosixPath(run.name))
    return tuple(run_of_bytes(_checked(read, run, place), f"{place}/{run.path}") for run in ordered)


def _checked(read: SiteReader, run: PublishedRun, place: str) -> bytes:
    content = read(run.path, run.bytes, run.sha256)
    found = hashlib.sha256(content).hexdigest()
    if found != run.sha256:
        raise ResultsFault(
            f"{place}/{run.path}: read a file of sha256 {found[:16]}…, expected {run.sha256[:16]}… as {INDEX_PATH} "
            "says",
            tip="it was changed or cut, or the site was built again meanwhile: try again",
        )
    return content


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
