"""What an engine costs a run job beyond the venv engine: the same jobs in each, warm, and `docker run` beside them.

    python tests/bench/overhead.py [--store FOLDER] [--engines docker,nix] [--releases 3.8.0,3.10.0] [--rounds 1]

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

from matrix.core.data import data_root, default_store
from matrix.core.errors import EngineMissing
from matrix.core.machine import machine_class, usable_cores
from matrix.core.records import Environment, EnvironmentRequest, Job, JobEnd, Limits, Stage
from matrix.engines.choice import engine_maker
from matrix.engines.contract import Engine
from matrix.engines.docker.boxes import FILE_BYTES, RUN_LABEL, SCRATCH_BYTES, STORE_LABEL
from matrix.engines.docker.channel import ContainerChannel
from matrix.engines.docker.daemon import Confinement, Daemon
from matrix.engines.kind import workshop
from matrix.engines.nix.store import NixStore
from matrix.engines.worker import Finished, Lost, WorkerEvent
from matrix.images.layer import ENVIRONMENT
from matrix.plan.locks import load_locks
from matrix.run.store import Store

DATA = Path(__file__).parents[1] / "data"
LIMIT_MS = 25.0
ENGINES = ("docker", "nix")
"""What is compared with venv."""
LIMITS = Limits(seconds=60, memory_bytes=4 << 30)
COMPILE = ("iree-compile", "module.mlir", "-o", "module.vmfb")
FLAGS = ("--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=x86-64-v3")
INPUTS, OUTPUTS = "/in", "/out"
NOT_RUN = "NOT RUN: what the engine {} costs a job"


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
    """Milliseconds a job, by engine. All are in the same order: the same job in each; `venv` is among them."""

    jobs: Mapping[str, Sequence[float]]
    docker_run: Sequence[float]
    """Of `docker run` for single jobs; empty without that engine."""
    storage: str
    """The daemon's driver: with fuse-overlayfs another process has to be asked about each file that a job opens."""

    @property
    def others(self) -> list[str]:
        return [name for name in self.jobs if name != "venv"]

    def differences(self, engine: str) -> list[float]:
        return [there - here for here, there in zip(self.jobs["venv"], self.jobs[engine], strict=True)]

    @property
    def held(self) -> bool:
        return all(statistics.median(self.differences(name)) <= LIMIT_MS for name in self.others)

    def lines(self) -> list[str]:
        count, names = len(self.jobs["venv"]), " and ".join(self.jobs)
        said = [f"{count} run jobs each in {names}, warm, taking turns; {machine_class()}{self.storage}"]
        said += [f"{name:15} {spread(times)} ms a job" for name, times in self.jobs.items()]
        said += [
            f"{f'{name} - venv':15} {spread(self.differences(name))} ms, median at most {LIMIT_MS:.0f}"
            for name in self.others
        ]
        if self.docker_run:
            ratio = statistics.median(self.docker_run) / statistics.median(self.jobs["docker"])
            said.append(
                f"docker run      {spread(self.docker_run)} ms for each of {len(self.docker_run)} jobs, "
                f"{ratio:.0f} times the warm container's"
            )
        return said


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
        job = job_of("compile", environment, (*COMPILE, *FLAGS), ("module.vmfb",), "compile")
        end, _ = venv.do(job, environment, {"module.mlir": mlir})
        assert end.exit_code == 0, end.log
        modules[release] = folder / f"{release}.vmfb"
        shutil.copyfile(venv.engine.collect(job)["module.vmfb"], modules[release])
        venv.engine.clear(job)
    return modules


def run_arguments(inputs: str = "", outputs: str = "") -> tuple[str, ...]:
    """Of `iree-run-module`, relative to the job's folder or below two others."""
    files = (f"--module={inputs}module.vmfb", f"--input=@{inputs}input_0.npy", f"--output=@{outputs}output_0.npy")
    return (*files, "--function=main", "--device=local-sync")


def run_job(contestant: Contestant, runtime: str, module: Path, given: Path, name: str) -> tuple[JobEnd, float]:
    environment = contestant.environments[runtime]
    job = job_of("run", environment, ("iree-run-module", *run_arguments()), ("output_*.npy",), name)
    try:
        return contestant.do(job, environment, {"module.vmfb": module, "input_0.npy": given})
    finally:
        contestant.engine.clear(job)


