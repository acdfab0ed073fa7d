"""Keeps artifacts and results: one folder with an SQLite database (WAL), and blobs named by their sha256.

Two runs can share a store: a job is claimed by a byte-range lock that the kernel releases when its holder dies, an
artifact is written to a temporary file and renamed, a result appears in one transaction. Nothing is synced to the disk
for each job: after a power failure a blob may be damaged, so it is checked before use (`core.blobs`).

`clean` removes no result that a table shows. A run's results are its table's as soon as they are recorded; only a run
that is over for all its cells takes the table's earlier results away.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from matrix.core.blobs import Blobs
from matrix.core.disk import disk_errors, store_places
from matrix.core.errors import StoreUnusable
from matrix.core.keys import asked_digest
from matrix.core.records import Artifact, EnvironmentRequest, Job, JobEnd, JobResult, Outcome
from matrix.core.text import say
from matrix.run.claims import Claims, refuse_shared_disk
from matrix.run.database import ALTERNATIVES, QUESTIONS, Database, checksum

RECORD = "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?)"
RECORDS = "SELECT key, record, checksum FROM results"
OTHERS = "SELECT key, content, record, checksum FROM alternatives"
ELSEWHERE = "request {request} {digest}"
"""The name of an environment of another machine, in the place of its recipe."""
AT_ONCE = 500
"""Keys in one query: SQLite takes 999 values in all its versions."""
SHOW = "INSERT OR REPLACE INTO shown VALUES (?, ?, ?)"
"""Takes the values of `_shown`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownEnvironment:
    """The result of realising a recipe: the digest of the environment, or why it is not installable."""

    digest: str
    refusal: str
    record: str


