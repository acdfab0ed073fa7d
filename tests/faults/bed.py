"""Does faults to real runs of the program, and looks after each whether all invariants hold.

    python tests/faults/bed.py [--seed N] [--short] [--only FAMILY]... [--count N] [--output results/faults.md]

A family of faults is a module beside this file and a row of FAMILIES. `--short` is the part for CI. The exit status is
0 if all invariants held, 1 if one did not, 130 after Ctrl-C. docs/faults.md says more.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection, wait
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "helpers"), str(HERE.parents[1])]

from bad_input import BAD_INPUT  # noqa: E402 - found by the lines above
from clock import CLOCK  # noqa: E402
from daemon import DAEMON  # noqa: E402
from disk import DISK  # noqa: E402
from family import Family  # noqa: E402
from fuzz import FUZZ  # noqa: E402
from hostile import HOSTILE  # noqa: E402
from index import INDEX  # noqa: E402
from power import POWER  # noqa: E402
from report import Load, Tally, report_text  # noqa: E402
from signals import SIGNALS  # noqa: E402
from soak import SOAK  # noqa: E402
from together import TOGETHER  # noqa: E402
from torn import TORN  # noqa: E402
from workload import Bed  # noqa: E402

from matrix.core.machine import usable_cores  # noqa: E402

FAMILIES: tuple[Family, ...] = (
    SIGNALS,
    TORN,
    HOSTILE,
    POWER,
    DISK,
    INDEX,
    CLOCK,
    DAEMON,
    TOGETHER,
    FUZZ,
    BAD_INPUT,
    SOAK,
)
"""The three that take longest come first: two families are tried at a time, and none shall be left alone at the end."""
SEED = 14
SAY_EVERY = 10.0


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [family.name for family in FAMILIES]
    parser.add_argument("--seed", type=int, default=SEED, help=f"of all that is random; default: {SEED}")
    parser.add_argument("--short", action="store_true", help="the part for CI, at most 90 s")
    parser.add_argument("--only", action="append", choices=names, default=[], help="this family; may be repeated")
    parser.add_argument("--count", type=int, help="faults of each family, in place of its own number")
    parser.add_argument("--output", type=Path, help="where the report goes; default: it is printed")
    parser.add_argument("--folder", type=Path, help="kept for the next call: environments need not be made again")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="iree-matrix-faults-", ignore_cleanup_errors=True) as scratch:
        folder = (options.folder or Path(scratch)).resolve()
        return run_families(Bed(folder, short=options.short), options)


def run_families(bed: Bed, options: argparse.Namespace) -> int:
    load, interrupted = Load(), False
    chosen = [family for family in FAMILIES if not options.only or family.name in options.only]
    counts = {family: options.count or (family.short if options.short else family.full) for family in chosen}
    tallies = [Tally(name=family.name, what=family.what) for family in counts if counts[family]]
    try:
        bed.engines("venv", *(() if options.short else {name for family in chosen for name in family.engines}))
        for done in side_by_side(bed, {family: count for family, count in counts.items() if count}, options.seed):
            tallies = [done if done.name == tally.name else tally for tally in tallies]
    except KeyboardInterrupt:
        interrupted = True
    text = report_text(
        tallies,
        seed=options.seed,
        short=options.short,
        load=load,
        untried=bed.untried,
        commit=commit(),
    )
    for place, name in ((bed.folder, "BED"), (Path(__file__).parents[2], "PROJECT"), (sys.base_prefix, "PYTHON")):
        text = text.replace(str(place), name)
    if options.output and not interrupted:
        options.output.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 130 if interrupted else int(any(tally.broken for tally in tallies))


def side_by_side(bed: Bed, counts: Mapping[Family, int], seed: int) -> Iterator[Tally]:
    """Tries families in processes of their own, one on each core: a trial waits more than it computes. Ctrl-C ends
    each trial under way in order."""
    waiting, running, interrupted = list(counts), dict[Connection, Process](), False
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell without a terminal has it ignored
        signal.signal(number, signal.default_int_handler)
    while waiting or running:
        try:
            while waiting and len(running) < usable_cores():
                ours, theirs = Pipe(duplex=False)
                family = waiting.pop(0)
                chance = random.Random(f"{seed} {family.name}")
                process = Process(target=try_family, args=(bed, family, chance, counts[family], theirs))
                process.start()
                theirs.close()
                running[ours] = process
            ready = wait(list(running))
        except KeyboardInterrupt:
            interrupted, waiting, ready = True, [], []
            for process in running.values():
                os.kill(process.pid or 0, signal.SIGINT)
        for ours in ready:
            assert isinstance(ours, Connection)
            with contextlib.suppress(EOFError):
                tally, untried = ours.recv()
                bed.untried |= untried
                yield tally
            running.pop(ours).join()
    if interrupted:
        raise KeyboardInterrupt


def try_family(bed: Bed, family: Family, chance: random.Random, count: int, answer: Connection) -> None:
    """The trials of one family, in a process of their own: its group, so that Ctrl-C reaches it once."""
    os.setpgid(0, 0)
    parent, begun = os.getppid(), time.monotonic()
    said, tally = begun, Tally(name=family.name, what=family.what)
    try:
        for trial in family.trials(bed, chance, count):
            tally.tried += trial.tried
            tally.seconds = time.monotonic() - begun
            tally.broken += [f"{trial.fault}: {line}" for line in trial.broken]
            for line in trial.broken:
                say(f"{family.name}: BROKEN: {trial.fault}: {line}")
            if time.monotonic() - said > SAY_EVERY:
                said = time.monotonic()
                say(f"{family.name}: {tally.tried} of {count}, {tally.seconds:.0f} s, last {trial.fault}")
            if os.getppid() != parent:
                return
    except KeyboardInterrupt:
        say(f"{family.name}: stopped")
    except Exception as error:  # noqa: BLE001 - the other families are still tried
        traceback.print_exc()
        tally.broken.append(f"the bed itself failed: {type(error).__name__}: {error}")
    tally.seconds = time.monotonic() - begun
    say(f"{family.name}: {tally.tried} faults, {len(tally.broken)} invariants broken, {tally.seconds:.0f} s")
    answer.send((tally, bed.untried))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def commit() -> str:
    argv = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