def take_turns(
    contestants: Mapping[str, Contestant], modules: Mapping[str, Path], given: Path, rounds: int
) -> dict[str, list[float]]:
    """Milliseconds of each job in each engine. Each runtime's first job makes it warm and is not counted: there a
    container or sandbox is started."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    runtimes = list(next(iter(contestants.values())).environments)
    for runtime in runtimes:
        for contestant in contestants.values():
            run_job(contestant, runtime, next(iter(modules.values())), given, "warm")
    order = list(contestants)
    for number in range(rounds):
        for runtime in runtimes:
            for release, module in modules.items():
                order.append(order.pop(0))
                ends = set()
                for name in order:
                    end, milliseconds = run_job(contestants[name], runtime, module, given, f"{number} {release}")
                    ends.add((end.end, end.exit_code))
                    times[name].append(milliseconds)
                assert len(ends) == 1, f"{release} on {runtime}: the engines do not agree: {ends}"
    return times


def docker_run(store: Store, environment: Environment, runtime: str, module: Path, given: Path) -> float:
    """Milliseconds of what `docker run --rm` does for one job: create, attach, start, wait, remove."""
    image = workshop(store.places).image(request_of("runtime", runtime), machine_class().partition(",")[0])
    with tempfile.TemporaryDirectory(dir=store.places.scratch) as scratch:
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
                labels={RUN_LABEL: str(store.places.scratch), STORE_LABEL: str(store.folder)},
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


def measure(
    folder: Path, engines: Sequence[str], releases: Sequence[str], *, mlir: Path, given: Path, rounds: int, samples: int
) -> Measured:
    """The engines beside venv. Raises EngineMissing where one of them is not on this machine."""
    with Store(folder) as store, tempfile.TemporaryDirectory(prefix="overhead-") as scratch:
        store.claims.take_store(alone=False)
        made: dict[str, Contestant] = {}
        try:
            for name in (*engines, "venv"):
                events: queue.SimpleQueue[WorkerEvent] = queue.SimpleQueue()
                maker: Callable[..., Engine] = engine_maker(name, store.places, cores=usable_cores())
                made[name] = Contestant(engine=maker(events.put), events=events)
            modules = make_modules(made["venv"], releases, mlir, Path(scratch))
            for contestant in made.values():
                for release in releases:
                    contestant.environments[release] = contestant.engine.realise(request_of("runtime", release))
            times = take_turns(made, modules, given, rounds)
            alone: list[float] = []
            if docker := made.get("docker"):
                pairs = [(runtime, module) for module in modules.values() for runtime in releases]
                chosen = [pairs[number * len(pairs) // samples] for number in range(samples)]
                alone = [docker_run(store, docker.environments[name], name, module, given) for name, module in chosen]
            return Measured(jobs=times, docker_run=alone, storage=f", {storage_driver()}" if docker else "")
        finally:
            for contestant in made.values():
                contestant.engine.close()


def engines_here(wanted: Sequence[str]) -> list[str]:
    """Those that this machine has. Of each other it is said loudly that it was not measured."""
    found = []
    for name in wanted:
        try:
            if name == "docker":
                Daemon().close()
            else:
                NixStore()
            found.append(name)
        except EngineMissing as error:
            print(f"{NOT_RUN.format(name)}: {error}")
    return found


def all_releases() -> list[str]:
    """Those of the runtimes: the newest of each minor release."""
    return list(load_locks(data_root() / "images" / "locks").releases("runtime"))


def measured_or_told(
    folder: Path,
    releases: Sequence[str],
    *,
    mlir: Path,
    given: Path,
    engines: Sequence[str] = ENGINES,
    rounds: int = 1,
    samples: int = 15,
) -> bool:
    """Measures the engines that are here, and prints. Says whether it held."""
    if not (here := engines_here(engines)):
        return True
    measured = measure(folder, here, releases, mlir=mlir, given=given, rounds=rounds, samples=samples)
    print("\n".join(measured.lines()))
    return measured.held


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, default=default_store())
    parser.add_argument("--engines", default=",".join(ENGINES), help="beside venv, with commas between")
    parser.add_argument("--releases", default="", help="of compiler and runtime, with commas between (default: all)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--samples", type=int, default=15, help="jobs for which `docker run` is measured")
    options = parser.parse_args()
    held = measured_or_told(
        options.store.resolve(),
        options.releases.split(",") if options.releases else all_releases(),
        mlir=DATA / "linear.mlir",
        given=DATA / "linear_input.npy",
        engines=options.engines.split(","),
        rounds=options.rounds,
        samples=options.samples,
    )
    print("held" if held else "NOT held")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
