"""A bundle: what one shard measured, as one file that other machines read. A zip with `manifest.json`, the rows of
results and environments as JSON lines, and artifacts named by their sha256.

A bundle may come from a stranger: nothing of it is unpacked under a name that it gives, every digest is checked, and no
more is read than it announces.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any, NamedTuple

from matrix import __version__
from matrix.core.disk import atomic_write
from matrix.core.errors import BlobDamaged, ShardFault
from matrix.core.keys import KEY_VERSION
from matrix.core.records import JobEnd, JobResult, Outcome
from matrix.run.store import KnownEnvironment, Store

FORMAT = 1
HEAD_FILE, RESULT_ROWS, ENVIRONMENT_ROWS, BLOB_FOLDER = "manifest.json", "results.jsonl", "environments.jsonl", "blobs/"
HEX = re.compile(r"[0-9a-f]{64}")
LARGEST_ROWS = 4 << 30
"""Bytes of a bundle's rows that are read, at most: 3 million results."""
COPIED_AT_ONCE = 1 << 20
_TEXTS = ("stage", "label", "environment", "finished_at", "machine", "engine")
_TYPES = {"int": int, "float": (int, float), "str": str}
_END_FIELDS: Mapping[str, Any] = {each.name: _TYPES[str(each.type)] for each in fields(JobEnd)}
"""The fields of the end of a job, and what each may be."""
ENTRY_TIME = (1980, 1, 1, 0, 0, 0)
MAKE_AGAIN = "copy it again from where it was made, or run its shard again: what is in that store is not run again"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleHead:
    """The head of a bundle: of which plan it is which part. `table` and `question` name the table that it belongs to.
    `left` says how many of its jobs did not end."""

    plan: str
    spec: str
    shard: int
    shards: int
    wave: int
    waves: int
    table: str
    question: str
    busy: Sequence[int]
    """The shards of this wave that have jobs."""
    left: int
    results: int
    files: Mapping[str, str]
    """The sha256 of each file with rows."""
    blobs: Mapping[str, int]
    """The size of each artifact, by its sha256."""
    format: int = FORMAT
    key_version: int = KEY_VERSION
    made_by: str = __version__

    @property
    def part(self) -> str:
        """`wave 1, shard 3/16`."""
        return f"wave {self.wave}, shard {self.shard}/{self.shards}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRow:
    """An environment as a shard knew it: the digest of the request, its recipe there, and the result."""

    request: str
    recipe: str
    known: KnownEnvironment


class ResultRow(NamedTuple):
    """A result as a store keeps it: JSON, and the same as text with sorted names."""

    row: dict[str, Any]
    text: str


def save_bundle(
    path: Path,
    store: Store,
    *,
    results: Sequence[JobResult],
    environments: Sequence[EnvironmentRow],
    head: Mapping[str, Any],
) -> BundleHead:
    """Writes results, environments, and the artifacts that these results left. `head` has the other fields of the
    manifest. Raises DiskFull, StoreUnusable, BlobDamaged."""
    rows = {
        RESULT_ROWS: _lines(asdict(result) for result in sorted(results, key=lambda each: each.key)),
        ENVIRONMENT_ROWS: _lines(
            {"request": row.request, "recipe": row.recipe, **asdict(row.known)}
            for row in sorted(environments, key=lambda each: (each.request, each.recipe))
        ),
    }
    blobs = {artifact.digest: artifact.size for result in results for artifact in result.outputs}
    manifest = BundleHead(
        files={name: hashlib.sha256(content).hexdigest() for name, content in rows.items()},
        blobs=dict(sorted(blobs.items())),
        results=len(results),
        **head,
    )
    with atomic_write(path.absolute(), what=str(path)) as file, zipfile.ZipFile(file, "w", allowZip64=True) as made:
        texts = {HEAD_FILE: json.dumps(asdict(manifest), sort_keys=True).encode(), **rows}
        for name, content in texts.items():
            made.writestr(_entry(name), content, zipfile.ZIP_DEFLATED, 1)
        for digest in manifest.blobs:
            if not store.whole(digest):
                raise BlobDamaged(
                    f"the artifact {digest[:12]}…: missing, or its bytes changed on this disk",
                    tip="run the shard again: the job that made it runs once more",
                )
            with store.blob(digest).open("rb") as blob, made.open(_entry(BLOB_FOLDER + digest), "w") as entry:
                while block := blob.read(COPIED_AT_ONCE):
                    entry.write(block)
    return manifest


def _lines(rows: Iterator[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows).encode()


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, date_time=ENTRY_TIME)


def is_result(row: Mapping[str, Any]) -> bool:
    """Whether JSON of a stranger is the result of a job, as a store keeps it."""
    try:
        Outcome(row["outcome"])
        good = HEX.fullmatch(row["key"]) and row["key"] == row["end"]["key"]
        good = good and all(isinstance(row[name], str) for name in _TEXTS)
        good = good and all(map(_is_end, (row["end"], *row.get("attempts", ()))))
        good = good and all(HEX.fullmatch(digest) and isinstance(name, str) for name, digest in row["inputs"])
        good = good and all(isinstance(word, str) for word in row["command"])
        outputs = [(each["name"], each["digest"], each["size"], len(each)) for each in row["outputs"]]
        whole = (HEX.fullmatch(digest) and type(size) is int and number == 3 for _, digest, size, number in outputs)
        return bool(good) and all(whole) and all(isinstance(name, str) for name, *_ in outputs)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def _is_end(row: Mapping[str, Any]) -> bool:
    return len(row) == len(_END_FIELDS) and all(map(isinstance, map(row.get, _END_FIELDS), _END_FIELDS.values()))


