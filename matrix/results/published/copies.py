"""Copies of fetched results in the store: the files by their sha256, and for each address which files it had, and
when. The latest ones of each address stay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from matrix.artifacts.json_reader import JsonFault, read_json
from matrix.core.blobs import read_exactly
from matrix.core.disk import atomic_write, claimed, size_of
from matrix.core.errors import BlobDamaged
from matrix.results.files import structured

COPIES_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAddress:
    """What an address had: path -> sha256."""

    format: int
    address: str
    fetched_at: str
    files: Mapping[str, str]


class Copies:
    """The copies in a store."""

    def __init__(self, store: Path) -> None:
        self.folder = store / "published"

    def read(self, digest: str) -> bytes | None:
        """A file with this sha256; None if it is not kept, or damaged."""
        try:
            return read_exactly(self._file(digest), digest)
        except BlobDamaged:
            return None

    def find(self, address: str) -> KeptAddress | None:
        """None if nothing whole is kept of it."""
        kept = _read_record(self._record(address))
        return kept if kept and all(self.read(digest) is not None for digest in kept.files.values()) else None

    def keep(self, address: str, shown: str, contents: Mapping[str, bytes]) -> None:
        """Keeps what an address has now, and drops the files that no address has any more. Raises StoreUnusable,
        DiskFull."""
        files = {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
        for path, digest in files.items():
            if self.read(digest) is None:
                self._write(self._file(digest), contents[path])
        record = {
            "format": COPIES_FORMAT,
            "address": shown,
            "fetched_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "files": files,
        }
        with claimed(self.folder / "lock"):
            self._write(self._record(address), json.dumps(record, indent=1).encode() + b"\n")
            self._drop_unnamed()

    def remove_older(self, than: str) -> int:
        """Removes what was fetched before a time (UTC, as in the records); the next `--results` fetches it again.
        Returns the bytes freed. Raises StoreUnusable."""
        with claimed(self.folder / "lock"):
            before = size_of(self.folder)
            for path in self.folder.glob("*.json"):
                kept = _read_record(path)
                if kept is None or kept.fetched_at < than:
                    path.unlink(missing_ok=True)
            self._drop_unnamed()
            return before - size_of(self.folder)

    def _drop_unnamed(self) -> None:
        needed: set[str] = set()
        for path in self.folder.glob("*.json"):
            kept = _read_record(path)
            needed.update(kept.files.values() if kept else ())
        for path in (self.folder / "files").glob("*"):
            if path.name not in needed:
                path.unlink(missing_ok=True)

    def _file(self, digest: str) -> Path:
        return self.folder / "files" / digest

    def _record(self, address: str) -> Path:
        return self.folder / f"{hashlib.sha256(address.encode()).hexdigest()[:32]}.json"

    def _write(self, target: Path, content: bytes) -> None:
        with atomic_write(target, what="a copy of published results") as file:
            file.write(content)


def _read_record(path: Path) -> KeptAddress | None:
    """None if there is none, or it is damaged or of another version."""
    try:
        document: object = read_json(path.read_bytes())
    except (OSError, JsonFault):
        return None
    kept, _ = structured(document, KeptAddress)
    return kept if kept and kept.format == COPIES_FORMAT else None
