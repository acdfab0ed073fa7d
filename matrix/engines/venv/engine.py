"""The default engine: plain virtual environments in the store, no daemon.

One worker spawns the tools of all compiler and runtime environments (31 interpreters would cost more than the work).
Each exporter environment has its own warm worker, whose forks run the jobs.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from matrix.environments import folders, installed, interpreters, user_tools
from matrix.builds.devices.own_devices import with_device_class
from matrix.engines.confinement import confinement_words, is_confined
from matrix.engines.contract import EVERYWHERE, ONE_THREAD, job_variables, outputs_in, script_arguments, tool_line, tool_variables
from matrix.engines.choice import refuse
from matrix.engines.venv.checking import FolderCheck
from matrix.engines.venv.kind import VENV
from matrix.environments.wheel_cache import Footprint, WheelCache
from matrix.core.disk import remove_tree
from matrix.core.keys import digest
from matrix.core.machine import machine_class
from matrix.environments.interpreters import PythonInfo
from matrix.core.records import Environment, EnvironmentRequest, Job
from matrix.engines.worker import Order, WorkerEvent, WorkerProcess
from matrix.plan.backends.iree.source_builds import CACHES, TREES
from matrix.plan.stages import worker_of
from matrix.plan.targets import DEVICES

if TYPE_CHECKING:
    from matrix.images.workshop import Workshop
    from matrix.engines.ssh.environments import BoardEnvironments
    from matrix.engines.venv.emulated import EmulatedEnvironments
    from matrix.builds.tools import BuildTools


KEPT_VARIABLES = ("IREE_MATRIX_START_LOG",)
"""Variables of the user that a worker has: what counts its jobs."""


class VenvEngine:
    """See `matrix.engines.contract`: an `Engine` that is `Removing` and `Verifying`."""

    name = VENV.name
    prefetch = 2

    def __init__(
        self,
        *,
        folder: Path,
        scratch: Path,
        scripts: Path,
        slots: int,
        on_event: Callable[[WorkerEvent], None],
        workshop: Callable[[], Workshop],
        offline: bool = False,
        cache: WheelCache | None = None,
    ) -> None:
        self._environments, self._scratch, self._scripts, self._offline = folder, scratch, scripts, offline
        self._slots, self._on_event = slots, on_event
        self._spawner: WorkerProcess | None = None
        self._cache = cache
        self._workshop = workshop
        self._footprint = Footprint()
        self._measuring = threading.Lock()
        self._holds: dict[EnvironmentRequest, contextlib.ExitStack] = {}
        self._exporters: dict[Path, WorkerProcess] = {}
        self._workers: dict[str, WorkerProcess] = {}
        self._folders: dict[str, Path] = {}
        self._remover = ThreadPoolExecutor(1, thread_name_prefix="removes folders")
        self._recipes: dict[EnvironmentRequest, str] = {}
        self._pythons: dict[str, PythonInfo] = {}
        self._finding = threading.Lock()
        self._check = FolderCheck(folder.parent / "trees")
        self._retired: list[WorkerProcess] = []
        self._damaged: dict[EnvironmentRequest, set[str]] = {}

    def recipe(self, request: EnvironmentRequest) -> str:
        refuse(request, self.name)
        if request not in self._recipes:
            self._recipes[request] = self._recipe(request)
        return self._recipes[request]

    def _recipe(self, request: EnvironmentRequest) -> str:
        if _is_board(request):
            return self._boards.recipe(request)
        if request.platform:
            return self._foreign.recipe(request)
        if request.build:
            self._furnisher.look_for(request.build)
        bare = installed.request_digest(request, self._python(request), engine=self.name)
        beside = self._furnisher.identity(request) if request.linked or request.driver else ""
        return digest({"bare": bare, "beside": beside}) if beside else bare

    @functools.cached_property
    def _foreign(self) -> EmulatedEnvironments:
        """Imports readers of archives, which a run for this machine does not need."""
        from matrix.engines.venv.emulated import EmulatedEnvironments

        return EmulatedEnvironments(shop=self._workshop(), store=self._environments.parent)

    @functools.cached_property
    def _boards(self) -> BoardEnvironments:
        from matrix.engines.ssh.environments import BoardEnvironments

        return BoardEnvironments(
            install=lambda request, root: self._foreign.install_tools(request, root),
            script=self._scripts / "board.sh",
            store=self._environments.parent,
            on_event=self._on_event,
            offline=self._offline,
        )

    @functools.cached_property
    def _furnisher(self) -> BuildTools:
        from matrix.builds.tools import BuildTools

        return BuildTools(shop=self._workshop(), store=self._environments.parent)

    def _python(self, request: EnvironmentRequest) -> PythonInfo:
        with self._finding:  # one search for an interpreter, however many environments wait for it
            if request.python not in self._pythons:
                self._pythons[request.python] = interpreters.find(request.python, offline=self._offline)
        return self._pythons[request.python]

    def folder(self, request: EnvironmentRequest) -> Path:
        """The path of the environment: a readable name with the digest of its inputs."""
        name = request.lock.name.replace("/", "-")
        machine = f"-{request.platform.machine}" if request.platform else ""
        return self._environments / f"{name}{machine}-py{request.python}-{self.recipe(request)[:12]}"

    def load(self, request: EnvironmentRequest) -> Environment | None:
        found = folders.load(self.folder(request)) if self._offline or self._hold(request) else None
        if found is None and (stack := self._holds.pop(request, None)):
            stack.close()
        return found and self._with_evidence(request, found)

    def realise(self, request: EnvironmentRequest) -> Environment:
        while True:
            environment = self._realise(request, self.folder(request))
            if self._hold(request):  # else another process has just removed it
                return self._with_evidence(request, environment)

    def _realise(self, request: EnvironmentRequest, folder: Path) -> Environment:
        if packages := self._damaged.pop(request, None):
            installed.forget_wheels(sorted(packages), self._cache)
        if _is_board(request):
            return self._boards.realise(request, folder)
        if request.platform:
            return self._foreign.realise(request, folder)

        def furnish(root: Path, bare: Environment) -> Environment:
            return self._furnisher.furnish(request, root, folder, bare)

        beside = furnish if request.build or request.linked or request.driver else None
        return installed.realise(request, self._python(request), folder, cache=self._cache, add_tools=beside)

    def _hold(self, request: EnvironmentRequest) -> bool:
        """From here on no other process removes the environment, until this one ends or removes it."""
        if request in self._holds:
            return True
        stack = contextlib.ExitStack()
        if not (self.folder(request).is_dir() and stack.enter_context(folders.in_use(self.folder(request)))):
            stack.close()
            return False
        self._holds[request] = stack
        return True

    def damage(self, request: EnvironmentRequest, *, every_byte: bool) -> str:
        if every_byte and request.toolchain and not user_tools.unchanged(request.toolchain):
            return "its tools were changed since the run began"
        return self._check.damage(self.folder(request), every_byte=every_byte)

    def discard(self, request: EnvironmentRequest) -> None:
        if worker := self._exporters.pop(self.folder(request), None):
            self._retired.append(worker)  # its other jobs go on, and are looked at when they end badly
        if stack := self._holds.pop(request, None):
            stack.close()
        self._damaged[request], left = self._check.discard(self.folder(request))
        for folder in left:
            self._remover.submit(remove_tree, folder)

    def held_bytes(self, made: EnvironmentRequest | None = None) -> int:
        with self._measuring:
            if made is None:
                self._footprint = Footprint()
            place = self.folder(made) if made else self._environments
            return self._footprint.add([place, *([self._cache.folder] if self._cache else [])])

    def remove_unfinished(self) -> None:
        folders.remove_unfinished(self._environments)
        if self._cache:
            self._cache.prune()

    def remove_others(self, keep: Collection[EnvironmentRequest]) -> int:
        kept = {self.folder(request) for request in keep}
        others = {path.parent for path in self._environments.glob(f"*/{folders.DESCRIPTION}")} - kept
        gone = sum(folders.remove_environment(folder) for folder in others if folders.PARTIAL not in folder.name)
        if self._cache:
            self._cache.prune()
        return gone

    def free_bytes(self) -> int:
        return shutil.disk_usage(self._environments).free

    def close_worker(self, request: EnvironmentRequest) -> None:
        if worker := self._exporters.pop(self.folder(request), None):
            worker.close()

    def remove(self, request: EnvironmentRequest) -> bool:
        self.close_worker(request)
        if stack := self._holds.pop(request, None):
            stack.close()
        gone = folders.remove_environment(self.folder(request))
        if gone:
            self._check.forget(self.folder(request))
        if self._cache:
            self._cache.prune()
        return gone

    def start(self, job: Job, environment: Environment, inputs: Mapping[str, Path]) -> None:
        folder = self._folders[job.key] = Path(tempfile.mkdtemp(prefix=f"{job.key[:12]}-", dir=self._scratch))
        if environment.board:
            self._boards.start(job, environment, inputs, folder)
            return
        for name, blob in inputs.items():
            if name in job.programs:  # an emulator needs it to be executable too
                shutil.copyfile(blob, folder / name)
                (folder / name).chmod(0o755)
            else:
                (folder / name).symlink_to(blob)
        worker = self._exporter(environment, job) if job.script else self._spawn_worker()
        self._workers[job.key] = worker
        worker.submit(
            Order(
                job_id=job.key,
                argv=tool_line(job.argv, environment),
                script=self._scripts / job.script if job.script else None,
                arguments=script_arguments(job, folder),
                cwd=folder,
                env={**job_variables(folder), **tool_variables(environment)},
                limits=job.limits,
                alone=job.alone,
                confined=is_confined(),
                loopback=job.loopback,
                writable=_caches(environment),
            )
        )

    def collect(self, job: Job) -> dict[str, Path]:
        self._workers.pop(job.key, None)
        if job.key not in self._folders:
            return {}
        return outputs_in(self._folders[job.key], job)

    def clear(self, job: Job) -> None:
        self._workers.pop(job.key, None)
        if folder := self._folders.pop(job.key, None):
            self._remover.submit(remove_tree, folder)

    def cancel(self, key: str) -> None:
        if key in self._workers:
            self._workers[key].kill(key, queued_only=True)
        elif "_boards" in self.__dict__:
            self._boards.cancel(key)

    def close(self) -> None:
        for worker in self._all():
            worker.close()
        if "_boards" in self.__dict__:
            self._boards.close()
        self._remover.shutdown()

    def terminate(self) -> None:
        for worker in self._all():
            worker.terminate()
        if "_boards" in self.__dict__:
            self._boards.terminate()
        self._remover.shutdown()

    @functools.cached_property
    def _variables(self) -> dict[str, str]:
        """The variables of a worker, and of the modules that it imports."""
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        return {**EVERYWHERE, "HOME": str(self._scratch), "TMPDIR": str(self._scratch), **kept}

    def _all(self) -> list[WorkerProcess]:
        return [*self._exporters.values(), *self._retired, *([self._spawner] if self._spawner else [])]

    def _spawn_worker(self) -> WorkerProcess:
        if self._spawner is None or self._spawner.gone:
            self._spawner = WorkerProcess(
                interpreter=Path(sys.executable),
                script=self._scripts / "worker.py",
                slots=self._slots,
                on_event=self._on_event,
                env=self._variables,
                name="tools",
            )
        return self._spawner

    def _with_evidence(self, request: EnvironmentRequest, environment: Environment) -> Environment:
        if _is_board(request):
            return self._boards.on_board(request, environment)
        evidence = (*environment.evidence, ("sandbox", confinement_words()))
        if not request.driver:
            return replace(environment, evidence=evidence)
        facts = self._furnisher.facts(request.driver, environment)
        machine = with_device_class(machine_class(), facts) if request.driver in DEVICES else environment.machine
        return replace(environment, evidence=(*evidence, ("driver", facts)), machine=machine)

    def _exporter(self, environment: Environment, job: Job) -> WorkerProcess:
        worker = self._exporters.get(environment.root)
        if worker is None or worker.gone:
            cold = worker is not None and not worker.greeted  # its imports fail: then each job reports it
            worker = self._exporters[environment.root] = WorkerProcess(
                interpreter=environment.root / "bin" / "python",
                script=self._scripts / "worker.py",
                slots=self._slots,
                on_event=self._on_event,
                warm=() if cold else worker_of(job.stage).warm,
                version_of=worker_of(job.stage).versions_of,
                env={**self._variables, **ONE_THREAD},
                name=environment.request_label,
            )
        return worker


def _caches(environment: Environment) -> tuple[str, ...]:
    """The caches of an environment's compilers, which its jobs may write."""
    return tuple(str(place) for name in CACHES if (place := Path(environment.root, TREES, name)).is_dir())


def _is_board(request: EnvironmentRequest) -> bool:
    return request.platform is not None and request.platform.board is not None
