"""Files that mean harm, 10,000 of each kind: each reader gives its answer or a MatrixError, in bounded time and memory.

A case is made from the seed and its number alone. Readers run in forked processes with a limit of memory; what ends
such a process is found by its number, and the rest goes on.
"""

from __future__ import annotations

import multiprocessing
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

from family import Family, Trial
from fuzz_kinds import KINDS, Kind
from workload import Bed

from matrix.core.errors import MatrixError

CHUNK = 500
PROCESSES = 2
SECONDS = 5.0
"""The most CPU seconds of a case, with what is left for a slow machine. Most take a millisecond."""
BYTES = 2 << 30
"""The most address space of a process; it has half of it before it begins."""
FORKED = multiprocessing.get_context("fork")


class TooSlow(BaseException):
    """Nothing catches it: a reader that suppresses errors does not suppress this one."""


def trials(bed: Bed, chance: Random, count: int) -> Iterator[Trial]:
    """`count` cases, the same number of each kind."""
    seed, each = chance.getrandbits(64), -(-count // len(KINDS))
    for kind in KINDS:
        kind.prepare()
    work = [(kind, range(at, min(at + CHUNK, each))) for kind in KINDS for at in range(0, each, CHUNK)]
    with tempfile.TemporaryDirectory(dir=bed.folder, prefix="fuzz-") as folder:
        running: list[tuple[multiprocessing.process.BaseProcess, Kind, range, Path]] = []
        while work or running:
            while work and len(running) < PROCESSES:
                kind, numbers = work.pop(0)
                place = Path(folder) / f"{kind.name}-{numbers.start}"
                place.mkdir()
                process = FORKED.Process(target=_read_all, args=(kind, seed, numbers, place))
                process.start()
                running.append((process, kind, numbers, place))
            process, kind, numbers, place = running.pop(0)
            process.join()
            broken = list(_broken(kind, place))
            if process.exitcode:
                last = int((place / "number").read_text() or numbers.start)
                broken.append(f"{kind.name} {seed}:{last}: the process ended with {process.exitcode}")
                work.insert(0, (kind, range(last + 1, numbers.stop)))
                numbers = range(numbers.start, last + 1)
            yield Trial(fault=f"{len(numbers)} of {kind.name}", broken=tuple(broken), tried=len(numbers))


def _broken(kind: Kind, place: Path) -> Iterator[str]:
    with suppress(FileNotFoundError):
        yield from (f"{kind.name} {line}" for line in (place / "broken").read_text().splitlines())


def _read_all(kind: Kind, seed: int, numbers: range, place: Path) -> None:
    signal.signal(signal.SIGVTALRM, _too_slow)
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    with (place / "number").open("w") as last, (place / "broken").open("w") as broken:
        for number in numbers:
            last.seek(0)
            last.write(str(number))
            last.flush()
            if said := one_case(kind, seed, number, place):
                broken.write(f"{seed}:{number}: {said}\n")


def one_case(kind: Kind, seed: int, number: int, folder: Path) -> str:
    """What is wrong with the reader's answer to one case; empty if nothing is."""
    chance = Random(f"{seed} {kind.name} {number}")
    begun = time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        kind.read(chance, folder)
    except MatrixError as error:
        return _lacking(error)
    except TooSlow:
        return f"more than {SECONDS:.0f} s"
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:120]!r} at {Path(where.filename).name}:{where.lineno}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    taken = time.process_time() - begun
    return f"{taken:.2f} s, expected {kind.seconds}" if taken > kind.seconds else ""


def _lacking(error: MatrixError) -> str:
    """A message must say what was read and what was expected, in a bounded length, and what to do next."""
    said = str(error)
    if len(said) > 20_000:
        return f"a message of {len(said)} characters"
    return "" if error.tip and said else f"no next step: {said[:100]!r}"


def _too_slow(*_: object) -> None:
    raise TooSlow


FUZZ = Family(
    name="fuzz",
    what=f"damaged {', '.join(kind.name for kind in KINDS)}, 10,000 each, in bounded time and memory",
    full=10_000 * len(KINDS),
    short=100 * len(KINDS),
    trials=trials,
    engines=(),
)


if __name__ == "__main__":  # one case again: python fuzz.py KIND SEED:NUMBER
    name, _, where = " ".join(sys.argv[1:]).partition(" ")
    chosen = next(kind for kind in KINDS if kind.name == name)
    chosen.prepare()
    with tempfile.TemporaryDirectory() as scratch:
        chosen.read(Random(f"{where.partition(':')[0]} {name} {where.partition(':')[2]}"), Path(scratch))
