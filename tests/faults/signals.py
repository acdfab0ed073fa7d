"""Signals from outside, at random moments, to each kind of process that a run has.

A moment is a share of the time that the untouched run takes. Where there is no such process at that moment the signal
waits for one; where there is none until the end, the trial begins again with an earlier moment.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from containers import containers_of
from family import Family, Trial
from invariants import broken_after
from workload import Bed, Call, Place

NUMBERS = {name: getattr(signal, f"SIG{name}") for name in ("KILL", "TERM", "HUP", "INT", "STOP")}
STOPPED_SECONDS = (0.2, 1.5)
"""How long what was stopped stays so, at least and at most. A worker stays stopped: the run must do without it."""
ENGINES = ("venv", "docker", "venv", "nix", "venv")
"""Whose turn it is, over and over: a container or a sandbox takes longer, and is met often enough so."""
ATTEMPTS = 4
REBUILT = "runtime-3_13_0"
"""The environment that the builder of Nix makes in trials of the builder: the smallest."""


def below(pid: int) -> dict[int, str]:
    """All processes below one: pid -> command line."""
    return {each: command for each, command in family_of(pid).items() if each != pid}


def family_of(pid: int) -> dict[int, str]:
    """A process and all below it. Asked a hundred times a second, so not by a look at every process of the machine."""
    found = [pid]
    for each in found:
        # pathlib's raises where a process ends meanwhile
        for children in glob.glob(f"/proc/{each}/task/*/children"):  # noqa: PTH207
            with contextlib.suppress(OSError):
                found += map(int, Path(children).read_text().split())
    return {each: command_of(each) for each in found}


def command_of(pid: int) -> str:
    """Nothing where the process has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def processes_of_run(place: Place, call: Call) -> dict[int, str]:
    """What runs for a call on this machine; in containers too, where this process may look into them."""
    found = below(call.pid)
    if place.engine == "docker":
        for each in main_processes(place):
            found |= family_of(each)
    return found


def main_processes(place: Place) -> list[int]:
    """The first process of each container of the store."""
    from matrix.engines.docker.daemon import Daemon

    daemon, found = Daemon(), []
    try:
        for each in containers_of(place.store):
            with contextlib.suppress(Exception):  # gone meanwhile
                found.append(int(daemon.client.api.inspect_container(each["Id"])["State"]["Pid"]))
    finally:
        daemon.close()
    return [pid for pid in found if pid]


def orchestrator(place: Place, call: Call) -> list[int]:
    return [call.pid]


def tree(place: Place, call: Call) -> list[int]:
    """All that was started here; a container is its daemon's."""
    return [call.pid, *below(call.pid)]


def worker(place: Place, call: Call) -> list[int]:
    workers = workers_of_run(place, call)
    return [pid for pid in workers if parent_of(pid) not in workers][:1]


def keeper(place: Place, call: Call) -> list[int]:
    """A worker has one for each job at a time: it adopts what the job leaves."""
    workers = workers_of_run(place, call)
    return [pid for pid in workers if parent_of(pid) in workers][:1]


def workers_of_run(place: Place, call: Call) -> set[int]:
    found = processes_of_run(place, call)
    return {pid for pid, command in found.items() if "worker.py" in command and "python" in command.split()[0]}


def parent_of(pid: int) -> int:
    """0 where the process has ended."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    return 0


def job(place: Place, call: Call) -> list[int]:
    tools = ("iree-compile", "iree-run-module")
    found = processes_of_run(place, call)
    return [pid for pid, command in found.items() if command and Path(command.split()[0]).name in tools][:1]


def installer(place: Place, call: Call) -> list[int]:
    found = below(call.pid)
    return [pid for pid, command in found.items() if command and Path(command.split()[0]).name == "uv"][:1]


def builder(place: Place, call: Call) -> list[int]:
    """Nix starts what builds below `nix-build`; its first process is the nearest to the work."""
    found = [pid for pid, command in below(call.pid).items() if "nix-build" in command]
    return [*(inner for pid in found for inner in below(pid)), *found][:1]


def container(place: Place, call: Call) -> list[int]:
    return main_processes(place)[:1]


Target = Callable[[Place, Call], list[int]]
TARGETS: dict[str, tuple[Target, ...]] = {
    "venv": (orchestrator, tree, worker, keeper, job, installer),
    "docker": (orchestrator, tree, worker, keeper, job, container),
    "nix": (orchestrator, tree, worker, keeper, job, builder),
}


def trials(bed: Bed, chance: random.Random, count: int) -> Iterator[Trial]:
    engines = bed.engines("venv") if bed.short else bed.engines()
    every = {engine: [(target, name) for target in TARGETS[engine] for name in NUMBERS] for engine in engines}
    for pairs in every.values():
        chance.shuffle(pairs)
    order = itertools.cycle(engine for engine in ENGINES if engine in engines)
    following = {engine: itertools.cycle(pairs) for engine, pairs in every.items()}
    for engine in itertools.islice(order, count):
        target, name = next(following[engine])
        yield one_signal(bed, engine, target, name, share=chance.random(), stopped=chance.uniform(*STOPPED_SECONDS))


def one_signal(bed: Bed, engine: str, target: Target, name: str, *, share: float, stopped: float) -> Trial:
    untouched = bed.untouched(engine)
    assert untouched
    fault = f"{engine}: {name} to the {target.__name__}"
    for attempt in range(ATTEMPTS):
        moment = share * untouched.seconds / 2**attempt
        with bed.place(engine) as place:
            take_away(bed, place, target)
            call = place.begin()
            time.sleep(moment)
            if sent(place, call, target, NUMBERS[name], stopped):
                place.finish(call)
                return Trial(fault=f"{fault} after {moment:.2f} s", broken=broken_after(bed, place))
            place.finish(call)
    bed.cannot(fault, "no run had such a process long enough to be met")
    return Trial(fault=fault, tried=0)


def take_away(bed: Bed, place: Place, target: Target) -> None:
    """What a run needs before it starts an installer or a builder."""
    if target is installer:
        for folder in place.store.glob("environments/runtime-*"):
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    if target is builder and place.before:  # never in the machine's own Nix store
        shutil.rmtree(place.store / "nix-roots", ignore_errors=True)
        shutil.rmtree(bed.folder / "warm-nix" / "store" / "nix-roots", ignore_errors=True)
        script = f"for p in /nix/store/*-*{REBUILT.replace('_', '.')}*; do nix-store --delete $p; done"
        subprocess.run([*place.before, "sh", "-c", script], capture_output=True, timeout=120, check=False)


def sent(place: Place, call: Call, target: Target, number: int, stopped: float) -> bool:
    """Sends the signal as soon as there is somebody to send it to. False: the run was over first."""
    while not call.over:
        if pids := target(place, call):
            send(call, pids, number)
            if number == signal.SIGSTOP and target is not worker:
                time.sleep(stopped)
                send(call, pids, signal.SIGCONT)
            return True
        time.sleep(0.05 if place.engine == "docker" else 0.005)  # there it asks the daemon
    return False


def send(call: Call, pids: list[int], number: int) -> None:
    """The orchestrator last, so that none of its own ending comes between."""
    for pid in reversed(pids):
        if pid == call.pid:
            call.send(number)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


SIGNALS = Family(
    name="signals",
    what="KILL, TERM, HUP, INT, STOP to each kind of process of a run, at random moments",
    full=200,
    short=4,
    trials=trials,
    engines=("venv", "docker", "nix"),
)
