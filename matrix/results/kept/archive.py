"""The archive of published runs: `PRESET/DATE-MACHINE-RUN.json.xz`, each a whole run as columns.

A file is never changed. So two machines, or two branches, add to an archive without a clash. The date is that of the
newest job, MACHINE and RUN are the first digits of sha256: of the classes of the machines, and of the run.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from matrix.artifacts.json_reader import JsonFault, read_json
from matrix.core.disk import atomic_write
from matrix.core.errors import NoAnswer, ResultsFault
from matrix.core.versions import did_you_mean
from matrix.results.files import parse_run, read_run
from matrix.results.kept.columns import pack, unpack
from matrix.results.run import Run
from matrix.results.written.json_text import run_json

ARCHIVE_FORMAT = 1
"""Of the columns. The run inside has the format of results, and is migrated like any other."""
KEPT_NAME = re.compile(r"(\d{4}-\d\d-\d\d)-([0-9a-f]{8})-([0-9a-f]{8})\.json\.xz")
LARGEST_KEPT = 1 << 28
"""Bytes of one run that are read at most."""
KEEP_TIP = "`python -m matrix keep` adds published runs, `keep --list` says what there is"
NEWEST = "latest"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Kept:
    """A run in the archive."""

    preset: str
    date: str
    machine: str
    path: Path

    @property
    def name(self) -> str:
        return f"{self.preset}@{self.path.name.removesuffix('.json.xz')}"


def keep_run(run: Run, archive: Path) -> tuple[Path, bool]:
    """Keeps a run. Returns its file, and whether it is new. Raises ResultsFault for one without a finished job,
    StoreUnusable, DiskFull."""
    if not run.date or not run.preset or Path(run.preset).name != run.preset:
        raise ResultsFault(
            f"{run.source}: read the preset {run.preset!r} and the date {run.date!r}, expected a run with a name and "
            "finished jobs",
            tip="`python -m matrix show --format json --output FILE` writes one of what was measured",
        )
    document = json.loads(run_json(run))
    whole = json.dumps({"format": ARCHIVE_FORMAT, "record": pack(document)}, separators=(",", ":"))
    machines = "\n".join(sorted({job.machine for job in run.jobs.values()}))
    name = f"{run.date}-{_digits(machines)}-{_digits(json.dumps(document, sort_keys=True))}.json.xz"
    path = archive / run.preset / name
    if path.is_file():
        return path, False
    with atomic_write(path, what="a kept run") as file:
        file.write(lzma.compress(whole.encode(), preset=9))
    return path, True


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def kept_runs(archive: Path) -> tuple[Kept, ...]:
    """What the archive has, by preset, date and machine."""
    found = []
    for path in archive.glob("*/*.json.xz"):
        if match := KEPT_NAME.fullmatch(path.name):
            found.append(Kept(preset=path.parent.name, date=match[1], machine=match[2], path=path))
    return tuple(sorted(found))


def read_kept(path: Path) -> Run:
    """Raises ResultsFault."""
    try:
        reader = lzma.LZMADecompressor()
        content = reader.decompress(path.read_bytes(), max_length=LARGEST_KEPT)
        if not reader.eof:
            raise ValueError(f"it is cut, or larger than {LARGEST_KEPT} bytes")
        document = read_json(content)
        read = document.get("format") if isinstance(document, dict) else None
        if type(read) is int and read > ARCHIVE_FORMAT:
            raise ResultsFault(
                f"{path}: read format {read} of the archive, expected at most {ARCHIVE_FORMAT}",
                tip="a newer version of this project wrote it: update",
            )
        if not isinstance(document, dict) or read != ARCHIVE_FORMAT:
            raise ValueError(f"read {read!r:.40} as `format`, expected {ARCHIVE_FORMAT}")
        return parse_run(unpack(document["record"]), source=str(path))
    except OSError as error:
        raise ResultsFault(f"{path}: read nothing ({error.strerror}), expected a kept run", tip=KEEP_TIP) from None
    except (lzma.LZMAError, JsonFault, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ResultsFault(
            f"{path}: not a kept run: {error!s:.300}", tip="take the file from the repository again"
        ) from None


def read_dated(word: str, archive: Path) -> Run:
    """The run in a file, or the kept one of PRESET@DATE. Raises ResultsFault, NoAnswer."""
    if "@" in word and not Path(word).exists():
        return read_kept(find_kept(word, archive).path)
    return read_run(Path(word))


def find_kept(word: str, archive: Path) -> Kept:
    """The run of `PRESET@DATE`: the newest one of that day or before it; `latest`, or the name from `keep --list`.
    Raises NoAnswer."""
    preset, _, term = word.partition("@")
    runs = kept_runs(archive)
    own = [each for each in runs if each.preset == preset]
    if not own:
        known = list(dict.fromkeys(each.preset for each in runs))
        expected = f"expected one of {', '.join(known)}{did_you_mean(preset, known)}" if known else "and it has none"
        raise NoAnswer(f"{word}: {archive} has no run of {preset!r}, {expected}", tip=KEEP_TIP)
    if named := [each for each in own if term and each.name.partition("@")[2].startswith(f"{term}-")]:
        return _one(word, named)
    if exact := [each for each in own if each.name == word]:
        return exact[0]
    day = own[-1].date if term == NEWEST else term
    if not re.fullmatch(r"\d{4}-\d\d(-\d\d)?", day):
        raise NoAnswer(
            f"{word}: read {term!r}, expected a date such as {own[-1].date}, {NEWEST}, or a name", tip=KEEP_TIP
        )
    before = [each for each in own if each.date[: len(day)] <= day]
    if not before:
        raise NoAnswer(f"{word}: the first run of {preset} is of {own[0].date}, expected no earlier date", tip=KEEP_TIP)
    return _one(word, [each for each in before if each.date == before[-1].date])


def _one(word: str, found: Iterable[Kept]) -> Kept:
    """The only one; of one machine the last. Raises NoAnswer for runs of several machines."""
    runs = list(found)
    if len({each.machine for each in runs}) > 1:
        listed = "\n".join(f"  {each.name}" for each in runs)
        raise NoAnswer(f"{word}: runs of several machines fit, expected one:\n{listed}", tip="give one of these names")
    return runs[-1]
