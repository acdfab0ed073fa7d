"""What faults are done to: one small real question, stores in which it is asked, and calls of the program.

Two compilers, two runtimes, one model: six jobs, four cells, two of them red for good reasons. It is asked once per
engine with no fault; those bytes are what every later call is compared with.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import platform
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from command_line import ROOT, surroundings, write_spec
from debian_programs import installed

from matrix.core.errors import MatrixError
from matrix.run.database import checksum

COMPILERS = RUNTIMES = ("3.8.0", "3.13.0")
"""Compilers whose modules are the same bytes each time. (3.10.0 writes other ones in one of two compiles.)"""
CALL_SECONDS = 360.0
"""A call that takes longer is ended, and that is a broken invariant."""
POLL_SECONDS = 0.02
KEPT = ("environments", "files", "nix-roots")
"""The folders of a store that a place gets: what was made or fetched, and no result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A call of the program that is over. `status` is negative where a signal ended it."""

    words: tuple[str, ...]
    status: int
    out: str
    err: str
    seconds: float
    peak_bytes: int
    overdue: bool
    killed_by: int = 0
    """The signal that the trial itself sent to it, or 0."""


@dataclass(slots=True, kw_only=True)
class Call:
    """A call of the program under way. Its output goes to files: a process that is left behind holds up no pipe."""

    words: tuple[str, ...]
    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    begun: float
    peak_bytes: int = 0
    killed_by: int = 0

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def over(self) -> bool:
        """Whether it has ended. Also looks at its memory."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            status = Path(f"/proc/{self.pid}/status").read_text()
            self.peak_bytes = max(self.peak_bytes, int(status.partition("VmHWM:")[2].split()[0]) << 10)
        return self.process.poll() is not None

    def send(self, number: int) -> None:
        """Sends a signal to the program itself and remembers it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            self.killed_by = self.killed_by if number == signal.SIGCONT else number

    def kill(self) -> None:
        """Ends it at once if it is not over. What it started ends with it."""
        if not self.over:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()

    def end(self, seconds: float = CALL_SECONDS) -> Ended:
        """Waits for its end, not longer than `seconds`."""
        until = time.monotonic() + seconds
        while not self.over and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        overdue = not self.over
        self.kill()
        status = self.process.wait()
        return Ended(
            words=self.words,
            status=status,
            out=self.out.read_text(errors="replace"),
            err=self.err.read_text(errors="replace"),
            seconds=time.monotonic() - self.begun,
            peak_bytes=self.peak_bytes,
            overdue=overdue,
            killed_by=self.killed_by,
        )


@dataclass(slots=True, kw_only=True)
class Place:
    """A folder with a store of its own, in which one trial happens. `ended` has all calls that are over."""

    folder: Path
    spec: Path
    engine: str
    cache: Path | None
    before: tuple[str, ...] = ()
    """What stands before each command line."""
    environ: dict[str, str] = field(default_factory=dict)
    """Variables that all its calls get, beside the bed's."""
    store_folder: Path | None = None
    """Where the store is, if not in the place's folder itself."""
    ended: list[Ended] = field(default_factory=list)
    begun: list[Call] = field(default_factory=list)
    stranger: str = ""
    """The name of a toolchain that is hostile: its own results may be red."""

    @property
    def store(self) -> Path:
        return self.store_folder or self.folder / "store"

    @property
    def starts(self) -> Path:
        """Where workers write down each job that they start (not in containers)."""
        return self.folder / "starts"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def run_words(self) -> tuple[str, ...]:
        """The command of the question. After each fault it is given again."""
        return ("run", str(self.spec), "--engine", self.engine, "--format", "csv", "--store", str(self.store))

    def link_environments(self, store: Path, start: str) -> None:
        """Environments that stand in another store, each by a symbolic link: those whose name starts so."""
        (self.store / "environments").mkdir(parents=True, exist_ok=True)
        for environment in (store / "environments").glob(f"{start}*"):
            if environment.is_dir():
                (self.store / "environments" / environment.name).symlink_to(environment)

    def begin(self, *words: str, **env: str) -> Call:
        """Starts `python -m matrix …` (without words: the question) in a process group of its own."""
        words = words or self.run_words()
        number = len(list(self.folder.glob("out-*")))
        out, err = self.folder / f"out-{number}", self.folder / f"err-{number}"
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [*self.before, sys.executable, "-m", "matrix", *words],
                cwd=ROOT,
                env=surroundings(**self.variables() | env),
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
                process_group=0,
            )
        self.begun.append(Call(words=words, process=process, out=out, err=err, begun=time.monotonic()))
        return self.begun[-1]

    def variables(self) -> dict[str, str]:
        caches = {"UV_CACHE_DIR": self.cache / "uv", "XDG_CACHE_HOME": self.cache / "other"} if self.cache else {}
        return {
            "PYTHONPATH": str(ROOT),
            "IREE_MATRIX_START_LOG": str(self.starts),
            "TMPDIR": str(self.temporary),
            **{name: str(path) for name, path in caches.items()},
            **self.environ,
        }

    def finish(self, call: Call, seconds: float = CALL_SECONDS) -> Ended:
        """Waits for a call and keeps how it ended: invariants look at all of them."""
        self.ended.append(call.end(seconds))
        return self.ended[-1]

    def call(self, *words: str, **env: str) -> Ended:
        """A call of the program to its end (without words: the question)."""
        return self.finish(self.begin(*words, **env))

    def results(self) -> dict[str, dict[str, object]]:
        """Every recorded result that the program believes, by key; none where there is no database yet. A row that does
        not fit its checksum is as good as none."""
        rows = self._rows("SELECT key, record, checksum FROM results")
        return {key: json.loads(record) for key, record, known in rows if checksum(key, record) == known}

    def whole_results(self) -> dict[str, dict[str, object]]:
        """Those that are finished for good: not for a fault's reasons, and with all outputs as their digests say."""
        return {
            key: result
            for key, result in self.results().items()
            if result["outcome"] not in ("infrastructure", "flaky")
            and all(self._matches(artifact["digest"]) for artifact in result["outputs"])  # type: ignore[attr-defined]
        }

    def _matches(self, digest: str) -> bool:
        path = self.store / "blobs" / digest[:2] / digest
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest

    def _rows(self, query: str) -> list[tuple[str, ...]]:
        database = self.store / "store.sqlite"
        if not database.is_file():
            return []
        try:
            with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
                return connection.execute(query).fetchall()
        except sqlite3.DatabaseError:  # killed before the first migration, or torn by a trial
            return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Untouched:
    """What the question gives with one engine where nothing goes wrong."""

    store: Path
    table: str
    data: str
    results: dict[str, dict[str, object]]
    seconds: float


