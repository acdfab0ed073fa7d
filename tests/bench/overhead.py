"""What a container costs a run job: the same jobs in both engines, warm, in one run, and `docker run` beside them.

    python tests/bench/overhead.py [--store FOLDER] [--releases 3.8.0,3.10.0] [--rounds 1] [--samples 15]

One set of modules, a module a compiler release, made in venvs; each is run by each runtime release. A job's time is
what the orchestrator waits: from handing it to the engine until its `Finished`. The engines take turns, job by job.
"""

from __future__ import annotations

import argparse
import hashlib
import queue
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matrix.catalogue import data_root
from matrix.daemon import Confinement, ContainerChannel, Daemon
from matrix.engines.base import Engine
from matrix.engines.docker import FILE_BYTES, RUN_LABEL, SCRATCH_BYTES, STORE_LABEL
from matrix.errors import EngineMissing
from matrix.layers import ENVIRONMENT
from matrix.locks import load_locks
from matrix.records import Environment, EnvironmentRequest, Job, JobEnd, Limits, Stage
from matrix.store import Store, default_store
from matrix.worker import Finished, Lost, WorkerEvent
from matrix.workplace import cores_of_machine, engine_maker, machine_class, workshop

DATA = Path(__file__).parents[1] / "data"
LIMIT_MS = 25.0
LIMITS = Limits(seconds=60, memory_bytes=4 << 30)
COMPILE = ("iree-compile", "module.mlir", "-o", "module.vmfb")
FLAGS = ("--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=x86-64-v3")
INPUTS, OUTPUTS = "/in", "/out"
NOT_RUN = "NOT RUN: what a container costs a job"


@dataclass(kw_only=True)
class Contestant:
    """An engine with its environments, driven one job at a time."""

    engine: Engine
    events: queue.SimpleQueue[WorkerEvent]
    environments: dict[str, Environment] = field(default_factory=dict)

    def do(self, job: Job, environment: Environment, inputs: Mapping[str, Path]) -> tuple[JobEnd, float]:
        """The end of a job, and the milliseconds from handing it over until then."""
        begun = time.perf_counter()
        self.engine.start(job, environment, inputs)
        while True:
            event = self.events.get(timeout=120)
            if isinstance(event, Finished) and event.end.key == job.key:
                return event.end, 1000 * (time.perf_counter() - begun)
            if isinstance(event, Lost):
                raise RuntimeError(f"{self.engine.name} lost its worker: {event.reason} {event.stderr_tail}")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Milliseconds a job. `venv` and `docker` are in the same order: the same job in both."""

    venv: Sequence[float]
    docker: Sequence[float]
    docker_run: Sequence[float]
    storage: str
    """The daemon's driver: with fuse-overlayfs another process has to be asked about each file that a job opens."""

    @property
    def differences(self) -> list[float]:
        return [there - here for here, there in zip(self.venv, self.docker, strict=True)]

    @property
    def held(self) -> bool:
        return statistics.median(self.differences) <= LIMIT_MS

    def lines(self) -> list[str]:
        ratio = statistics.median(self.docker_run) / statistics.median(self.docker)
        return [
            f"{len(self.venv)} run jobs in both engines, warm, taking turns; {machine_class()}, {self.storage}",
            f"venv            {spread(self.venv)} ms a job",
            f"docker          {spread(self.docker)} ms a job",
            f"docker - venv   {spread(self.differences)} ms, median at most {LIMIT_MS:.0f}",
            f"docker run      {spread(self.docker_run)} ms for each of {len(self.docker_run)} jobs, "
            f"{ratio:.0f} times the warm container's",
        ]


def spread(values: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.1f} (half of them {low:.1f} to {high:.1f}, all {min(values):.1f} to {max(values):.1f})"


def request_of(kind: str, release: str) -> EnvironmentRequest:
    lock = load_locks(data_root() / "images" / "locks").find(kind, {f"iree-base-{kind}": release})
    assert lock is not None, f"no lock for {kind} {release}"
    return EnvironmentRequest(kind=kind, python="3.11", lock=lock)


def job_of(stage: Stage, environment: Environment, argv: tuple[str, ...], outputs: tuple[str, ...], name: str) -> Job:
    return Job(
        key=hashlib.sha256(f"{environment.digest} {name}".encode()).hexdigest(),
        stage=stage,
        label=name,
        environment=environment.digest,
        inputs=(),
        outputs=outputs,
        argv=argv,
        script="",
        arguments=(),
        limits=LIMITS,
    )


def make_modules(venv: Contestant, releases: Sequence[str], mlir: Path, folder: Path) -> dict[str, Path]:
    """A module a compiler release, all made by the venv engine."""
    modules = {}
    for release in releases:
        environment = venv.engine.realise(request_of("compiler", release))
        job = job_of(Stage.COMPILE, environment, (*COMPILE, *FLAGS), ("module.vmfb",), "compile")
        end, _ = venv.do(job, environment, {"module.mlir": mlir})
        assert end.exit_code == 0, end.log
        modules[release] = folder / f"{release}.vmfb"
        shutil.copyfile(venv.engine.collect(job)["module.vmfb"], modules[release])
        venv.engine.discard(job)
    return modules


def run_arguments(inputs: str = "", outputs: str = "") -> tuple[str, ...]:
    """Of `iree-run-module`, relative to the job's folder or below two others."""
    files = (f"--module={inputs}module.vmfb", f"--input=@{inputs}input_0.npy", f"--output=@{outputs}output_0.npy")
    return (*files, "--function=main", "--device=local-sync")