class Store(Blobs):
    """The open store in a folder. Use it as a context manager.

    With `read_only` nothing is changed: no store is made or migrated, and there is no scratch folder.
    """

    def __init__(self, folder: Path, *, create: bool = True, read_only: bool = False) -> None:
        folder = folder.absolute()  # jobs and installers run in other folders than this process
        super().__init__(store_places(folder))
        self._read_only = read_only
        self._table: int | None = None
        self._has_alternatives = True
        if (read_only or not create) and not (folder / "store.sqlite").is_file():
            raise StoreUnusable(
                f"{folder}: no store there, expected its store.sqlite",
                tip="`run` makes one; name the folder with --store",
            )
        with disk_errors(folder):
            if read_only:
                self._database = Database(folder, read_only=True)
                self._has_alternatives = ALTERNATIVES not in self._database.missing_migrations()
                return
            refuse_shared_disk(folder)
            self._make_folders()
            self.claims = Claims(folder)
            self._database = Database(folder)
            with self.claims.gate("migrations"):  # SQLite does not wait for others when it switches a new one to WAL
                self._database.migrate()
            self.places = replace(self.places, scratch=self.claims.scratch(self.places.scratch))

    def _make_folders(self) -> None:
        try:
            for part in (self.blobs, self.places.environments, self.places.scratch):
                part.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:  # /proc and /sys say this where nothing can be made
            raise StoreUnusable(
                f"{self.folder}: cannot be written: no folder can be made there, expected one for the store",
                tip="give another folder with --store",
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
        rows = self._database.whole_rows(f"{RECORDS} WHERE key = ?", [key])
        result = next((_result_from_json(record) for _, record in rows), None)
        if result is None or result.outcome is Outcome.INFRASTRUCTURE:
            return None
        return result if all(self.stands(artifact) for artifact in result.outputs) else None

    def result_of(self, job: Job) -> JobResult | None:
        """As `result`, if it says itself that it is of this job: another machine may have put anything there."""
        return self._if_of(job, self.result(job.key))

    def arrived(self, job: Job) -> JobResult | None:
        """The result of a job that another process has just recorded; None if none can be found."""
        return self.result_of(job)

    def _if_of(self, job: Job, result: JobResult | None) -> JobResult | None:
        own = (job.stage, job.environment, dict(job.inputs))
        if result is None or (result.stage, result.environment, dict(result.inputs)) == own:
            return result
        self._tell_strange(job)
        return None

    def _tell_strange(self, job: Job) -> None:
        say(f"NOTE {self.folder}: {job.key}: read the result of another job; it counts as missing")

    def share(self, digest: str, *, again: bool = False) -> None:
        """Lets the machines that share this store have an artifact. `again`: they said that they lack it."""

    def obtain(self, digest: str) -> bool:
        """Whether an artifact is here whole, perhaps fetched from where machines share theirs."""
        return self.whole(digest)

    def alternatives(self, key: str) -> list[JobResult]:
        """Further results of a job, which other machines had: they left something else than `result`."""
        if not self._has_alternatives:
            return []
        rows = self._database.whole_rows(f"{OTHERS} WHERE key = ? ORDER BY content", [key])
        found = [_result_from_json(row[-1]) for row in rows]
        return [result for result in found if all(map(self.stands, result.outputs))]

    def records_of(self, keys: Sequence[str]) -> Iterator[str]:
        """What is recorded of jobs, as JSON: results and alternatives."""
        for some in (keys[place : place + AT_ONCE] for place in range(0, len(keys), AT_ONCE)):
            among = f"key IN ({', '.join('?' * len(some))})"
            for query in (RECORDS, *([OTHERS] if self._has_alternatives else [])):
                for row in self._database.whole_rows(f"{query} WHERE {among}", some):
                    yield row[-1]

    def with_alternatives(self) -> set[str]:
        """The keys of the jobs that have alternatives."""
        return {key for key, *_ in self._database.whole_rows(OTHERS)}

    def all_records(self) -> Iterator[str]:
        """The records of all jobs as JSON, alternatives too."""
        for query in (RECORDS, *([OTHERS] if self._has_alternatives else [])):
            for row in self._database.whole_rows(query):
                yield row[-1]

    def keep_records(
        self, chosen: Iterable[tuple[Mapping[str, Any], str]], others: Mapping[str, Iterable[tuple[str, str]]]
    ) -> None:
        """Makes results visible that other machines had: rows and the same as JSON text. `others` are the alternatives
        of keys, (content, JSON text), in place of those that were there."""
        with self._database.transaction() as database:
            database.executemany("DELETE FROM alternatives WHERE key = ?", [(key,) for key in others])
            database.executemany(
                "INSERT INTO alternatives VALUES (?, ?, ?, ?)",
                ((key, *each, checksum(key, *each)) for key, rows in others.items() for each in rows),
            )
            database.executemany(
                RECORD,
                ((*_columns(row), text, checksum(row["key"], text)) for row, text in chosen),
            )

    def record(self, result: JobResult) -> None:
        """Makes a result visible, as one of the table of `begin_table`. Its artifacts are in the store already."""
        row = (result.key, result.stage, result.outcome.value, result.end.seconds, result.finished_at)
        record = json.dumps(asdict(result))
        with self._database.transaction() as database:
            database.execute(RECORD, (*row, record, checksum(result.key, record)))
            if self._table is not None:
                database.execute(SHOW, _shown(self._table, result.key))

    def typical_seconds(self) -> dict[str, float]:
        """The mean wall seconds of the passed jobs of each stage so far."""
        return dict(
            self._database.rows("SELECT stage, avg(seconds) FROM results WHERE outcome = 'passed' GROUP BY stage")
        )

    # -- environments

    def environment(self, recipe: str) -> KnownEnvironment | None:
        rows = self._database.whole_rows("SELECT * FROM environments WHERE recipe = ?", [recipe])
        found = (KnownEnvironment(digest=digest, refusal=why, record=record) for _, digest, why, record in rows)
        return next(found, None)

    def environments_known(self, request: EnvironmentRequest, recipe: str, engine: str) -> list[KnownEnvironment]:
        """What a recipe came to here, and what other machines made of its request, whatever their recipes were. Of
        several environments those with most results are first. With `recipe` "" this machine has none."""
        begin = ELSEWHERE.format(request=asked_digest(request, engine), digest="")
        rows = self._database.whole_rows(
            "SELECT * FROM environments WHERE recipe = ? OR (recipe >= ? AND recipe < ?) ORDER BY recipe = ? DESC",
            [recipe, begin, begin + "~", recipe],
        )
        found: dict[str, KnownEnvironment] = {}
        for _, digest, why, record in rows:
            found.setdefault(digest, KnownEnvironment(digest=digest, refusal=why, record=record))
        if len(found) < 2:
            return list(found.values())
        return sorted(found.values(), key=lambda known: -self._results_in(known.digest) if known.digest else 1)

    def _results_in(self, environment: str) -> int:
        query = "SELECT count(*) FROM results WHERE json_extract(record, '$.environment') = ?"
        return int(self._database.rows(query, [environment])[0][0])

    def environment_records(self) -> dict[str, str]:
        """The JSON records of all environments that were realised so far, by digest."""
        rows = self._database.whole_rows("SELECT * FROM environments WHERE digest <> ''")
        return {digest: record for _, digest, _, record in rows}

    def remember_environment(self, recipe: str, known: KnownEnvironment) -> None:
        row = (recipe, known.digest, known.refusal, known.record)
        with self._database.transaction() as database:
            database.execute("INSERT OR REPLACE INTO environments VALUES (?, ?, ?, ?, ?)", (*row, checksum(*row)))

    def remember_environments(self, rows: Iterable[tuple[str, KnownEnvironment]]) -> None:
        """Remembers what other machines made of recipes. Of two for one recipe the same one stays in any order: one
        that could be made before one that was refused."""
        kept: dict[str, tuple[bool, tuple[str, ...]]] = {}
        for recipe, known in rows:
            there = self.environment(recipe) if recipe not in kept else None
            for each in filter(None, (known, there)):
                row = (not each.digest, (recipe, each.digest, each.refusal, each.record))
                kept[recipe] = min(row, kept.get(recipe, row))
        with self._database.transaction() as database:
            for _, texts in kept.values():
                database.execute(
                    "INSERT OR REPLACE INTO environments VALUES (?, ?, ?, ?, ?)", (*texts, checksum(*texts))
                )

    def forget_refusals(self) -> None:
        """The index is asked again for what was not installable."""
        with self._database.transaction() as database:
            database.execute("DELETE FROM environments WHERE refusal <> ''")

    # -- what tables show

    def begin_table(self, name: str, *, question: str = "") -> None:
        """From here on, results are recorded as those of the table `name`, which answers `question` (JSON)."""
        with self._database.transaction() as database:
            database.execute("INSERT OR IGNORE INTO tables (name) VALUES (?)", (name,))
            database.execute("UPDATE tables SET question = ? WHERE name = ?", (question, name))
        self._table = self._database.rows("SELECT id FROM tables WHERE name = ?", [name])[0][0]

    def remember_shown(self, keys: Iterable[str], *, whole: bool) -> None:
        """Names the results that the table shows. Those that it showed before stay beside them, except if the new ones
        are `whole`: the results of all its cells."""
        assert self._table is not None
        rows = [_shown(self._table, key) for key in keys]
        named = {key for _, key, _ in rows}
        with self._database.transaction() as database:
            if whole:
                stale = [row for row in self._damaged_shown() if row[1] in named]
                database.executemany("DELETE FROM shown WHERE shown_by = ? AND key = ?", stale)
                database.execute("DELETE FROM shown WHERE shown_by = ?", (self._table,))
            database.executemany(SHOW, rows)

    def _damaged_shown(self) -> list[tuple[Any, Any]]:
        """The rows of what tables show that rotted on the disk: which result such a row named, nobody knows."""
        rows = self._database.rows("SELECT shown_by, key, checksum FROM shown")
        return [(table, key) for table, key, kept in rows if kept != checksum(table, key)]

    def questions(self) -> list[str]:
        """The questions of all tables, newest first; none of a table that an older version began."""
        if QUESTIONS in self._database.missing_migrations():
            return []
        return [text for (text,) in self._database.rows("SELECT question FROM tables ORDER BY id DESC") if text]

    # -- cleaning

    @property
    def shown_damage(self) -> str:
        """Why no result can be removed: not all that tables show is known. Empty where it is."""
        count = len(self._damaged_shown())
        rows = "1 row that says" if count == 1 else f"{count} rows that say"
        return f"{rows} what a table shows cannot be read any more" if count else ""

    def remove_results(self, *, older_than: str) -> int:
        """Removes results that finished before `older_than` (ISO 8601) and that no table shows; none where damage hides
        what is shown. Returns their number."""
        if self.shown_damage:
            return 0
        with self._database.transaction() as database:
            removed = database.execute(
                "DELETE FROM results WHERE finished_at < ? AND key NOT IN (SELECT key FROM shown)", (older_than,)
            ).rowcount
            database.execute("DELETE FROM alternatives WHERE key NOT IN (SELECT key FROM results)")
            return removed

    def environments_of_results(self) -> set[str]:
        """The digests of the environments of all results."""
        return {row["environment"] for row in self._records()}

    def _records(self) -> Iterator[dict[str, Any]]:
        return map(json.loads, self.all_records())

    def remove_unreferenced_blobs(self) -> int:
        """Removes blobs that no result names as an output or an input. Returns the bytes freed."""
        needed: set[str] = set()
        for row in self._records():
            needed.update(output["digest"] for output in row["outputs"])
            needed.update(digest for _, digest in row["inputs"])
        freed = 0
        for path in self.blobs.glob("*/*"):
            if path.name not in needed:
                freed += path.stat().st_size
                path.unlink()
        return freed


def _columns(row: Mapping[str, Any]) -> tuple[str, str, str, float, str]:
    return row["key"], row["stage"], row["outcome"], row["end"]["seconds"], row["finished_at"]


def _shown(table: int, key: str) -> tuple[int, str, str]:
    return table, key, checksum(table, key)


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
        attempts=tuple(JobEnd(**end) for end in row.get("attempts", ())),
    )


def _pairs(rows: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in rows)
