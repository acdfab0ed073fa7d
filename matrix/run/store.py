"""Keeps artifacts and results: one folder with an SQLite database (WAL), and blobs named by their sha256.

Two runs can share a store: a job is claimed by a byte-range lock that the kernel releases when its holder dies, an
artifact is written to a temporary file and renamed, a result appears in one transaction. Nothing is synced to the disk
for each job: after a power failure a blob may be incomplete, so its size is checked before use.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from matrix.core.disk import disk_errors, store_places
from matrix.core.errors import StoreTooNew, StoreUnusable
from matrix.core.keys import now
from matrix.core.records import Artifact, JobEnd, JobResult, Outcome
from matrix.run.claims import Claims

SCHEMA_MIGRATIONS: tuple[tuple[str, str], ...] = (
    (
        "0001_results",
        """
        CREATE TABLE results (
            key TEXT PRIMARY KEY,
            stage TEXT NOT NULL,
            outcome TEXT NOT NULL,
            seconds REAL NOT NULL,
            finished_at TEXT NOT NULL,
            record TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE artifacts (
            key TEXT NOT NULL REFERENCES results(key) ON DELETE CASCADE,
            name TEXT NOT NULL,
            digest TEXT NOT NULL,
            size INTEGER NOT NULL,
            PRIMARY KEY (key, name)
        ) WITHOUT ROWID;
        CREATE TABLE environments (
            recipe TEXT PRIMARY KEY,
            digest TEXT NOT NULL,
            refusal TEXT NOT NULL,
            record TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE runs (
            name TEXT PRIMARY KEY,
            finished_at TEXT NOT NULL,
            keys TEXT NOT NULL
        ) WITHOUT ROWID;
        """,
    ),
)
"""Named migrations, applied in order; each records itself in its own transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownEnvironment:
    """The result of realising a recipe: the digest of the environment, or why it is not installable."""

    digest: str
    refusal: str
    record: str


class Store:
    """The open store in a folder. Use it as a context manager.

    With `read_only` nothing is changed: no store is made or migrated, and there is no scratch folder.
    """

    def __init__(self, folder: Path, *, create: bool = True, read_only: bool = False) -> None:
        folder = folder.absolute()  # jobs and installers run in other folders than this process
        self.folder, self._read_only = folder, read_only
        self.blobs = folder / "blobs"
        self.places = store_places(folder)
        if (read_only or not create) and not (folder / "store.sqlite").is_file():
            raise StoreUnusable(f"{folder}: no store there", tip="`run` makes one; name the folder with --store")
        with disk_errors(folder):
            if read_only:
                address = (folder / "store.sqlite").resolve().as_uri()
                self._database = self._connect(f"{address}?mode=ro{self._frozen()}")
                self._checked(self._missing_migrations)
                return
            self._make_folders()
            self.claims = Claims(folder)
            self._database = self._connect((folder / "store.sqlite").resolve().as_uri())
            with self.claims.gate(
                "migrations"
            ):  # SQLite does not wait for others when it switches a new database to WAL
                self._checked(self._migrate)
            self.places = replace(self.places, scratch=self.claims.scratch(self.places.scratch))

    def _make_folders(self) -> None:
        try:
            for part in (self.blobs, self.places.environments, self.places.scratch):
                part.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:  # /proc and /sys say this where nothing can be made
            raise StoreUnusable(
                f"{self.folder}: cannot be written: no folder can be made there", tip="give another folder with --store"
            ) from None

    def _frozen(self) -> str:
        """Where the disk is read-only, SQLite must not look for its side files."""
        beside = self.folder / "store.sqlite-wal"
        return "" if os.access(self.folder, os.W_OK) or beside.exists() else "&immutable=1"

    def _connect(self, address: str) -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, timeout=30, isolation_level=None)

    def _checked(self, step: Callable[[], object]) -> None:
        """Runs the first statement on the database. A file that is no database is an error with its name."""
        try:
            step()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise StoreUnusable(
                f"{self.folder / 'store.sqlite'}: not a database of this project: {error}",
                tip="move the file away; the blobs beside it are kept",
            ) from None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()
        if not self._read_only:
            self.claims.close()

    # -- results

    def result(self, key: str) -> JobResult | None:
        """The finished result of a job, or None. An `infrastructure` result is kept as evidence but answers nothing."""
        row = self._database.execute("SELECT record, outcome FROM results WHERE key = ?", (key,)).fetchone()
        if row is None or row[1] == Outcome.INFRASTRUCTURE:
            return None
        result = _result_from_json(row[0])
        return result if all(self._whole(artifact) for artifact in result.outputs) else None

    def record(self, result: JobResult) -> None:
        """Makes a result visible. Its artifacts are in the store already."""
        with disk_errors(self.folder), self._transaction() as database:
            database.execute("DELETE FROM artifacts WHERE key = ?", (result.key,))
            database.execute(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?)",
                (
                    result.key,
                    result.stage,
                    result.outcome.value,
                    result.end.seconds,
                    result.finished_at,
                    json.dumps(asdict(result)),
                ),
            )
            database.executemany(
                "INSERT INTO artifacts VALUES (?, ?, ?, ?)",
                [(result.key, artifact.name, artifact.digest, artifact.size) for artifact in result.outputs],
            )

    def typical_seconds(self) -> dict[str, float]:
        """The mean wall seconds of the passed jobs of each stage so far."""
        rows = self._database.execute("SELECT stage, avg(seconds) FROM results WHERE outcome = 'passed' GROUP BY stage")
        return {stage: seconds for stage, seconds in rows}

    # -- artifacts

    def put(self, path: Path, name: str) -> Artifact:
        """Puts a file into the store: moves it if it is on the store's disk, else copies it."""
        with disk_errors(self.folder):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = os.fstat(file.fileno()).st_size
            place = self.blob(digest)
            if not place.exists() or place.stat().st_size != size:
                place.parent.mkdir(exist_ok=True)
                path.chmod(0o444)
                _move(path, place)
        return Artifact(name=name, digest=digest, size=size)

    def put_copy(self, path: Path, name: str) -> Artifact:
        """Like `put`, but leaves a user's file where it is."""
        with disk_errors(self.folder):
            copy = Path(tempfile.mkstemp(dir=self.places.scratch)[1])
            shutil.copyfile(path, copy)
        artifact = self.put(copy, name)
        copy.unlink(missing_ok=True)
        return artifact

    def blob(self, digest: str) -> Path:
        """The path of an artifact with this sha256, whether it exists or not."""
        return self.blobs / digest[:2] / digest

    def _whole(self, artifact: Artifact) -> bool:
        try:
            return self.blob(artifact.digest).stat().st_size == artifact.size
        except FileNotFoundError:
            return False

    # -- environments and runs

    def environment(self, recipe: str) -> KnownEnvironment | None:
        row = self._database.execute(
            "SELECT digest, refusal, record FROM environments WHERE recipe = ?", (recipe,)
        ).fetchone()
        return KnownEnvironment(digest=row[0], refusal=row[1], record=row[2]) if row else None

    def environment_records(self) -> dict[str, str]:
        """The JSON records of all environments that were realised so far, by digest."""
        rows = self._database.execute("SELECT digest, record FROM environments WHERE digest <> ''")
        return {digest: record for digest, record in rows}

    def remember_environment(self, recipe: str, known: KnownEnvironment) -> None:
        with disk_errors(self.folder), self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO environments VALUES (?, ?, ?, ?)",
                (recipe, known.digest, known.refusal, known.record),
            )

    def remember_run(self, name: str, keys: Iterable[str]) -> None:
        """Names the results that the table of `name` shows: `clean` keeps them."""
        with disk_errors(self.folder), self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", (name, now(), json.dumps(sorted(set(keys))))
            )

    # -- cleaning

    def shown_keys(self) -> set[str]:
        """The results that some table shows."""
        return {key for (keys,) in self._database.execute("SELECT keys FROM runs") for key in json.loads(keys)}

    def remove_results(self, *, older_than: str) -> int:
        """Removes results that finished before `older_than` (ISO 8601) and that no table shows. Returns their
        number."""
        shown = self.shown_keys()
        rows = self._database.execute("SELECT key FROM results WHERE finished_at < ?", (older_than,)).fetchall()
        old = [(key,) for (key,) in rows if key not in shown]
        with self._transaction() as database:
            database.executemany("DELETE FROM artifacts WHERE key = ?", old)
            database.executemany("DELETE FROM results WHERE key = ?", old)
        return len(old)

    def environments_of_results(self) -> set[str]:
        """The digests of the environments of all results."""
        rows = self._database.execute("SELECT DISTINCT json_extract(record, '$.environment') FROM results")
        return {digest for (digest,) in rows}

    def remove_unreferenced_blobs(self) -> int:
        """Removes blobs that no result names as an output or an input. Returns the bytes freed."""
        needed = {digest for (digest,) in self._database.execute("SELECT digest FROM artifacts")}
        for (record,) in self._database.execute("SELECT record FROM results"):
            needed.update(digest for _, digest in json.loads(record)["inputs"])
        freed = 0
        for path in self.blobs.glob("*/*"):
            if path.name not in needed:
                freed += path.stat().st_size
                path.unlink()
        return freed

    # -- inside

    def _migrate(self) -> None:
        """Updates the database to this version, each migration in a transaction that also records it."""
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL)"
        )
        for name in self._missing_migrations():
            with self._transaction() as database:
                if name not in self._missing_migrations():
                    continue  # another process was faster
                for statement in dict(SCHEMA_MIGRATIONS)[name].split(";"):
                    database.execute(statement)
                database.execute("INSERT INTO migrations VALUES (?, ?)", (name, now()))

    def _missing_migrations(self) -> list[str]:
        """The migrations that this store lacks. Raises StoreTooNew if it has one that is unknown here."""
        known = [name for name, _ in SCHEMA_MIGRATIONS]
        applied = [name for (name,) in self._database.execute("SELECT name FROM migrations ORDER BY name")]
        strange = [name for name in applied if name not in known]
        if strange:
            raise StoreTooNew(
                f"{self.folder}: written by a newer version of this project (migration {strange[0]!r}); "
                f"this version knows up to {known[-1]!r}",
                tip="update this project, or give another folder with --store",
            )
        return [name for name in known if name not in applied]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _move(path: Path, place: Path) -> None:
    try:
        path.rename(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = place.with_name(f"{place.name}.{os.getpid()}")
        shutil.copy2(path, beside)
        beside.rename(place)


def _result_from_json(text: str) -> JobResult:
    row = json.loads(text)
    return JobResult(
        key=row["key"],
        stage=row["stage"],
        outcome=Outcome(row["outcome"]),
        label=row["label"],
        environment=row["environment"],
        end=JobEnd(**row["end"]),
        outputs=tuple(Artifact(**artifact) for artifact in row["outputs"]),
        command=tuple(row["command"]),
        inputs=_pairs(row["inputs"]),
        finished_at=row["finished_at"],
        machine=row["machine"],
        engine=row["engine"],
    )


def _pairs(rows: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in rows)