class Bundle:
    """An open bundle whose manifest and rows were checked. Raises ShardFault where they are not as expected."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._faults():
            self._zip = zipfile.ZipFile(path)
        try:
            self.manifest = self._manifest()
            self.results = [self._result(line) for line in self._rows(RESULT_ROWS)]
            self.environments = [self._environment(line) for line in self._rows(ENVIRONMENT_ROWS)]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._zip.close()

    def copy_blob(self, digest: str, target: IO[bytes]) -> bool:
        """Copies an artifact. False if its bytes are others than its name says, or end too early."""
        size, found = self.manifest.blobs[digest], hashlib.sha256()
        try:
            with self._zip.open(BLOB_FOLDER + digest) as entry:
                while block := entry.read(min(COPIED_AT_ONCE, size + 1)):
                    found.update(block)
                    target.write(block)
                    size -= len(block)
                    if size < 0:
                        return False
        except (KeyError, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError):
            return False
        return found.hexdigest() == digest

    def _manifest(self) -> BundleHead:
        said = self._json(self._read(HEAD_FILE).decode("utf-8", "replace"), HEAD_FILE)
        if not isinstance(said.get("format"), int):
            raise self._fault("a manifest without a format", "a bundle of `run --shard`", MAKE_AGAIN)
        version = said["format"]
        if version != FORMAT:
            newer = "update this project" if version > FORMAT else "run its shard again with this version"
            raise self._fault(f"a bundle of format {version}", f"format {FORMAT}, which this version knows", newer)
        try:
            manifest = BundleHead(**said)
            numbers = [manifest.shard, manifest.shards, manifest.wave, manifest.waves, manifest.left, manifest.results]
            texts = (manifest.plan, manifest.spec, manifest.table, manifest.question, manifest.made_by)
            good = all(type(number) is int and number >= 0 for number in numbers)
            good = good and all(isinstance(text, str) for text in texts) and manifest.shard <= manifest.shards
            good = good and all(HEX.fullmatch(name) and type(size) is int for name, size in manifest.blobs.items())
            good = good and all(type(number) is int for number in manifest.busy)
            good = good and {RESULT_ROWS, ENVIRONMENT_ROWS} <= manifest.files.keys()
        except (TypeError, AttributeError):
            good = False
        if not good:
            raise self._fault("a manifest whose fields are others", f"that of format {FORMAT}", MAKE_AGAIN)
        if manifest.key_version != KEY_VERSION:
            raise self._fault(
                f"keys of version {manifest.key_version}, by version {manifest.made_by} of this project",
                f"keys of version {KEY_VERSION}",
                "run its shard again with this version: what it measured answers no job of today",
            )
        return manifest

    def _rows(self, name: str) -> Iterator[str]:
        content = self._read(name)
        if hashlib.sha256(content).hexdigest() != self.manifest.files[name]:
            raise self._fault(f"{name} with other bytes than the manifest says", "the same sha256", MAKE_AGAIN)
        return iter(content.decode("utf-8", "surrogateescape").splitlines())

    def _read(self, name: str) -> bytes:
        with self._faults(), self._zip.open(name) as entry:
            content = entry.read(LARGEST_ROWS + 1)
        if len(content) > LARGEST_ROWS:
            raise self._fault(f"more than {LARGEST_ROWS >> 30} GiB of {name}", "the rows of one shard", MAKE_AGAIN)
        return content

    def _result(self, line: str) -> ResultRow:
        row = self._json(line, RESULT_ROWS)
        if not is_result(row):
            raise self._fault(f"{line[:80]!r} in {RESULT_ROWS}", "the result of a job", MAKE_AGAIN)
        return ResultRow(row, line)

    def _environment(self, line: str) -> EnvironmentRow:
        row = self._json(line, ENVIRONMENT_ROWS)
        names = ("request", "recipe", "digest", "refusal", "record")
        if not all(isinstance(row.get(name), str) for name in names):
            raise self._fault(f"{line[:80]!r} in {ENVIRONMENT_ROWS}", "an environment", MAKE_AGAIN)
        known = KnownEnvironment(digest=row["digest"], refusal=row["refusal"], record=row["record"])
        return EnvironmentRow(request=row["request"], recipe=row["recipe"], known=known)

    def _json(self, text: str, name: str) -> dict[str, Any]:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self._fault(f"{text[:80]!r} in {name}", "a JSON object", MAKE_AGAIN)
        return found

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
            raise self._fault(f"a torn file, or none of this kind ({error})", "a bundle", MAKE_AGAIN) from None
        except KeyError as error:
            raise self._fault(f"a zip without its file {error}", "a bundle of `run --shard`", MAKE_AGAIN) from None
        except OSError as error:
            why = error.strerror or str(error)
            raise self._fault(f"nothing ({why})", "a bundle of `run --shard`", "look for its name and rights") from None

    def _fault(self, read: str, expected: str, tip: str) -> ShardFault:
        return ShardFault(f"{self.path}: read {read}, expected {expected}", tip=tip)
