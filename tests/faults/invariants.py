"""What must hold after each fault, whatever it was. Each invariant is a function; its first line is its sentence."""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from command_line import processes_of, started
from workload import CALL_SECONDS, Bed, Ended, Place, Untouched, comparable, show_words

from matrix.core.errors import EXIT_DEFECT, EXIT_OK, STATUSES

PEAK_BYTES = 1 << 30
GONE_SECONDS = 10.0
RED_TO_NOBODY = ("passed", "infrastructure", "flaky", "untested")


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """What is there after a fault, after the same command was given again, and after `clean`."""

    place: Place
    untouched: Untouched
    faulted: tuple[Ended, ...]
    results: dict[str, dict[str, object]]
    whole: dict[str, dict[str, object]]
    starts: int
    """Of the log of starts: how many lines it had before the same command was given again."""
    again: Ended
    cleaned: Ended
    shown: Ended


def broken_after(bed: Bed, place: Place, *, torn_results: bool = False) -> tuple[str, ...]:
    """Gives the same command again, looks at everything, and says what did not hold."""
    after = aftermath(bed, place, torn_results=torn_results)
    return tuple(f"{invariant.__name__}: {line}" for invariant in INVARIANTS for line in invariant(after))


def aftermath(bed: Bed, place: Place, *, torn_results: bool = False) -> Aftermath:
    """`torn_results`: the trial changed bytes of the database, so what it says before the command is nobody's claim."""
    untouched = bed.untouched(place.engine)
    assert untouched, place.engine
    faulted, starts = tuple(place.ended), started(place.starts)
    results, whole = ({}, {}) if torn_results else (place.results(), place.whole_results())
    again = place.call()
    cleaned = place.call("clean", "--older-than", "0", "--store", str(place.store))
    shown = place.call(*show_words(place))
    return Aftermath(
        place=place,
        untouched=untouched,
        faulted=faulted,
        results=results,
        whole=whole,
        starts=len(starts),
        again=again,
        cleaned=cleaned,
        shown=shown,
    )


def same_bytes(after: Aftermath) -> Iterator[str]:
    """The same command then gives the bytes of an untouched run."""
    if after.again.status != EXIT_OK:
        yield f"status {after.again.status} in place of 0: {last_line(after.again.err)}"
    elif after.again.out != after.untouched.table:
        yield f"another table: {first_difference(after.again.out, after.untouched.table)}"


def no_false_red(after: Aftermath) -> Iterator[str]:
    """No result is red, at any time, that is not red in an untouched run."""
    for moment, results in (("after the fault", after.results), ("at the end", after.place.results())):
        for key, result in results.items():
            if after.place.stranger and f"={after.place.stranger} " in str(result["label"]):
                continue
            honest = after.untouched.results.get(key, {}).get("outcome")
            if result["outcome"] not in RED_TO_NOBODY and result["outcome"] != honest:
                yield f"{moment} {result['stage']} {result['label']} is {result['outcome']}, untouched {honest}"
    for ended in after.faulted:
        for cell, other in zip(cells(ended.out), cells(after.untouched.table), strict=False):
            if cell["outcome"] not in (*RED_TO_NOBODY, other["outcome"]):
                yield f"a table shows {cell['outcome']}, untouched {other['outcome']}: {cell['message']}"


def all_accounted(after: Aftermath) -> Iterator[str]:
    """Planned equals accounted for, or a status says that it does not."""
    wanted = len(cells(after.untouched.table))
    for ended in after.faulted:
        if ended.status != EXIT_OK or ended.words != after.place.run_words():
            continue
        found = cells(ended.out)
        unmeasured = [cell["outcome"] for cell in found if cell["outcome"] in RED_TO_NOBODY[1:]]
        if len(found) != wanted or unmeasured:
            yield f"status 0 with {len(found)} of {wanted} cells, not measured: {unmeasured}"


def nothing_twice(after: Aftermath) -> Iterator[str]:
    """No finished job is started again, and none is recorded anew."""
    for key in set(started(after.place.starts)[after.starts :]) & after.whole.keys():
        yield f"{after.whole[key]['stage']} {after.whole[key]['label']} was started again"
    now = after.place.results()
    for key, result in after.whole.items():
        if now.get(key) != result:
            yield f"{result['stage']} {result['label']} was recorded anew, or lost"


def blobs_match(after: Aftermath) -> Iterator[str]:
    """Every blob has the digest that is its name."""
    for path in after.place.store.glob("blobs/*/*"):
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.name:
            yield f"blob {path.name[:12]} has other bytes"


def clean_keeps(after: Aftermath) -> Iterator[str]:
    """`clean` never removes what a shown table needs."""
    for ended in (after.cleaned, after.shown):
        if ended.status != EXIT_OK:
            yield f"{ended.words[0]}: status {ended.status}: {last_line(ended.err)}"
    if after.shown.status == EXIT_OK and (data := comparable(after.shown.out)) != after.untouched.data:
        yield f"after `clean`, `show` says something else: {first_difference(data, after.untouched.data)}"


def nothing_left(after: Aftermath) -> Iterator[str]:
    """No process, container, mount, scratch folder or temporary file is left."""
    until = time.monotonic() + GONE_SECONDS
    while (left := processes_of(after.place.folder)) and time.monotonic() < until:
        time.sleep(0.02)
    yield from (f"process {command[:120]}" for command in left.values())
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    yield from (f"mount {line}" for line in mounts if f"{after.place.store}/" in line)
    store = after.place.store
    folders = [*store.glob("scratch/*"), *store.glob("environments/*.partial-*"), *after.place.temporary.glob("*")]
    yield from (f"folder {path.name}" for path in folders)
    if after.place.engine == "docker":
        from containers import containers_of

        yield from (f"container {each['Names']}" for each in containers_of(store))


def known_statuses(after: Aftermath) -> Iterator[str]:
    """Every exit status is in the reference, none is 70, and no traceback is shown."""
    for ended in after.place.ended:
        ours = ended.status < 0 and -ended.status == ended.killed_by
        if not ours and (ended.status not in STATUSES or ended.status == EXIT_DEFECT):
            yield f"{ended.words[0]}: status {ended.status}: {last_line(ended.err)}"
        if "Traceback" in ended.err + ended.out:
            yield f"{ended.words[0]}: a traceback: {last_line(ended.err)}"


def bounded(after: Aftermath) -> Iterator[str]:
    """The memory and the time of every call are bounded."""
    for ended in after.place.ended:
        if ended.overdue:
            yield f"{ended.words[0]}: not over after {CALL_SECONDS:.0f} s"
        if ended.peak_bytes > PEAK_BYTES:
            yield f"{ended.words[0]}: {ended.peak_bytes >> 20} MiB of memory"


INVARIANTS: tuple[Callable[[Aftermath], Iterator[str]], ...] = (
    same_bytes,
    no_false_red,
    all_accounted,
    nothing_twice,
    blobs_match,
    clean_keeps,
    nothing_left,
    known_statuses,
    bounded,
)


def cells(table: str) -> list[dict[str, str]]:
    """The rows of a table; none of what another verb said, or of a table that is not whole."""
    if not (table.startswith("model,") and table.endswith("\n")):
        return []
    return list(csv.DictReader(io.StringIO(table)))


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("[")]
    return " / ".join(lines[-3:])[:400]


def first_difference(one: str, other: str) -> str:
    for left, right in zip(one.splitlines(), other.splitlines(), strict=False):
        if left != right:
            return f"{left.strip()[:160]!r}, untouched {right.strip()[:160]!r}"
    return f"{len(one)} characters, untouched {len(other)}"
