"""The seam between what a run decides and who carries it out: work goes in, events come out.

Work names everything by digest, and what it leaves comes back by digest: the store has the bytes. So an executor may be
this machine (`matrix.run.local`), or hand work to others that have the same store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from matrix.core.records import Artifact, Disk, EnvironmentRequest, Job, JobEnd, Outcome

Rank: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A job, and the environment that it runs in: the job names that by digest only. Of works that could start, the one
    of the lowest `rank` goes first."""

    job: Job
    request: EnvironmentRequest
    rank: Rank = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentKnown:
    """The digest of an environment, from an earlier run or because it stands now.

    Work with another digest for this request is forgotten: its key is not that of what would run.
    """

    request: EnvironmentRequest
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRefused:
    """An environment will not stand: its index has no such wheel (`not_installable`), or this executor lacks what it
    takes (`untested`). Work for it is forgotten."""

    request: EnvironmentRequest
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkStarted:
    """A worker has begun with a job."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFinished:
    """A job is over, or was never begun (`killed`, `not_started`, `lost`). Its outputs are in the store.

    `machine` is the class of the machine that ran it, `seconds` went by since a worker was given it.
    """

    key: str
    end: JobEnd
    outputs: tuple[Artifact, ...]
    environment: str
    engine: str
    machine: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkAnswered:
    """Somebody else has finished the job meanwhile: its result is in the store."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorFault:
    """No further work can be carried out."""

    error: BaseException


Event: TypeAlias = EnvironmentKnown | EnvironmentRefused | WorkStarted | WorkFinished | WorkAnswered | ExecutorFault


class Executor(Protocol):
    """Carries out work. All calls come from one thread, `wake` also from a signal handler.

    A finished result is visible to others before their claim on its key is: an executor holds the claim on a job until
    `news` is asked for again after it told the end, so the one who was told has recorded it.
    """

    cores: int
    """Jobs that are carried out at the same time."""
    prefetch: int
    """Jobs beyond those, for each core, that wait beside a worker."""
    disk: Disk
    """What the environments made of the disk so far."""

    @property
    def has_room(self) -> bool:
        """One more work would find a worker."""

    @property
    def under_way(self) -> int:
        """Works that a worker has, begun or not."""

    @property
    def installing(self) -> int:
        """Environments that are being made or wait for it."""

    def prepare(self, requests: Iterable[EnvironmentRequest], needed: Callable[[EnvironmentRequest], bool]) -> None:
        """The environments that work will name, once, before any. Their digests follow as events; one that an earlier
        run knows is not made for it. `needed` says whether work for an environment may still come."""

    def submit(self, work: Work) -> None:
        """Takes work; its key is of no other work that is not over. Raises MatrixError if none can be carried out."""

    def news(self, seconds: float) -> Sequence[Event]:
        """What happened, after waiting at most so long where nothing has. Raises MatrixError as `submit` does."""

    def wake(self) -> None:
        """Ends a wait for news."""

    def stop(self) -> None:
        """Work that no worker has begun ends as `killed`; what runs is finished."""

    def close(self) -> None:
        """Nothing is under way any more: ends all workers, in order."""

    def terminate(self) -> None:
        """Ends all at once."""
