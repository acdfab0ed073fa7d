"""The interface between the runner, which decides, and an executor, which carries out: work goes in, events come out.

Work names all files by digest, and outputs come back by digest: the store has the bytes. So an executor may be this
machine (`matrix.run.local`), or pass work to other machines with the same store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from matrix.core.records import Artifact, EnvironmentRequest, Job, JobEnd, JobResult, Outcome

Rank: TypeAlias = tuple[int, ...]
Origins: TypeAlias = tuple[tuple[EnvironmentRequest, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A job and the request for its environment, which the job itself names only by digest. The work with the lowest
    `rank` starts first. `again`: the store has a result, which this one is to replace. `machine`: the class of machine
    that its key has; "" is any. `origins` are the environments in which its inputs were made, directly or through other
    jobs, each with the digests that it left; `compared` has, of each node that waits for a job whose outputs are
    compared, the artifacts above it, name -> sha256; None, if these are being made again. Both are asked for when the
    job has ended: until then nodes join that share it, and whose references differ."""

    job: Job
    request: EnvironmentRequest
    rank: Rank = ()
    again: bool = False
    machine: str = ""
    origins: Callable[[], Origins] = tuple
    compared: Callable[[], Sequence[Mapping[str, str] | None]] = tuple


@dataclass(slots=True, kw_only=True)
class Flight:
    """Work that the executor has, and the nodes that wait for it (several: content cutoff). `disturbed`: an input of it
    was found damaged meanwhile, so its end says nothing."""

    work: Work
    nodes: list[int]
    started: bool = False
    disturbed: bool = False


class Flights(dict[str, Flight]):
    """The flights of a run, by the keys of their jobs. How many of them run is counted as they go: 60,000 may wait."""

    def __init__(self) -> None:
        super().__init__()
        self.running = 0

    def start(self, key: str) -> None:
        """A worker has started the job."""
        if (flight := self.get(key)) and not flight.started:
            flight.started = True
            self.running += 1

    def land(self, key: str) -> Flight | None:
        """Takes a flight away, if there is one."""
        flight = self.pop(key, None)
        self.running -= bool(flight and flight.started)
        return flight


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentKnown:
    """The digest of an environment, from an earlier run or because the environment exists now.

    Work with another digest for this request is dropped: it has the wrong key.
    """

    request: EnvironmentRequest
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRefused:
    """An environment cannot be made: the index has no such wheel (`not_installable`), or this executor lacks something
    (`untested`). Its work is dropped."""

    request: EnvironmentRequest
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkStarted:
    """A worker has started a job."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFinished:
    """A job has ended, or was not started (`killed`, `not_started`, `lost`). Its outputs are in the store.

    `machine` is the class of the machine that ran it; `seconds` is the time since a worker got it.
    """

    key: str
    end: JobEnd
    outputs: tuple[Artifact, ...]
    environment: str
    engine: str
    machine: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkRecorded:
    """Another process has carried out the job for this run, and confirmed its end: the result is in the store.
    `seconds`: since that process began it."""

    result: JobResult
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkAnswered:
    """Another process has finished the job meanwhile: its result is in the store."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something that people should know, and that ends nothing."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorFault:
    """No further work can be carried out."""

    error: BaseException


Event: TypeAlias = (
    EnvironmentKnown
    | EnvironmentRefused
    | WorkStarted
    | WorkFinished
    | WorkRecorded
    | WorkAnswered
    | Noted
    | ExecutorFault
)


@dataclass(slots=True, kw_only=True)
class Disk:
    """How a run used the disk: `budget_bytes` for environments (0: no budget), their peak, and how many were made and
    removed. `kept`: the engine keeps them elsewhere, on a daemon's disk or in the Nix store."""

    budget_bytes: int
    kept: bool = False
    held_bytes: int = 0
    peak_bytes: int = 0
    made: int = 0
    removed: int = 0
    made_again: list[str] = field(default_factory=list)

    def note(self, held: int) -> None:
        self.held_bytes = held
        self.peak_bytes = max(self.peak_bytes, held)


class Executor(Protocol):
    """Carries out work. All calls come from one thread; `wake` also comes from a signal handler.

    Other processes must see a result before the claim on its key is released. So an executor holds the claim until the
    next call of `news` after the one that reported the end: by then the result is recorded.
    """

    cores: int
    """How many jobs are carried out at the same time."""
    prefetch: int
    """How many more jobs, for each core, wait at a worker."""
    disk: Disk
    """How environments have used the disk so far."""

    @property
    def has_room(self) -> bool:
        """Whether there is a free worker for one more work."""

    @property
    def under_way(self) -> int:
        """How many works the workers have, started or not."""

    @property
    def installing(self) -> int:
        """How many environments are being made or wait for it."""

    def prepare(self, requests: Iterable[EnvironmentRequest], needed: Callable[[EnvironmentRequest], bool]) -> None:
        """Announces, once and before any work, the environments that work will name. Their digests follow as events; an
        environment with a known digest is not made for this. `needed` tells whether work for an environment may still
        come."""

    def submit(self, work: Work) -> None:
        """Takes work. No unfinished work has the same key. Raises MatrixError if no work can be carried out."""

    def news(self, seconds: float) -> Sequence[Event]:
        """The events since the last call; waits at most this long for one. Raises MatrixError as `submit` does."""

    def wake(self) -> None:
        """Ends a wait for news."""

    def stop(self) -> None:
        """Ends work that no worker has started, as `killed`; running jobs finish."""

    def close(self) -> None:
        """Ends all workers in order, when no work is left."""

    def terminate(self) -> None:
        """Ends everything at once."""