def run_job(contestant: Contestant, runtime: str, module: Path, given: Path, name: str) -> tuple[JobEnd, float]:
    environment = contestant.environments[runtime]
    job = job_of(Stage.RUN, environment, ("iree-run-module", *run_arguments()), ("output_*.npy",), name)
    try:
        return contestant.do(job, environment, {"module.vmfb": module, "input_0.npy": given})
    finally:
        contestant.engine.discard(job)


def take_turns(
    venv: Contestant, docker: Contestant, modules: Mapping[str, Path], given: Path, rounds: int
) -> tuple[list[float], list[float]]:
    """Milliseconds of each job in one engine and in the other. Each runtime's first job makes it warm and is not
    counted: there the container is started."""
    here: list[float] = []
    there: list[float] = []
    for runtime in docker.environments:
        for contestant in (venv, docker):
            run_job(contestant, runtime, next(iter(modules.values())), given, "warm")
    for number in range(rounds):
        for runtime in docker.environments:
            for release, module in modules.items():
                name = f"{number} {release}"
                pair = [(venv, here), (docker, there)]
                ends = []
                for contestant, times in pair if len(here) % 2 else reversed(pair):
                    end, milliseconds = run_job(contestant, runtime, module, given, name)
                    ends.append((end.end, end.exit_code))
                    times.append(milliseconds)
                assert ends[0] == ends[1], f"{release} on {runtime}: the engines do not agree: {ends}"
    return here, there


def docker_run(store: Store, environment: Environment, runtime: str, module: Path, given: Path) -> float:
    """Milliseconds of what `docker run --rm` does for one job: create, attach, start, wait, remove."""
    image = workshop(store).image(request_of("runtime", runtime), machine_class().partition(",")[0])
    with tempfile.TemporaryDirectory(dir=store.scratch) as scratch:
        folders = Path(scratch) / "in", Path(scratch) / "out"
        for folder in folders:
            folder.mkdir()
            folder.chmod(0o777)
        shutil.copyfile(module, folders[0] / "module.vmfb")
        shutil.copyfile(given, folders[0] / "input_0.npy")
        tool = f"/{ENVIRONMENT}/{environment.tools['iree-run-module']}"
        daemon = Daemon()
        try:
            begun = time.perf_counter()
            name = daemon.create(
                daemon.find(image) or "",
                [tool, *run_arguments(f"{INPUTS}/", f"{OUTPUTS}/")],
                confinement=Confinement(memory_bytes=4 << 30, scratch_bytes=SCRATCH_BYTES, file_bytes=FILE_BYTES),
                mounts={folders[0]: (INPUTS, "ro"), folders[1]: (OUTPUTS, "rw")},
                labels={RUN_LABEL: str(store.scratch), STORE_LABEL: str(store.folder)},
            )
            channel = ContainerChannel(daemon, name)
            while (came := channel.read(60)) and came[1]:
                pass
            channel.wait(60)
            channel.close()
            return 1000 * (time.perf_counter() - begun)
        finally:
            daemon.close()


def storage_driver() -> str:
    daemon = Daemon()
    try:
        return str(daemon.client.info()["Driver"])
    finally:
        daemon.close()


def measure(folder: Path, releases: Sequence[str], *, mlir: Path, given: Path, rounds: int, samples: int) -> Measured:
    """Raises EngineMissing where no daemon answers."""
    Daemon().close()
    with Store(folder) as store, tempfile.TemporaryDirectory(prefix="overhead-") as scratch:
        store.hold(alone=False)
        made: list[Contestant] = []
        try:
            for name in ("docker", "venv"):
                events: queue.SimpleQueue[WorkerEvent] = queue.SimpleQueue()
                maker: Callable[..., Engine] = engine_maker(name, store, cores=cores_of_machine())
                made.append(Contestant(engine=maker(events.put), events=events))
            docker, venv = made
            modules = make_modules(venv, releases, mlir, Path(scratch))
            for contestant in made:
                for release in releases:
                    contestant.environments[release] = contestant.engine.realise(request_of("runtime", release))
            here, there = take_turns(venv, docker, modules, given, rounds)
            pairs = [(runtime, module) for module in modules.values() for runtime in releases]
            chosen = [pairs[number * len(pairs) // samples] for number in range(samples)]
            alone = [docker_run(store, docker.environments[name], name, module, given) for name, module in chosen]
            return Measured(venv=here, docker=there, docker_run=alone, storage=storage_driver())
        finally:
            for contestant in made:
                contestant.engine.close()


def all_releases() -> list[str]:
    """Those of the runtimes: the newest of each minor release."""
    return list(load_locks(data_root() / "images" / "locks").releases("runtime"))


def measured_or_told(
    folder: Path, releases: Sequence[str], *, mlir: Path, given: Path, rounds: int = 1, samples: int = 15
) -> bool:
    """Measures and prints. Says whether it held; where no daemon answers it says loudly that nothing was measured."""
    try:
        measured = measure(folder, releases, mlir=mlir, given=given, rounds=rounds, samples=samples)
    except EngineMissing as error:
        print(f"{NOT_RUN}: {error}")
        return True
    print("\n".join(measured.lines()))
    return measured.held


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, default=default_store())
    parser.add_argument("--releases", default="", help="of compiler and runtime, with commas between (default: all)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--samples", type=int, default=15, help="jobs for which `docker run` is measured")
    options = parser.parse_args()
    releases = options.releases.split(",") if options.releases else all_releases()
    held = measured_or_told(
        options.store.resolve(),
        releases,
        mlir=DATA / "linear.mlir",
        given=DATA / "linear_input.npy",
        rounds=options.rounds,
        samples=options.samples,
    )
    print("held" if held else "NOT held")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
