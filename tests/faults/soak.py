"""Many small runs on one store that is never thrown away, each under a random fault, then each again without.

Every run asks about a model of its own (another constant), so each has three jobs to do: a compile, a run that passes
and one that is red for a good reason. What it should say is therefore known without a run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from command_line import write_model, write_spec
from family import Family, Trial
from invariants import RED_TO_NOBODY, cells, last_line
from signals import NUMBERS, TARGETS, sent
from torn import DAMAGES, spoil
from workload import COMPILERS, RUNTIMES, Bed, Call, Ended, Place

from matrix.core.errors import EXIT_DEFECT, STATUSES

LOOK_EVERY = 25
"""How often all blobs are read, and `clean` is called."""


def trials(bed: Bed, chance: random.Random, count: int) -> Iterator[Trial]:
    """`count` runs: each second one is the run before, again."""
    untouched = bed.untouched()
    assert untouched
    with bed.place() as place:
        wanted = list[dict[str, str]]()
        for number in range(2, count // 2 + 2):
            spec = spec_of(place, number)
            place.ended.clear()
            fault = FAULTS[chance.randrange(len(FAULTS))](place, spec, chance)
            again = place.call(*words(place, spec))
            wanted = wanted or [outcome_of(cell) for cell in cells(again.out)]
            broken = [*looked_at(place, again, wanted), *(looked_over(place) if number % LOOK_EVERY == 0 else ())]
            yield Trial(fault=f"run {number}: {fault}", broken=tuple(broken), tried=2)


def spec_of(place: Place, number: int) -> Path:
    folder = place.folder / "specs"
    path = write_spec(
        folder,
        name=f"soak{number}",
        compilers=COMPILERS[-1:],
        runtimes=RUNTIMES,
        variants=0,
        models=[f"linear{number}"],
    )
    path.write_text(path.read_text() + write_model(folder, number))
    return path


def words(place: Place, spec: Path) -> tuple[str, ...]:
    return ("run", str(spec), "--format", "csv", "--store", str(place.store))


def outcome_of(cell: dict[str, str]) -> dict[str, str]:
    return {name: cell[name] for name in ("compiler", "runtime", "outcome", "stage", "signature")}


def nothing(place: Place, spec: Path, chance: random.Random) -> str:
    place.call(*words(place, spec))
    return "nothing"


def a_signal(place: Place, spec: Path, chance: random.Random) -> str:
    targets = [target for target in TARGETS["venv"] if target.__name__ != "installer"]
    target, name, moment = chance.choice(targets), chance.choice(list(NUMBERS)), chance.uniform(0.0, 1.2)
    call = place.begin(*words(place, spec))
    time.sleep(moment)
    met = sent(place, call, target, NUMBERS[name], chance.uniform(0.1, 0.5))
    place.finish(call)
    return f"{name} to the {target.__name__} after {moment:.2f} s" + ("" if met else ", which had ended")


def a_torn_blob(place: Place, spec: Path, chance: random.Random) -> str:
    blobs = sorted(place.store.glob("blobs/*/*"))
    damage = chance.choice(DAMAGES)
    if blobs:
        spoil(chance.choice(blobs), damage, chance)
    place.call(*words(place, spec))
    return f"a blob {damage.__name__}"


def a_torn_environment(place: Place, spec: Path, chance: random.Random) -> str:
    files = sorted(path for path in place.store.glob("environments/runtime-*/lib/**/*.so*") if path.is_file())
    damage = chance.choice(DAMAGES)
    if files:
        spoil(chance.choice(files), damage, chance)
    place.call(*words(place, spec))
    return f"a library {damage.__name__}"


def beside(place: Place, spec: Path, chance: random.Random) -> str:
    """A second run and `clean` at the same time."""
    calls: list[Call] = [place.begin(*words(place, spec)), place.begin(*words(place, spec))]
    calls.append(place.begin("clean", "--older-than", "0", "--store", str(place.store)))
    for call in calls:
        place.finish(call)
    return "a second run and `clean`"


FAULTS: tuple[Callable[[Place, Path, random.Random], str], ...] = (
    *(nothing, a_signal, a_signal, a_signal, a_torn_blob, a_torn_environment, beside),
)


def looked_at(place: Place, again: Ended, wanted: list[dict[str, str]]) -> Iterator[str]:
    """What holds of each run: known statuses, no false red, and the same command gives what is expected."""
    for ended in place.ended:
        ours = ended.killed_by and ended.status == -ended.killed_by
        if (not ours and ended.status not in STATUSES) or ended.status == EXIT_DEFECT or "Traceback" in ended.err:
            yield f"{ended.words[0]} ended with {ended.status}: {last_line(ended.err)}"
        if ended.overdue:
            yield f"{ended.words[0]} was not over in time"
        for cell, good in zip(cells(ended.out), wanted, strict=False):
            if cell["outcome"] not in (*RED_TO_NOBODY, good["outcome"]):
                yield f"{ended.words[0]} shows {cell['outcome']}: {cell['message']}"
    if again.status != 0:
        yield f"the same command ended with {again.status}: {last_line(again.err)}"
    elif (found := [outcome_of(cell) for cell in cells(again.out)]) != wanted:
        yield f"the same command gave {found}"


def looked_over(place: Place) -> Iterator[str]:
    """What holds of the whole store: after `clean`, all that any table shows is there and whole."""
    cleaned = place.call("clean", "--older-than", "0", "--store", str(place.store))
    if cleaned.status:
        yield f"clean ended with {cleaned.status}: {last_line(cleaned.err)}"
    left = [path.name for path in place.store.glob("scratch/*")]
    if left:
        yield f"left in scratch: {left}"


SOAK = Family(
    name="soak",
    what="small runs on one store, each under a random fault and then again",
    full=0,
    short=0,
    trials=trials,
)
