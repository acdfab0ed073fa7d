"""The SQLite database (WAL) of a store: its tables, its migrations, and its errors as errors of the store.

SQLite has no checksums of its own, so rows that matter carry one (`checksum` in SQL): a row that rotted on the disk is
as good as none, and what it held is measured again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matrix.core.disk import disk_errors
from matrix.core.errors import StoreTooNew, StoreUnusable
from matrix.core.keys import now

QUESTIONS = "0003_questions"
"""The migration since which a table has its question."""
ALTERNATIVES = "0005_alternatives"
"""The migration since which a key may have results that differ."""

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
    (
        "0002_shown_by_engine",
        """
        CREATE TABLE tables (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
        CREATE TABLE shown (
            shown_by INTEGER NOT NULL REFERENCES tables(id),
            key TEXT NOT NULL,
            PRIMARY KEY (shown_by, key)
        ) WITHOUT ROWID;
        CREATE TEMPORARY TABLE older AS
            SELECT runs.name || ' --engine ' || json_extract(results.record, '$.engine') AS name, results.key AS key
            FROM runs, json_each(runs.keys) AS each JOIN results ON results.key = each.value;
        INSERT INTO tables (name) SELECT DISTINCT name FROM older;
        INSERT INTO shown SELECT tables.id, older.key FROM older JOIN tables ON tables.name = older.name;
        DROP TABLE older;
        DROP TABLE runs;
        DROP TABLE artifacts;
        ALTER TABLE results ADD COLUMN checksum TEXT NOT NULL DEFAULT '';
        UPDATE results SET checksum = checksum(key, record);
        ALTER TABLE environments ADD COLUMN checksum TEXT NOT NULL DEFAULT '';
        UPDATE environments SET checksum = checksum(recipe, digest, refusal, record)
        """,
    ),
    (QUESTIONS, "ALTER TABLE tables ADD COLUMN question TEXT NOT NULL DEFAULT ''"),
    (
        "0004_shown_checksum",
        """
        ALTER TABLE shown ADD COLUMN checksum TEXT NOT NULL DEFAULT '';
        UPDATE shown SET checksum = checksum(CAST(shown_by AS TEXT), key)
        """,
    ),
    (
        ALTERNATIVES,
        """
        CREATE TABLE alternatives (
            key TEXT NOT NULL,
            content TEXT NOT NULL,
            record TEXT NOT NULL,
            checksum TEXT NOT NULL,
            PRIMARY KEY (key, content)
        ) WITHOUT ROWID
        """,
    ),
)
"""Named migrations, applied in order; each records itself in its own transaction."""
_NAME = re.compile(r"\d{4}_\w+")


def checksum(*texts: object) -> str:
    """A checksum of the texts of a row. What is none (in a damaged row) does not fit that of any text."""
    return hashlib.sha256("\0".join(map(str, texts)).encode("utf-8", "surrogateescape")).hexdigest()[:16]


class Database:
    """The open database in a store's folder. With `read_only` nothing is changed, and nothing is migrated."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self._folder, self._path = folder, folder / "store.sqlite"
        address = self._path.resolve().as_uri() + (f"?mode=ro{self._frozen()}" if read_only else "")
        with self._errors():
            self._connection = sqlite3.connect(address, uri=True, timeout=30, isolation_level=None)
            self._connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
            self._connection.create_function("checksum", -1, checksum, deterministic=True)
        if read_only:
            self.missing_migrations()

    def _frozen(self) -> str:
        """Where the disk is read-only, SQLite must not look for its side files."""
        beside = self._path.with_name(f"{self._path.name}-wal")
        return "" if os.access(self._folder, os.W_OK) or beside.exists() else "&immutable=1"

    def close(self) -> None:
        self._connection.close()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query. Raises StoreUnusable."""
        with self._errors():
            return self._connection.execute(query, values).fetchall()

    def whole_rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[str, ...]]:
        """The rows of texts whose last column is their checksum, without it: one by one, as all may not fit in memory.
        Damaged ones are left out. Raises StoreUnusable."""
        with self._errors():
            for *texts, kept in self._connection.execute(query, values):
                if kept == checksum(*texts):
                    yield tuple(texts)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing. Raises DiskFull, StoreUnusable."""
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # the first error is the one to report
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def migrate(self) -> None:
        """Updates the database to this version, each migration in a transaction that also records it."""
        with self._errors():
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL)"
            )
        for name in self.missing_migrations():
            with self.transaction() as connection:
                if name not in self.missing_migrations():
                    continue  # another process was faster
                for statement in dict(SCHEMA_MIGRATIONS)[name].split(";"):
                    connection.execute(statement)
                connection.execute("INSERT INTO migrations VALUES (?, ?)", (name, now()))

    def missing_migrations(self) -> list[str]:
        """The migrations that this store lacks. Raises StoreTooNew if it has a later one than is known here."""
        known = [name for name, _ in SCHEMA_MIGRATIONS]
        applied = [name for (name,) in self.rows("SELECT name FROM migrations ORDER BY name")]
        strange = [name for name in applied if name not in known]
        for name in strange:
            if not (isinstance(name, str) and _NAME.fullmatch(name) and name > known[-1]):
                raise self._damaged(f"migration {name!r}")
        if strange:
            raise StoreTooNew(
                f"{self._folder}: written by a newer version of this project (migration {strange[0]!r}); "
                f"expected at most {known[-1]!r}, which this version knows",
                tip="update this project, or give another folder with --store",
            )
        return [name for name in known if name not in applied]

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """A damaged file is an error with its name, at the first statement and in the middle of a run."""
        try:
            with disk_errors(self._folder):
                yield
        except sqlite3.ProgrammingError:  # a defect of ours
            raise
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter: SQLite's message quotes damaged text
            raise self._damaged(str(error)) from None

    def _damaged(self, why: str) -> StoreUnusable:
        return StoreUnusable(
            f"{self._path}: read a damaged file ({why}), expected a database of this project",
            tip="move it and the files store.sqlite-* away; the blobs beside it are kept, jobs run again",
        )