class Bed:
    """The folder of the bed: stores in which all environments stand, one for each engine, and places of trials."""

    def __init__(self, folder: Path, *, short: bool = False) -> None:
        """`short`: nothing is fetched that the caches of this user have. Else the bed has caches of its own."""
        self.folder, self.short = folder, short
        self.cache = None if short else folder / "cache"
        self.spec = write_spec(folder / "spec", name="faults", compilers=COMPILERS, runtimes=RUNTIMES)
        self.untried: dict[str, str] = {}
        self._known: dict[str, Untouched | None] = {}
        self._count = itertools.count(1)

    def cannot(self, what: str, why: str) -> None:
        """Notes what cannot be tried on this machine, and why. The report says it."""
        self.untried.setdefault(what, why)

    def engines(self, *wanted: str) -> list[str]:
        """Those of the wanted engines (default: all) that this machine has; what is missing is noted."""
        return [engine for engine in wanted or ("venv", "docker", "nix") if self.untouched(engine)]

    def untouched(self, engine: str = "venv") -> Untouched | None:
        """The question asked with no fault, once; None where this machine lacks the engine."""
        if engine not in self._known:
            why = missing(engine)
            if why:
                self.cannot(f"engine {engine}", why)
            self._known[engine] = None if why else self._ask(engine)
        return self._known[engine]

    def _ask(self, engine: str) -> Untouched:
        """Makes the environments, then asks in a store that has them and nothing else."""
        warm = self._place(self.folder / f"warm-{engine}", engine)
        made = warm.call()
        assert made.status == 0, f"the untouched run with {engine} ended with {made.status}:\n{made.err}"
        with self.place(engine) as place:
            first = place.call()
            shown = place.call(*show_words(place))
            assert (first.status, shown.status) == (0, 0), first.err + shown.err
            return Untouched(
                store=warm.store,
                table=first.out,
                data=comparable(shown.out),
                results=place.results(),
                seconds=first.seconds,
            )

    @contextlib.contextmanager
    def place(self, engine: str = "venv") -> Iterator[Place]:
        """A place for one trial, gone afterwards. Its store has its own links to the files of all environments: to
        write into one changes them all, so a trial that spoils a file makes a copy of it first (`own_file`)."""
        with self.free_place(engine) as place:
            warm = self.folder / f"warm-{engine}" / "store"
            for part in KEPT:
                if (warm / part).is_dir():
                    copy_tree(warm / part, place.store / part)
            yield place

    @contextlib.contextmanager
    def free_place(self, engine: str = "venv") -> Iterator[Place]:
        """A place whose store does not exist yet."""
        place = self._place(self.folder / f"trial-{os.getpid()}-{next(self._count)}", engine)
        try:
            yield place
        finally:
            for call in place.begun:
                call.kill()
            shutil.rmtree(place.folder, ignore_errors=True)

    def _place(self, folder: Path, engine: str) -> Place:
        before = self._own_nix() if engine == "nix" else ()
        place = Place(folder=folder, spec=self.spec, engine=engine, cache=self.cache, before=before)
        place.temporary.mkdir(parents=True, exist_ok=True)
        return place

    def _own_nix(self) -> tuple[str, ...]:
        """Another /nix for calls of the program, where this process may mount: the machine's own is not touched."""
        (self.folder / "nix").mkdir(exist_ok=True)
        with contextlib.suppress(OSError):  # Debian's packages of Nix do not make it
            Path("/nix").mkdir(exist_ok=True)
        script = f'mount --bind {self.folder / "nix"} /nix && exec "$@"'
        words = ("unshare", "--mount", "sh", "-c", script, "sh")
        if subprocess.run([*words, "true"], capture_output=True, timeout=60, check=False).returncode:
            return ()
        return words


