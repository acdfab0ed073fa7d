"""Environments as paths of the Nix store, built from the locks by Nix; jobs run in a sandbox around them.

A worker has its own sandbox, where the environment has the same path as in a container, and one job at a time: no other
job's folder is in its sandbox, and its inputs are read-only. If the machine allows no sandbox,
the worker and the tools are started by the base's dynamic loader (the `programs` of the expression).
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from matrix.core.disk import remove_tree
from matrix.core.keys import digest
from matrix.core.records import Environment, EnvironmentRequest, Job, JobEnd
from matrix.core.store_paths import STORE_PATHS, StorePath, store_paths_data
from matrix.engines.channel import ProcessChannel
from matrix.engines.choice import refuse
from matrix.engines.committed import environment_of
from matrix.engines.confinement import is_confined
from matrix.engines.contract import (
    EVERYWHERE,
    ONE_THREAD,
    job_variables,
    link_inputs,
    outputs_in,
    script_arguments,
    tool_line,
)
from matrix.engines.nix.kind import NIX, PROGRAMS
from matrix.engines.nix.making import Maker
from matrix.engines.nix.sandbox import Sandbox, find_sandbox
from matrix.engines.worker import Finished, Order, Worker, WorkerEvent, worker_arguments
from matrix.environments.folders import note_install
from matrix.images.image import Image
from matrix.images.layer import ENVIRONMENT
from matrix.images.nix.nar import STORE
from matrix.images.nix.table import ROOT_DIGITS, StoreEnvironment
from matrix.plan.stages import worker_of

NIX_ENVIRONMENT_FORMAT = 1
SANDBOX_INPUTS, SANDBOX_OUTPUTS, SANDBOX_SCRIPTS = "/in", "/out", "/scripts"
"""The paths in a sandbox of the jobs' inputs, of their folders, and of `scripts/`."""
GOOD = ("exited", 0)

Standing = tuple[int, int]
"""The inodes of a base and an environment: they change if the environment is collected and built again."""


@dataclass(eq=False, kw_only=True)
class SandboxedWorker:
    """An environment with a worker in it. `shown` has the files that its job sees read-only, `folder` the job's own
    folder; `job` is the key of the job that it has."""

    place: StoreEnvironment
    worker: Worker
    standing: Standing
    shown: Path
    folder: Path
    job: str = ""


