"""Reads published runs: the versioned JSON that `formats.as_json` writes, into frozen records. Pure but for `read_run`.

What answers from results reads them here, so it answers on a machine that has nothing else. Keys that are not known are
left alone: within a format, keys are only added.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrix.core.errors import ResultsFault
from matrix.core.records import Artifact, Outcome, Stage
from matrix.core.store_paths import STORE_PATHS, StorePath
from matrix.core.text import mark_controls
from matrix.core.toml_reader import Table
from matrix.plan.backends.iree import RUN
from matrix.plan.stages import in_order, kinds

FORMAT = 1
"""Of the JSON. Raise it together with a row of MIGRATIONS for the older one."""

MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Format -> what makes the next one of it."""

TIP = "`python -m matrix show --format json --output FILE` writes one"
MOST_FAULTS = 10
LONGEST_FAULT = 300
"""Characters of a fault that are shown: what was read may be of any length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedJob:
    """A job as it was published; see `records.JobResult`. Times in seconds, `peak_bytes` None where it is unknown."""

    key: str
    stage: Stage
    outcome: Outcome
    lock: str
    lock_sha256: str
    engine: str
    environment: str
    command: tuple[str, ...]
    inputs: Mapping[str, str]
    artifacts: tuple[Artifact, ...]
    end: str
    exit_code: int
    signal: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int | None
    finished_at: str
    machine: str

    def artifact(self, name: str) -> Artifact | None:
        return next((each for each in self.artifacts if each.name == name), None)

    @property
    def status(self) -> str:
        """`exit code 1`, `signalled 11`, `timed_out`."""
        return f"exit code {self.exit_code}" if self.end == "exited" else f"{self.end} {self.signal or ''}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedComparison:
    """Outputs beside the reference; `error` is None where it is not finite. See `judge.Comparison`."""

    error: float | None
    tolerance: float
    text: str

    @property
    def words(self) -> str:
        """`equal, byte for byte; error 0 of the reference's scale, tolerance 1e-05`."""
        error = "not finite" if self.error is None else f"{self.error:.3g}"
        return f"{self.text}; error {error} of the reference's scale, tolerance {self.tolerance:.3g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCell:
    """A cell and its one outcome. `signature`, `message`, `means`, `reason` and `included` may be empty texts."""

    axes: Mapping[str, str]
    outcome: Outcome
    stage: Stage | None
    signature: str
    jobs: tuple[str, ...]
    reproduce: str
    message: str
    means: str
    values: Mapping[str, str]
    reason: str
    included: str
    comparison: PublishedComparison | None

    @property
    def name(self) -> str:
        return " ".join(map("=".join, self.axes.items()))

    @property
    def passed(self) -> bool:
        """It ran to its end, or to where its run asked for, and nothing says that its outputs are wrong."""
        return self.outcome is Outcome.PASSED

    @property
    def right(self) -> bool:
        """It passed and its outputs were compared with the reference: what advice may rest on."""
        return self.passed and self.comparison is not None

    @property
    def compared(self) -> bool:
        """False for a cell that ran to its end and has no expected outputs: it passed as far as anyone can say."""
        return not (self.passed and self.stage == RUN and self.comparison is None)

    @property
    def measured(self) -> bool:
        return self.passed or self.outcome.red

    @property
    def words(self) -> str:
        """The outcome with its stage and signature: `failed at run: vm-bytecode-version`."""
        if not self.compared:
            return "passed, not compared"
        where = f" at {self.stage}" if self.stage and not self.passed else ""
        return f"{self.outcome}{where}" + (f": {self.signature}" if self.signature else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedEnvironment:
    """A realised environment. `python` is its exact version; a damaged record of the store leaves texts empty."""

    digest: str
    engine: str
    lock: str
    lock_sha256: str
    python: str
    c_library: str
    distributions: Mapping[str, str]
    programs: str
    """Its path in a Nix store; empty for another engine's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSpeed:
    """A row of a table of times. `ratio` is the median over the rounds of its time by that of the row that is the
    `baseline`, if there is one, `quartiles` are those of the same ratios. A ratio says something only above
    `noise_floor` (1.01 is 1 %) or below its inverse. Times in seconds: `median_seconds` of a call with its quartiles,
    `compile_cpu_seconds` of the quickest compile."""

    axes: Mapping[str, str]
    baseline: bool
    ratio: float | None
    quartiles: tuple[float, float] | None
    noise_floor: float | None
    verdict: str
    median_seconds: float | None
    quartile_seconds: tuple[float, float] | None
    compile_cpu_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRun:
    """One results file. `source` is what messages call it, `next_steps` what to do about each signature, `notes` what
    there is to say of a model, `sentences` what the run says of exporters and compilers. `date` is the day of its
    newest job, which is the date of its answers; `last_stage` what a cell ends with when all goes well; `emulated`:
    some of it was not run on the machine that it is for. `store_paths`: all that its environments need of a Nix
    store."""

    source: str
    preset: str
    question: str
    cells: tuple[PublishedCell, ...]
    jobs: Mapping[str, PublishedJob]
    environments: Mapping[str, PublishedEnvironment]
    store_paths: tuple[StorePath, ...]
    next_steps: Mapping[str, str]
    notes: Mapping[str, str]
    sentences: tuple[str, ...]
    emulated: bool
    speeds: tuple[PublishedSpeed, ...]
    date: str
    last_stage: Stage | None

    def counts(self) -> dict[Outcome, int]:
        """How many cells ended in each outcome, in the order of the closed set; zeros left out."""
        found = Counter(cell.outcome for cell in self.cells)
        return {outcome: found[outcome] for outcome in Outcome if found[outcome]}

    def jobs_of(self, cell: PublishedCell) -> tuple[PublishedJob, ...]:
        """In the order of the stages."""
        return tuple(self.jobs[key] for key in cell.jobs)