def missing(engine: str) -> str:
    """Why this machine has no such engine, or nothing."""
    if engine == "docker":
        from matrix.engines.docker.daemon import Daemon

        try:
            Daemon().close()
        except MatrixError as error:
            return str(error)
    if engine == "nix":
        from matrix.engines.nix.store import NixStore

        installed("nix-build", "nix-bin")
        installed("bwrap", "bubblewrap")
        try:
            NixStore()
        except MatrixError as error:
            return str(error)
    return "" if platform.system() == "Linux" else "the program needs Linux"


def show_words(place: Place) -> tuple[str, ...]:
    return ("show", str(place.spec), "--engine", place.engine, "--format", "json", "--store", str(place.store))


MEASURED = frozenset({"seconds", "cpu_seconds", "peak_bytes", "finished_at", "attempts"})
"""What differs from run to run where nothing differs: times, memory, and what was tried before."""


def comparable(text: str) -> str:
    """A run's JSON without what is measured anew each time."""

    def without(value: object) -> object:
        if isinstance(value, dict):
            return {key: without(each) for key, each in value.items() if key not in MEASURED}
        return [without(each) for each in value] if isinstance(value, list) else value

    return json.dumps(without(json.loads(text)), indent=1)


def copy_tree(source: Path, target: Path) -> None:
    """A copy of a folder by hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-al", str(source), str(target)], check=True)


def own_file(path: Path) -> Path:
    """Replaces a hard link by a copy that may be spoilt."""
    beside = path.with_name(path.name + ".own")
    shutil.copy2(path, beside)
    beside.replace(path)
    return path
