"""What a job used is looked at before a bad end of it counts: its inputs, its environment, and the environments that
made its inputs, every byte; and the disk that it wrote to.

A torn library or module would be taken for a fault of the release. So would an output that a full disk cut short:
`iree-run-module` does not say that it could not write one, and ends with status 0.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from matrix.artifacts.npy import check_npy
from matrix.core.disk import refuse_full_disk
from matrix.core.errors import FileFault
from matrix.core.records import Artifact, EnvironmentRequest, JobEnd
from matrix.plan.stages import complete
from matrix.run.executor import Origins, Work
from matrix.run.local.provision import Provision
from matrix.run.store import Store

OF_THE_JOB = frozenset({"exited", "signalled", "timed_out", "out_of_memory", "over_limit"})
"""Ends that say something about a release, if they are bad. The others are ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The bad end of a job, and what it used that is damaged: `environments` with how, its `inputs` by digest. What was
    made with a damaged environment is `suspect`, all of it by digest. `unreadable`: its outputs that are no arrays, if
    this is to be seen a second time before it counts."""

    end: JobEnd
    outputs: tuple[Artifact, ...]
    inputs: tuple[str, ...] = ()
    environments: Mapping[EnvironmentRequest, str] = field(default_factory=dict)
    suspect: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    fault: BaseException | None = None

    def concerns(self, work: Work) -> str:
        """What of it another job uses; its end says nothing then. Empty: nothing."""
        torn = [name for name, digest in work.job.inputs if digest in self.inputs]
        damage = self.environments.get(work.request, "") or (f"{', '.join(torn)}: other bytes" if torn else "")
        return f"{work.request.label}: {damage}" if damage else ""

    def end_of(self, work: Work) -> JobEnd:
        """The end as it counts: lost, if something was damaged."""
        damaged = [f"{request.label}: {damage}" for request, damage in self.environments.items()]
        names = [name for name, digest in work.job.inputs if digest in self.inputs]
        damaged += [f"{name}: its bytes changed on this disk" for name in names]
        damaged += [f"{name}: it ended well and left no whole .npy file" for name in self.unreadable]
        return JobEnd(key=self.end.key, end="lost", error="; ".join(damaged), log=self.end.log) if damaged else self.end


class EndVerifier:
    """Looks at one job after the other, on threads that do not keep this process from ending."""

    def __init__(
        self,
        store: Store,
        provision: Provision,
        announce: Callable[[Verified], None],
        is_wrong: Callable[[Mapping[str, str]], bool],
    ) -> None:
        self._store, self._provision, self._announce, self._is_wrong = store, provision, announce, is_wrong
        self._one = threading.Lock()
        self._seen_unreadable: set[str] = set()
        """The keys of jobs that left an output that is no array."""

    def doubts(self, work: Work, end: JobEnd, outputs: tuple[Artifact, ...]) -> bool:
        """Whether the end would be a finding: the job's own, and not good with all outputs, or with wrong ones."""
        good = (end.end, end.exit_code) == ("exited", 0)
        if end.end not in OF_THE_JOB or not (good and complete(work.job, [each.name for each in outputs])):
            return end.end in OF_THE_JOB
        own = {each.name: each.digest for each in outputs}
        return any(above is None or self._is_wrong({**above, **own}) for above in work.compared())

    def look(self, work: Work, end: JobEnd, outputs: tuple[Artifact, ...]) -> None:
        """Announces what it found."""
        words = (work, work.origins(), end, outputs)
        threading.Thread(target=self._look, args=words, name="verifies", daemon=True).start()

    def _look(self, work: Work, origins: Origins, end: JobEnd, outputs: tuple[Artifact, ...]) -> None:
        with self._one:
            try:
                inputs = tuple(digest for _, digest in work.job.inputs if not self._store.whole(digest, again=True))
                looked_at = {request: self._provision.damage(request, older=True) for request, _ in origins}
                looked_at[work.request] = self._provision.damage(work.request)
                environments = {request: damage for request, damage in looked_at.items() if damage}
                unreadable = self._unreadable(outputs)
                refuse_full_disk(self._store.places.scratch)
                found = Verified(
                    end=end,
                    outputs=outputs,
                    inputs=inputs,
                    environments=environments,
                    suspect=tuple(digest for torn, made in origins if torn in environments for digest in made),
                    unreadable=() if end.key in self._seen_unreadable else unreadable,
                )
                self._seen_unreadable |= {end.key} if unreadable else set()
            except BaseException as error:  # noqa: BLE001 - carried to the main thread, which raises it
                found = Verified(end=end, outputs=outputs, fault=error)
        self._announce(found)

    def _unreadable(self, outputs: tuple[Artifact, ...]) -> tuple[str, ...]:
        """The names of the outputs that are to be arrays, and are none, or shorter than they say."""
        names = []
        for output in outputs:
            if output.name.endswith(".npy"):
                try:
                    check_npy(self._store.blob(output.digest))
                except FileFault:
                    names.append(output.name)
        return tuple(names)
