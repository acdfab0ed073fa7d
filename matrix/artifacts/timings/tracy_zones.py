"""The zones of a Tracy capture: what each thread did, from when to when, in nanoseconds.

Tracy's own reader is the only description of its format (`server/TracyWorker.cpp`), and a file has no lengths to skip
by. So what stands before the threads is read field by field, for the two versions that IREE's releases capture with,
and another version is refused. What stands behind them (plots, memory, symbols) is not read.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from matrix.artifacts.timings.tracy_blocks import tracy_fault, unpack_tracy
from matrix.core.errors import FileFault

KNOWN_VERSIONS = ((0, 11, 0), (0, 11, 2))
"""Of IREE 2.9 to 3.1, and of 3.2 to 3.13. The second one has dies between packages and cores, and groups of threads."""
TRACY_WORD = b"tracy"
MOST_ZONES = 4_000_000
DEEPEST_ZONE = 256
LONGEST_ZONE_TEXT = 4096
ACTIVE, BY_INDEX = 2, 1
"""Flags of a reference to a text."""
_HEAD = struct.Struct("<hqII")
"""Of a zone: source location, time since the event before, number of its texts, number of its children."""


@dataclass(slots=True, kw_only=True)
class Zone:
    """Something that a thread did, and what it did in it."""

    name: str
    start: int
    end: int = 0
    children: list[Zone] = field(default_factory=list)

    @property
    def nanoseconds(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class TracyCapture:
    """`version` is that of the format; the outermost zones of each thread."""

    version: str
    threads: tuple[Sequence[Zone], ...]


def read_tracy(content: bytes, place: str) -> TracyCapture:
    """The zones of a capture. Raises FileFault."""
    cursor = _Cursor(unpack_tracy(content, place), place)
    return _Reader(cursor).capture()


class _Cursor:
    """Reads little-endian values one after another; what ends before is a fault with its place."""

    def __init__(self, content: bytes, place: str) -> None:
        self.content, self.place, self.at = content, place, 0

    def take(self, form: struct.Struct) -> tuple[int, ...]:
        start, self.at = self.at, self.at + form.size
        if self.at > len(self.content):
            raise self.fault(start, "the end", f"{form.size} bytes more: it was cut off")
        return form.unpack_from(self.content, start)

    def number(self) -> int:
        """A whole number of 8 bytes."""
        return self.take(_U64)[0]

    def text(self) -> str:
        size = self.number()
        start = self.at
        self.skip(1, size)
        return self.content[start : start + min(size, LONGEST_ZONE_TEXT)].decode("utf-8", "backslashreplace")

    def skip(self, size: int, times: int = 1) -> None:
        start, self.at = self.at, self.at + size * times
        if self.at > len(self.content):
            raise self.fault(start, f"{len(self.content) - start:,} bytes", f"{size * times:,}: it was cut off")

    def fault(self, at: int, read: str, expected: str) -> FileFault:
        return tracy_fault(self.place, at, read, expected, inside=True)


_U32, _U64, _I32 = struct.Struct("<I"), struct.Struct("<Q"), struct.Struct("<i")
_REFERENCE = struct.Struct("<QB")
_FRAMES = struct.Struct("<QBQ")
_THREAD = struct.Struct("<QQQB")


class _Reader:
    def __init__(self, cursor: _Cursor) -> None:
        self.cursor = cursor
        self.texts: list[str] = []
        self.by_id: dict[int, str] = {}
        self.static: list[str] = []
        """Names of the source locations that programs have,"""
        self.dynamic: list[str] = []
        """and of those that were made while it ran: the dispatches'."""
        self.zones = 0

    def capture(self) -> TracyCapture:
        version = self._version()
        newer = version > KNOWN_VERSIONS[0]
        self._session(newer=newer)
        self._frames()
        self._texts()
        self._locations()
        self._locks_and_messages()
        self.cursor.skip(16)  # how many zones, and how many with children
        threads = tuple(self._thread(newer=newer) for _ in range(self.cursor.number()))
        return TracyCapture(version=".".join(map(str, version)), threads=threads)

    def _version(self) -> tuple[int, ...]:
        head = self.cursor.content[:8]
        if head[:5] != TRACY_WORD or len(head) < 8:
            raise self.cursor.fault(0, repr(head[:5]), "b'tracy' and a version")
        self.cursor.skip(8)
        version = tuple(head[5:])
        if version not in KNOWN_VERSIONS:
            known = " or ".join(".".join(map(str, each)) for each in KNOWN_VERSIONS)
            raise self.cursor.fault(5, f"a capture of Tracy {'.'.join(map(str, version))}", known)
        return version

    def _session(self, *, newer: bool) -> None:
        """The clock, the process and the machine: nothing of it is kept."""
        self.cursor.skip(7 * 8 + 1 + 4 + 12 + 1)
        self.cursor.text()
        self.cursor.text()
        self.cursor.skip(16)
        self.cursor.text()
        self._topology(3 if newer else 2)
        self.cursor.skip(8 + 8 + 8 + 4)  # a crash

    def _topology(self, levels: int) -> None:
        for _ in range(self.cursor.number()):
            self.cursor.take(_U32)
            if levels:
                self._topology(levels - 1)

    def _frames(self) -> None:
        for _ in range(self.cursor.number()):
            _, continuous, count = self.cursor.take(_FRAMES)
            self.cursor.skip((8 if continuous else 16) + 4, count)

    def _texts(self) -> None:
        at: dict[int, str] = {}
        for _ in range(self.cursor.number()):
            pointer = self.cursor.number()
            self.texts.append(self.cursor.text())
            at[pointer] = self.texts[-1]
        for _ in range(self.cursor.number()):
            identity, pointer = self.cursor.number(), self.cursor.number()
            self.by_id[identity] = at.get(pointer, "")
        for width in (16, 24, 8, 8):  # names of threads and of other processes, numbers of threads
            self.cursor.skip(width, self.cursor.number())

    def _locations(self) -> None:
        known: dict[int, str] = {}
        for _ in range(self.cursor.number()):
            pointer = self.cursor.number()
            known[pointer] = self._location()
        self.static = [known.get(self.cursor.number(), "") for _ in range(self.cursor.number())]
        self.dynamic = [self._location() for _ in range(self.cursor.number())]
        for _ in range(2):  # how many zones each of them has, of CPUs and of GPUs
            self.cursor.skip(2 + 8, self.cursor.number())

    def _location(self) -> str:
        """Its own name, or that of its function."""
        name, function, _ = (self._referred() for _ in range(3))
        self.cursor.skip(8)
        return name or function

    def _referred(self) -> str:
        value, flags = self.cursor.take(_REFERENCE)
        if not flags & ACTIVE:
            return ""
        if flags & BY_INDEX:
            return self.texts[value] if value < len(self.texts) else ""
        return self.by_id.get(value, "")

    def _locks_and_messages(self) -> None:
        for _ in range(self.cursor.number()):
            self.cursor.skip(4 + 3 + 2 + 1 + 1 + 8 + 8)
            self.cursor.skip(8, self.cursor.number())
            self.cursor.skip(8 + 2 + 1 + 1, self.cursor.number())
        self.cursor.skip(8 + 8 + 9 + 4 + 3, self.cursor.number())
        self.cursor.skip(3 + 3 + 3 + 3, self.cursor.number())  # texts of zones

    def _thread(self, *, newer: bool) -> Sequence[Zone]:
        self.cursor.take(_THREAD)
        if newer:
            self.cursor.take(_I32)  # its group
        zones = self._timeline()
        self.cursor.skip(8, self.cursor.number())
        for _ in range(2):  # samples
            self.cursor.skip(8 + 3, self.cursor.number())
        return zones

    def _timeline(self) -> Sequence[Zone]:
        """The zones of a thread. Each time is told since the event before, in the order of the file."""
        (count,) = self.cursor.take(_U32)
        outermost: list[Zone] = []
        open_lists: list[tuple[list[Zone], int]] = [(outermost, count)]
        now = 0
        while open_lists:
            zones, left = open_lists[-1]
            if left == 0:
                open_lists.pop()
                if open_lists:
                    now = self._ended(open_lists[-1][0][-1], now)
                continue
            open_lists[-1] = (zones, left - 1)
            at = self.cursor.at
            location, since, _, children = self.cursor.take(_HEAD)
            now += since
            self.zones += 1
            zones.append(Zone(name=self._name(location), start=now))
            if self.zones > MOST_ZONES or len(open_lists) > DEEPEST_ZONE:
                told = f"{MOST_ZONES:,} zones, {DEEPEST_ZONE} in each other"
                raise self.cursor.fault(at, "more zones", f"at most {told}: fewer calls, or a smaller model")
            if children:
                open_lists.append((zones[-1].children, children))
            else:
                now = self._ended(zones[-1], now)
        return outermost

    def _ended(self, zone: Zone, now: int) -> int:
        at = self.cursor.at
        (since,) = self.cursor.take(_I64)
        zone.end = now + since
        if since < 0:
            raise self.cursor.fault(at, f"a zone {zone.name!r} that ends {-since:,} ns before it starts", "its end")
        return zone.end

    def _name(self, location: int) -> str:
        names, index = (self.dynamic, -location - 1) if location < 0 else (self.static, location)
        return names[index] if index < len(names) else ""


_I64 = struct.Struct("<q")
