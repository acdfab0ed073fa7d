"""The JSON of a run (`formats.as_json`) as frozen records. All text becomes inert here, at the edge, once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrix.errors import ResultsFault
from matrix.records import Outcome, Stage
from matrix.results import read_document
from matrix.site.inert import LABEL, visible


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    name: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as it was published; `environment` is the digest of one of the run's environments."""

    key: str
    stage: str
    outcome: str
    lock: str
    lock_sha256: str
    engine: str
    environment: str
    command: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...]
    artifacts: tuple[Artifact, ...]
    end: str
    seconds: float
    peak_bytes: int
    finished_at: str
    machine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a job ran in: facts in words, and the distributions that were installed."""

    digest: str
    lock: str
    facts: tuple[tuple[str, str], ...]
    distributions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell with its evidence; `jobs` are keys into the run's. Texts that it does not have are empty."""

    axes: Mapping[str, str]
    outcome: Outcome
    stage: str
    signature: str
    compared: bool
    jobs: tuple[str, ...]
    message: str
    means: str
    reason: str
    included: str
    comparison: str
    reproduce: str

    @property
    def words(self) -> str:
        """`failed at run: vm-bytecode-version`."""
        if self.outcome is Outcome.PASSED:
            return "passed" if self.compared else "passed, not compared"
        where = f" at {self.stage}" if self.stage else ""
        return f"{self.outcome.replace('_', ' ')}{where}" + (f": {self.signature}" if self.signature else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One published file: `file` is its name, `path` where it was read. `date` is the day of its newest job, which is
    the date of the answer; `last_stage` what a cell ends with when all goes well; `emulated`: some of it was not run on
    the machine that it is for."""

    name: str
    question: str
    path: Path
    cells: tuple[Cell, ...]
    jobs: Mapping[str, Job]
    environments: Mapping[str, Environment]
    next_steps: Mapping[str, str]
    notes: Mapping[str, str]
    sentences: tuple[str, ...]
    emulated: bool
    date: str
    last_stage: str

    @property
    def file(self) -> str:
        return visible(self.path.name, LABEL)

    def counts(self) -> dict[str, int]:
        """How many cells ended in each outcome, in the order of the closed set."""
        found = [cell.outcome for cell in self.cells]
        return {outcome.replace("_", " "): found.count(outcome) for outcome in Outcome if outcome in found}


def read_published(path: Path) -> Run:
    """Raises ResultsFault that names the place of what is not as the format says."""
    document = read_document(path)
    place = "the top"
    try:
        jobs = {}
        for key, job in document["jobs"].items():
            place = f"jobs.{key[:16]}"
            jobs[key] = _job(key, job)
        environments = {}
        for digest, facts in document["environments"].items():
            place = f"environments.{digest[:16]}"
            environments[digest] = _environment(digest, facts)
        cells = []
        for number, cell in enumerate(document["cells"]):
            place = f"cells[{number}]"
            cells.append(_cell(cell, jobs))
        place = "signatures"
        steps = {_label(name): visible(str(row["next"])) for name, row in document["signatures"].items()}
        place = "the top"
        return Run(
            name=_label(document["preset"]),
            question=visible(str(document["question"])),
            path=path,
            cells=tuple(cells),
            jobs=jobs,
            environments=environments,
            next_steps=steps,
            notes={_label(name): visible(str(text)) for name, text in document.get("models", {}).items()},
            sentences=_sentences(document),
            emulated=bool(document.get("emulated")),
            date=max((job.finished_at for job in jobs.values()), default="")[:10],
            last_stage=max({job.stage for job in jobs.values()}, key=_order, default=""),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ResultsFault(
            f"{path}: {place}: read {type(error).__name__}: {visible(str(error), 200)}, expected a run as "
            "`show --format json` writes it",
            tip="write it again with `python -m matrix show --format json --output FILE`",
        ) from None


def _sentences(document: Mapping[str, Any]) -> tuple[str, ...]:
    """What the run says of itself; parts that a preset does not have are left out."""
    said = [row["words"] for row in document.get("identical_mlir", [])] + list(document.get("mlir_portability", []))
    for row in document.get("targets", []):
        said += [row["words"], *row["differences"]]
    said += [f"{target}: {how}" for target, how in document.get("emulated", {}).items()]
    return tuple(visible(str(text)) for text in said)


def _cell(cell: Mapping[str, Any], jobs: Mapping[str, Job]) -> Cell:
    evidence = cell["evidence"]
    outcome, stage = Outcome(cell["outcome"]), _label(cell["stage"] or "")
    comparison = evidence.get("comparison")
    keys = tuple(evidence["jobs"])
    if missing := [key for key in keys if key not in jobs]:
        raise ValueError(f"its job {missing[0]} is not in the file")
    return Cell(
        axes={_label(axis): _label(value) for axis, value in cell["axes"].items()},
        outcome=outcome,
        stage=stage,
        signature=_label(cell["signature"] or ""),
        compared=not (outcome is Outcome.PASSED and stage == Stage.RUN and comparison is None),
        jobs=keys,
        message=visible(str(evidence.get("message", ""))),
        means=visible(str(evidence.get("means", ""))),
        reason=visible(str(evidence.get("reason", ""))),
        included=visible(str(evidence.get("included", ""))),
        comparison=_comparison(comparison) if comparison else "",
        reproduce=visible(str(evidence["reproduce"])),
    )


def _comparison(found: Mapping[str, Any]) -> str:
    error = "not a number" if found["error"] is None else f"{float(found['error']):.3g} of the reference's scale"
    return f"{visible(str(found['text']))}; error {error}, tolerance {float(found['tolerance']):.3g}"


def _job(key: str, job: Mapping[str, Any]) -> Job:
    artifacts = [
        Artifact(name=_label(name), sha256=_label(facts["sha256"]), size=int(facts["bytes"]))
        for name, facts in job["artifacts"].items()
    ]
    status = f"exit code {job['exit_code']}" if job["end"] == "exited" else f"{job['end']} {job['signal'] or ''}"
    return Job(
        key=_label(key),
        stage=_label(job["stage"]),
        outcome=_label(job["outcome"]),
        lock=_label(job["lock"]),
        lock_sha256=_label(job["lock_sha256"]),
        engine=_label(job["engine"]),
        environment=_label(job["environment"]),
        command=tuple(visible(str(word)) for word in job["command"]),
        inputs=tuple((_label(name), _label(digest)) for name, digest in job["inputs"].items()),
        artifacts=tuple(artifacts),
        end=_label(status.strip()),
        seconds=float(job["seconds"]),
        peak_bytes=int(job["peak_bytes"] or 0),
        finished_at=_label(job["finished_at"]),
        machine=_label(job["machine"]),
    )


def _environment(digest: str, facts: Mapping[str, Any]) -> Environment:
    plain = [(_label(name), _label(value)) for name, value in facts.items() if isinstance(value, str | int | float)]
    return Environment(
        digest=_label(digest),
        lock=_label(facts.get("lock", "")),
        facts=tuple(plain),
        distributions=tuple((_label(name), _label(text)) for name, text in facts.get("distributions", {}).items()),
    )


def _label(text: object) -> str:
    """A name. Where it is cut, a digest keeps it apart from another one with the same beginning."""
    read = str(text)
    if len(read) <= LABEL:
        return visible(read)
    return f"{visible(read[:LABEL])}…{hashlib.sha256(read.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _order(stage: str) -> int:
    order = [each.value for each in Stage if each.judged]
    return order.index(stage) if stage in order else -1