class NixEngine:
    """See `matrix.engines.contract`: an `Engine` that is `Measuring` and `Verifying`."""

    name = NIX.name
    prefetch = 0

    def __init__(
        self,
        *,
        roots: Path,
        scratch: Path,
        scripts: Path,
        slots: int,
        on_event: Callable[[WorkerEvent], None],
        maker: Maker,
        offline: bool = False,
        sandbox: Sandbox | None = None,
    ) -> None:
        """`roots`: the folder of the garbage collector roots of the environments.

        Raises EngineMissing unless `offline`.
        """
        self._roots, self._scratch, self._scripts = roots, scratch, scripts
        self._slots, self._on_event, self._maker = slots, on_event, maker
        self._sandbox = find_sandbox() if sandbox is None else sandbox
        self._known: dict[EnvironmentRequest, tuple[Image, StoreEnvironment]] = {}
        self._by_digest: dict[str, StoreEnvironment] = {}
        self._found: dict[str, int] = {}
        self._closures: dict[Path, tuple[StorePath, ...]] = {}
        self._entered: dict[str, list[SandboxedWorker]] = {}
        self._whole: set[str] = set()
        self._left: list[SandboxedWorker] = []
        self._jobs: dict[str, tuple[SandboxedWorker, Path]] = {}
        self._remover = ThreadPoolExecutor(1, thread_name_prefix="removes folders")
        if not offline:
            _ = maker.store

    # -- environments

    def recipe(self, request: EnvironmentRequest) -> str:
        return self._digest(self.place(request))

    def place(self, request: EnvironmentRequest) -> StoreEnvironment:
        """The paths of the environment, whether it exists or not. Raises EngineMissing, NoImage."""
        return self._look(request)[1]

    def _look(self, request: EnvironmentRequest) -> tuple[Image, StoreEnvironment]:
        if request not in self._known:
            refuse(request, self.name)
            image = self._maker.workshop.image(request, self._maker.machine)
            place = self._maker.place(request, image)
            self._known[request] = image, place
            self._by_digest[self._digest(place)] = place
        return self._known[request]

    def _digest(self, place: StoreEnvironment) -> str:
        """The digest, known before the environment is realised. It includes the sandbox, because that changes what a
        job sees."""
        return digest(
            {
                "format": NIX_ENVIRONMENT_FORMAT,
                "engine": self.name,
                "base": place.table.base.nar.digest,
                "environment": place.environment.tree.nar.digest,
                "sandbox": self._sandbox.works,
            }
        )

    def _root(self, place: StoreEnvironment) -> Path:
        """The garbage collector root of the environment: a readable name with the digest."""
        return self._roots / f"{place.name}-{self._digest(place)[:ROOT_DIGITS]}"

    def load(self, request: EnvironmentRequest) -> Environment | None:
        place = self.place(request)
        root = self._root(place)
        if not (root.exists() and _standing(place)):
            return None
        self._found |= {tree.path: tree.nar.size for tree in place.trees}
        return self._environment(request, root.readlink())

    def realise(self, request: EnvironmentRequest) -> Environment:
        place = self.place(request)
        root = self._root(place)
        if self.load(request) is None:
            note_install(request)
            self._maker.make(place, root)
            self._found |= {tree.path: tree.nar.size for tree in place.trees}
        programs = root.readlink()
        if programs not in self._closures:
            found = self._maker.store.closure(programs, place.base, place.tree)
            self._closures[programs] = tuple(found.values())
        return self._environment(request, programs)

    def _environment(self, request: EnvironmentRequest, programs: Path) -> Environment:
        """In a sandbox the tools have the same paths as in a container, else they are below `programs`. The evidence
        has the closure after the environment was realised here: a lookup does not ask Nix."""
        image, place = self._look(request)
        paths = self._closures.get(programs, ())
        shut_in = self._sandbox.works
        evidence: dict[str, object] = {
            PROGRAMS: str(programs),
            "nix_base": str(place.base),
            "nix_path": str(place.tree),
            "nar_sha256": place.environment.tree.nar.digest,
            "sandbox": self._sandbox.said,
        }
        if paths:
            evidence |= {"nix_closure_bytes": sum(each.size for each in paths), STORE_PATHS: store_paths_data(paths)}
        return environment_of(
            request,
            image,
            engine=self.name,
            digest=self._digest(place),
            root=Path(f"/{ENVIRONMENT}") if shut_in else programs,
            tools=image.tools if shut_in else {name: f"bin/{name}" for name in image.tools},
            evidence=tuple(evidence.items()),
        )

    def held_bytes(self, made: EnvironmentRequest | None = None) -> int:  # noqa: ARG002
        """The bytes (as archives) of the environments that it has found or made so far; a shared base counts once."""
        return sum(self._found.copy().values())

    def free_bytes(self) -> int | None:
        return shutil.disk_usage(STORE).free

    def close_worker(self, request: EnvironmentRequest) -> None:
        for entered in self._entered.pop(self.recipe(request), ()):
            entered.worker.close()

    def damage(self, request: EnvironmentRequest, *, every_byte: bool) -> str:
        """Nix compares every byte with its database, or none."""
        place = self.place(request)
        if not every_byte or self._digest(place) in self._whole:
            return ""
        if changed := self._maker.store.changed(tree.path for tree in place.trees):
            return changed
        self._whole.add(self._digest(place))
        return ""

    def discard(self, request: EnvironmentRequest) -> None:
        """Nix builds a damaged path again, if this user may let it. Other jobs keep their workers."""
        place = self.place(request)
        self._left += self._entered.pop(self._digest(place), ())
        for tree in place.trees:
            self._maker.store.repair(tree.path)

    # -- jobs

    def start(self, job: Job, environment: Environment, inputs: Mapping[str, Path]) -> None:
        entered = self._enter(job, environment)
        entered.job = job.key
        folder = Path(tempfile.mkdtemp(prefix=f"{job.key[:12]}-", dir=entered.folder))
        shown, seen, cwd = (
            entered.shown / folder.name,
            Path(SANDBOX_INPUTS) / folder.name,
            Path(SANDBOX_OUTPUTS) / folder.name,
        )
        if not self._sandbox.works:
            seen, cwd = shown, folder
        shown.mkdir()
        link_inputs(inputs, shown)
        for name in inputs:
            (folder / name).symlink_to(seen / name)
        self._jobs[job.key] = entered, folder
        scripts = Path(SANDBOX_SCRIPTS) if self._sandbox.works else self._scripts
        entered.worker.submit(
            Order(
                job_id=job.key,
                argv=tool_line(job.argv, environment),
                script=scripts / job.script if job.script else None,
                arguments=script_arguments(job, seen),
                cwd=cwd,
                env=job_variables(cwd),
                limits=job.limits,
                alone=job.alone,
                confined=is_confined(),
                loopback=job.loopback,
            )
        )

    def _enter(self, job: Job, environment: Environment) -> SandboxedWorker:
        """A worker of an environment that has no job; a new one if there is none. Those that are gone, or whose
        environment was collected meanwhile, are left."""
        place = self._by_digest[environment.digest]
        before = self._entered.pop(environment.digest, [])
        standing = _standing(place)
        entered = [each for each in before if not each.worker.gone and each.standing == standing]
        left = [each for each in before if each not in entered]
        cold = any(not each.worker.greeted for each in left)  # its imports fail: then each job reports it
        self._left += left
        self._entered[environment.digest] = entered
        if free := next((each for each in entered if not each.job), None):
            return free
        if standing is None:
            self._maker.make(place, self._root(place))
        entered.append(self._new(job, place, environment, cold=cold))
        return entered[-1]

    def _new(self, job: Job, place: StoreEnvironment, environment: Environment, *, cold: bool) -> SandboxedWorker:
        box = Path(tempfile.mkdtemp(prefix="box-", dir=self._scratch))
        shown, folder = box / "in", box / "out"
        shown.mkdir()
        folder.mkdir()
        standing = _standing(place)
        assert standing is not None  # it was just made
        shut_in = self._sandbox.works
        scripts = Path(SANDBOX_SCRIPTS) if shut_in else self._scripts
        mounts = {
            self._scripts: (SANDBOX_SCRIPTS, "ro"),
            shown: (SANDBOX_INPUTS, "ro"),
            folder: (SANDBOX_OUTPUTS, "rw"),
        }
        line = self._sandbox.line(place.base, place.tree, mounts) if shut_in else []
        line.append(str(environment.root / "bin" / "python"))
        line += worker_arguments(
            scripts / "worker.py",
            slots=1,
            warm=worker_of(job.stage).warm if job.script and not cold else (),
            version_of=worker_of(job.stage).versions_of if job.script else (),
        )
        env = {**EVERYWHERE, "HOME": "/tmp", **(ONE_THREAD if job.script else {})}
        channel = ProcessChannel(line, env)
        worker = Worker(channel=channel, on_event=self._say, name=environment.request_label)
        return SandboxedWorker(place=place, worker=worker, standing=standing, shown=shown, folder=folder)

    def _say(self, event: WorkerEvent) -> None:
        """A failure while the environment is removed from under it is our fault, not IREE's."""
        if isinstance(event, Finished) and event.end.end != "killed" and (event.end.end, event.end.exit_code) != GOOD:
            entered, _ = self._jobs.get(event.end.key, (None, None))
            if entered and _standing(entered.place) != entered.standing:
                error = f"the environment {event.worker} was taken from the Nix store while the job ran"
                event = replace(event, end=JobEnd(key=event.end.key, end="lost", error=error))
        self._on_event(event)

    def collect(self, job: Job) -> dict[str, Path]:
        return outputs_in(self._jobs[job.key][1], job) if job.key in self._jobs else {}

    def clear(self, job: Job) -> None:
        if found := self._jobs.pop(job.key, None):
            entered, folder = found
            entered.job = ""
            for place in (folder, entered.shown / folder.name):
                self._remover.submit(remove_tree, place)

    def cancel(self, key: str) -> None:
        if key in self._jobs:
            self._jobs[key][0].worker.kill(key, queued_only=True)

    def close(self) -> None:
        for entered in (*itertools.chain.from_iterable(self._entered.values()), *self._left):
            entered.worker.close()
        self._remover.shutdown()

    def terminate(self) -> None:
        for entered in (*itertools.chain.from_iterable(self._entered.values()), *self._left):
            entered.worker.terminate()
        self._remover.shutdown()


def _standing(place: StoreEnvironment) -> Standing | None:
    """None if the store does not have it."""
    try:
        return place.base.stat().st_ino, place.tree.stat().st_ino
    except OSError:
        return None