def run_files(folder: Path) -> tuple[Path, ...]:
    """The published runs of a folder, by name."""
    return tuple(sorted(folder.glob("*.json")))


OUTCOMES = tuple(map(str, Outcome))


def read_runs(paths: Iterable[Path]) -> tuple[PublishedRun, ...]:
    """Raises ResultsFault."""
    return tuple(read_run(path) for path in paths)


def read_run(path: Path) -> PublishedRun:
    """One file. Raises ResultsFault with the first of its faults."""
    return _parsed(read_document(path), source=str(path))


def read_document(path: Path) -> dict[str, Any]:
    """One file as the newest format has it, its rows not looked at. Raises ResultsFault."""
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsFault(f"{path}: cannot be read: {error.strerror}", tip=TIP) from None
    except (ValueError, RecursionError) as error:
        raise ResultsFault(f"{path}: not JSON: {error}", tip=TIP) from None
    return _migrated(document, str(path))


def parse_run(document: object, *, source: str) -> PublishedRun:
    """What a file holds, of this format or an older one. Raises ResultsFault."""
    return _parsed(_migrated(document, source), source=source)


def _parsed(content: dict[str, Any], *, source: str) -> PublishedRun:
    faults: list[str] = []
    top = Table(content, "", faults)
    jobs = {key: _job(key, row) for key, row in _rows(top, "jobs")}
    environments = {digest: _environment(digest, row) for digest, row in _rows(top, "environments")}
    cells = tuple(_cell(row, jobs) for row in top.tables("cells"))
    stages = {job.stage for job in jobs.values()}
    run = PublishedRun(
        source=source,
        preset=top.text("preset"),
        question=top.text("question"),
        cells=cells,
        jobs=jobs,
        environments=environments,
        store_paths=tuple(
            StorePath(path=path, size=_whole(row, "bytes"), references=row.texts("references"))
            for path, row in _rows(top, STORE_PATHS)
        ),
        next_steps={name: row.text("next") for name, row in _rows(top, "signatures")},
        notes=_texts(top, "models"),
        sentences=_sentences(top),
        emulated=bool(top.content.get("emulated")),
        speeds=tuple(speed for table in top.tables("times") for speed in _speeds(table)),
        date=max((job.finished_at for job in jobs.values()), default="")[:10],
        last_stage=next((stage for stage in reversed(in_order(stages)) if kinds()[stage].judged), None),
    )
    if faults:
        more = [f"and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
        listed = "\n".join(f"  {mark_controls(fault, LONGEST_FAULT)}" for fault in [*faults[:MOST_FAULTS], *more])
        raise ResultsFault(f"{source}: not a run of format {FORMAT}:\n{listed}", tip=TIP)
    return run


def _sentences(top: Table) -> tuple[str, ...]:
    """What the run says of itself; parts that a preset does not have are left out."""
    said = [row.text("words") for row in top.tables("identical_mlir")]
    said += _words(top, "mlir_portability")
    for row in (*top.tables("targets"), *top.tables("builds")):
        said += [row.text("words"), *_words(row, "differences")]
    said += [f"{target}: {how}" for target, how in _texts(top, "emulated").items()]
    return tuple(said)


def _migrated(document: object, source: str) -> dict[str, Any]:
    """The content as the newest format has it."""
    read = document.get("format") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(read, int) or not isinstance(document.get("cells"), list):
        raise ResultsFault(f"{source}: read no `format` with a list of `cells`, expected a run as JSON", tip=TIP)
    if read > FORMAT:
        raise ResultsFault(
            f"{source}: read format {read}, expected at most {FORMAT}",
            tip="a newer version of this project wrote it: update",
        )
    for step in range(read, FORMAT):
        if step not in MIGRATIONS:
            raise ResultsFault(f"{source}: read format {read}, expected {FORMAT}", tip=TIP)
        document = MIGRATIONS[step](document)
    return document


def _rows(top: Table, key: str) -> Sequence[tuple[str, Table]]:
    table = top.table(key)
    return [(name, table.table(name)) for name in table.content]


def _texts(table: Table, key: str) -> dict[str, str]:
    row = table.table(key)
    return {name: row.text(name) for name in row.content}


def _words(table: Table, key: str) -> tuple[str, ...]:
    """A list of texts, of which one may be empty: the words of a command line."""
    read = table.content.get(key, [])
    if not isinstance(read, list) or not all(isinstance(word, str) for word in read):
        table.fault(key, f"read {read!r}, expected a list of texts")
        return ()
    return tuple(read)


def _number(table: Table, key: str, *, may_lack: bool = False) -> float | None:
    value = table.content.get(key)
    if value is None and may_lack:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        table.fault(key, f"read {value!r}, expected a number")
        return 0.0
    return float(value)


def _whole(table: Table, key: str) -> int:
    return int(_number(table, key) or 0)


def _stage(table: Table) -> Stage | None:
    read = table.content.get("stage")
    return None if read is None else table.choice("stage", tuple(kinds()), RUN)


def _outcome(table: Table) -> Outcome:
    table.text("outcome", required=True)
    return Outcome(table.choice("outcome", OUTCOMES, Outcome.UNTESTED.value))


def _job(key: str, row: Table) -> PublishedJob:
    made = row.table("artifacts")
    facts = [(name, made.table(name)) for name in made.content]
    peak = _number(row, "peak_bytes", may_lack=True)
    return PublishedJob(
        key=key,
        stage=_stage(row) or RUN,
        outcome=_outcome(row),
        lock=row.text("lock", required=True),
        lock_sha256=row.text("lock_sha256"),
        engine=row.text("engine"),
        environment=row.text("environment"),
        command=_words(row, "command"),
        inputs=_texts(row, "inputs"),
        artifacts=tuple(
            Artifact(name=name, digest=fact.text("sha256", required=True), size=_whole(fact, "bytes"))
            for name, fact in facts
        ),
        end=row.text("end"),
        exit_code=_whole(row, "exit_code"),
        signal=_whole(row, "signal"),
        seconds=_number(row, "seconds") or 0.0,
        cpu_seconds=_number(row, "cpu_seconds") or 0.0,
        peak_bytes=None if peak is None else int(peak),
        finished_at=row.text("finished_at"),
        machine=row.text("machine"),
    )


def _environment(digest: str, row: Table) -> PublishedEnvironment:
    return PublishedEnvironment(
        digest=digest,
        engine=row.text("engine"),
        lock=row.text("lock"),
        lock_sha256=row.text("lock_sha256"),
        python=row.text("python"),
        c_library=row.text("c_library"),
        distributions=_texts(row, "distributions"),
        programs=row.text("nix_programs"),
    )


def _cell(row: Table, jobs: Mapping[str, PublishedJob]) -> PublishedCell:
    evidence = row.table("evidence")
    keys = evidence.texts("jobs")
    for index, key in enumerate(keys):
        if key not in jobs:
            evidence.fault(f"jobs[{index}]", f"read {key!r}, expected a key of `jobs`")
    axes = _texts(row, "axes")
    if not axes:
        row.fault("axes", "is missing or empty, expected a value for each axis")
    return PublishedCell(
        axes=axes,
        outcome=_outcome(row),
        stage=_stage(row),
        signature=row.text("signature"),
        jobs=keys,
        reproduce=evidence.text("reproduce"),
        message=evidence.text("message"),
        means=evidence.text("means"),
        values=_texts(evidence, "values"),
        reason=evidence.text("reason"),
        included=evidence.text("included"),
        comparison=_comparison(evidence),
    )


def _comparison(evidence: Table) -> PublishedComparison | None:
    if "comparison" not in evidence.content:
        return None
    row = evidence.table("comparison")
    return PublishedComparison(
        error=_number(row, "error", may_lack=True),
        tolerance=_number(row, "tolerance") or 0.0,
        text=row.text("text"),
    )


def _speeds(table: Table) -> list[PublishedSpeed]:
    shared, rows = _texts(table, "shared"), table.tables("rows")
    base = next((row for row in rows if row.content.get("baseline") is True), None)
    times = _rounds(base) if base else {}
    return [
        PublishedSpeed(
            axes=shared | _texts(row, "axes"),
            baseline=row is base,
            ratio=_number(row, "ratio", may_lack=True),
            quartiles=_quartiles([time / times[number] for number, time in _rounds(row).items() if number in times]),
            noise_floor=_number(table, "noise_floor", may_lack=True),
            verdict=row.text("verdict"),
            median_seconds=_number(row, "median_seconds", may_lack=True),
            quartile_seconds=_pair(row, "quartile_1_seconds", "quartile_3_seconds"),
            compile_cpu_seconds=_number(row, "compile_cpu_seconds", may_lack=True),
        )
        for row in rows
    ]


def _pair(row: Table, low: str, high: str) -> tuple[float, float] | None:
    ends = _number(row, low, may_lack=True), _number(row, high, may_lack=True)
    return None if ends[0] is None or ends[1] is None else (ends[0], ends[1])


def _rounds(row: Table) -> dict[str, float]:
    """Round -> seconds; only rounds that took some."""
    table = row.table("seconds_by_round")
    read = {number: _number(table, number) or 0.0 for number in table.content}
    return {number: seconds for number, seconds in read.items() if seconds > 0}


def _quartiles(ratios: Sequence[float]) -> tuple[float, float] | None:
    if len(ratios) < 2:
        return None
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return low, high
