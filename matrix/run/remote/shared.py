"""A store of this machine that also asks a shared one: rows and artifacts are looked up there before a job, and put
there after it. Without an answer it is as if the shared one were not there.

What comes is checked: an artifact by its digest, a row by its key and its form. A damaged entry is named and counts as
missing; the job runs, and puts a whole one in its place. Who may write there is believed, unless a part of the results
is measured again: an entry that then ends otherwise is named.
"""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from matrix.core.keys import Json, asked_digest, canonical
from matrix.core.records import OUTPUT_BYTES, Artifact, EnvironmentRequest, Job, JobResult, Outcome
from matrix.core.text import counted, say
from matrix.plan.stages import kinds
from matrix.run.remote.places import PlaceGone, PlaceRefuses, SharedPlace
from matrix.run.shards.bundles import is_result
from matrix.run.store import ELSEWHERE, KnownEnvironment, Store

LARGEST_ROW = 16 << 20
"""Bytes of a row: a log has 64 KiB, a job at most 10,000 outputs."""


class SharedStore(Store):
    """See `Store`."""

    def __init__(self, folder: Path, place: SharedPlace, *, checked_percent: int = 0) -> None:
        """`checked_percent`: the part of the results found there that is measured again; times are not."""
        super().__init__(folder)
        self._place, self._checked_percent = place, checked_percent
        self._reads = self._writes = True
        self._asked: set[str] = set()
        self._there: set[str] = set()
        """Digests of artifacts that this process has put there or found there."""
        self._recipes: dict[str, str] = {}
        """Recipe -> the digest of what was asked for."""
        self._doubted: dict[str, dict[str, Any]] = {}
        """Key -> the row that is there, of the jobs that are measured again."""
        self.found = self.given = self.damaged = self.checked = self.otherwise = 0

    def close(self) -> None:
        super().close()
        worse = f", {self.damaged} of its entries damaged" if self.damaged else ""
        say(f"remote: {counted(self.found, 'result')} found there, {self.given} put there{worse}")
        if self._checked_percent:
            say(
                f"remote: {counted(self.checked, 'result')} measured again, {self.otherwise} of them end otherwise here"
            )

    # -- results

    def result(self, key: str) -> JobResult | None:
        known = super().result(key)
        if known is not None or key in self._asked or not self._reads:
            return known
        return self._found(key)

    def arrived(self, job: Job) -> JobResult | None:
        return self._if_of(job, self._found(job.key))

    def _tell_strange(self, job: Job) -> None:
        self._is_damaged(f"ac/{job.key}", "the result of another job")

    def _found(self, key: str) -> JobResult | None:
        """The result of a job that is in the place; then it is in the store."""
        self._asked.add(key)
        row = self._row(key)
        if row is None:
            return None
        if not (is_result(row) and row["key"] == key and row["outcome"] != Outcome.INFRASTRUCTURE.value):
            self._is_damaged(f"ac/{key}", "no result of this job")
            return None
        if self._is_doubted(row):
            self._doubted[key] = row
            return None
        outputs = [Artifact(name=each["name"], digest=each["digest"], size=each["size"]) for each in row["outputs"]]
        if not all(self.whole(each.digest) or self._fetched(each) for each in outputs):
            return None
        self._there.update(each.digest for each in outputs)
        self.keep_records([(row, json.dumps(row, sort_keys=True))], {})
        self.found += 1
        return super().result(key)

    def record(self, result: JobResult) -> None:
        super().record(result)
        self._asked.add(result.key)
        if result.outcome is Outcome.INFRASTRUCTURE or self._disagrees(result):
            return
        if all(self._put(f"cas/{each.digest}", self.blob(each.digest)) for each in result.outputs):
            self._there.update(each.digest for each in result.outputs)
            files: list[Json] = [{"path": each.name, "digest": {"hash": each.digest}} for each in result.outputs]
            self.given += self._put_row(result.key, {"result": json.loads(json.dumps(asdict(result)))}, files)

    def _is_doubted(self, row: Mapping[str, Any]) -> bool:
        """Times differ from run to run: only what decides an outcome can be compared."""
        kind = kinds().get(row["stage"])
        return kind is not None and kind.judged and random.random() * 100 < self._checked_percent

    def _disagrees(self, result: JobResult) -> bool:
        """Whether the row that is there has another outcome, or other outputs, than what was measured here. Then both
        stay: which of the two is wrong, a person has to say."""
        row = self._doubted.pop(result.key, None)
        if row is None:
            return False
        self.checked += 1
        here = {each.name: each.digest for each in result.outputs}
        there = {each["name"]: each["digest"] for each in row["outputs"]}
        if row["outcome"] != result.outcome.value:
            what = f"read outcome {row['outcome']}, and here it is {result.outcome}"
        elif result.outcome is Outcome.PASSED and here != there:
            what = f"read other bytes of {', '.join(sorted(dict(here.items() ^ there.items())))} than are made here"
        else:
            return False
        self.otherwise += 1
        say(
            f"NOTE --remote: ac/{result.key}: {result.label}: {what}; this run has its own, and the entry stays: find "
            "out which is right, and remove it if it is not"
        )
        return True

    def share(self, digest: str, *, again: bool = False) -> None:
        if (again or digest not in self._there) and self._put(f"cas/{digest}", self.blob(digest)):
            self._there.add(digest)

    def obtain(self, digest: str) -> bool:
        return self.whole(digest) or self._fetched(Artifact(name=digest, digest=digest, size=OUTPUT_BYTES))

    # -- environments

    def environments_known(self, request: EnvironmentRequest, recipe: str, engine: str) -> list[KnownEnvironment]:
        asked = asked_digest(request, engine)
        self._recipes[recipe] = asked
        known = super().environments_known(request, recipe, engine)
        if known or asked in self._asked or not self._reads:
            return known
        self._asked.add(asked)
        row = self._row(asked)
        if row is None:
            return []
        texts = [row.get(name) for name in ("digest", "refusal", "record")]
        if not all(isinstance(text, str) for text in texts) or row.get("asked") != asked or not row["digest"]:
            self._is_damaged(f"ac/{asked}", "no environment of this request")
            return []
        found = KnownEnvironment(digest=row["digest"], refusal="", record=row["record"])
        self.remember_environments([(ELSEWHERE.format(request=asked, digest=found.digest), found)])
        return [found]

    def remember_environment(self, recipe: str, known: KnownEnvironment) -> None:
        super().remember_environment(recipe, known)
        asked = self._recipes.get(recipe, "")
        if asked and known.digest:  # what one machine's index refuses, another's may have
            self._put_row(asked, {"asked": asked, **asdict(known)}, [])

    # -- the place

    def _row(self, key: str) -> dict[str, Any] | None:
        """A row of the place; None if there is none that can be read."""
        target = BytesIO()
        if not self._get(f"ac/{key}", target, LARGEST_ROW):
            return None
        try:
            row = json.loads(target.getvalue()[: LARGEST_ROW + 1])["row"]
            sound = isinstance(row, dict)
        except (ValueError, RecursionError, KeyError, TypeError):
            sound = False
        if not sound:
            self._is_damaged(f"ac/{key}", "no row")
            return None
        found = row.get("result", row)
        return found if isinstance(found, dict) else {}

    def _fetched(self, artifact: Artifact) -> bool:
        """Whether an artifact came from the place whole; then it is in the store."""
        with tempfile.NamedTemporaryFile(dir=self.places.scratch, delete=False) as file:
            copy, there = Path(file.name), self._get(f"cas/{artifact.digest}", file, artifact.size)
        try:
            with copy.open("rb") as content:
                whole = there and hashlib.file_digest(content, "sha256").hexdigest() == artifact.digest
            if whole:
                self.put(copy, artifact.name)
            elif there:
                self._is_damaged(f"cas/{artifact.digest}", "other bytes than its name says")
        finally:
            copy.unlink(missing_ok=True)
        return whole

    def _get(self, name: str, target: IO[bytes], most: int) -> bool:
        if not self._reads:
            return False
        try:
            return self._place.get(name, target, most)
        except PlaceGone as fault:
            self._reads = self._writes = False
            say(f"NOTE --remote: {fault}; from here on it is as if it were not there")
            return False

    def _put_row(self, key: str, row: Mapping[str, Json], files: list[Json]) -> bool:
        with tempfile.NamedTemporaryFile(dir=self.places.scratch, delete=False) as file:
            file.write(canonical({"row": row, "outputFiles": files}))
        try:
            return self._put(f"ac/{key}", Path(file.name))
        finally:
            Path(file.name).unlink()

    def _put(self, name: str, source: Path) -> bool:
        if not self._writes:
            return False
        try:
            self._place.put(name, source)
        except PlaceGone as fault:
            self._reads = self._writes = False
            say(f"NOTE --remote: {fault}; from here on it is as if it were not there")
        except PlaceRefuses as fault:
            self._writes = False
            say(f"NOTE --remote: {fault}; nothing more is put there by this run")
        return self._writes

    def _is_damaged(self, name: str, what: str) -> None:
        self.damaged += 1
        say(f"NOTE --remote: {name}: read {what}; it counts as missing, and is put there again")
