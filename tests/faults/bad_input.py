"""Bad input by hand: each row must give one message with its place, what was read, what was expected and what to do.

The rows are data, in bad_words.py, bad_specs.py, bad_files.py and bad_surroundings.py: a line has a command (or what is
spoilt), and after bars what its message must hold: the place, what was read, what was expected. A line begins with the
exit status where it is not 2. Every row runs the real command line in a forked process, in a folder of its own.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from bad_desk import make_desk
from command_line import no_index
from family import Family, Trial
from workload import Bed

SECONDS = 20.0
"""CPU seconds after which the command is ended. Most take half of one."""
BYTES = 4 << 30
LONGEST = 12_000
NO_HARM = no_index(Path("no-cache"), 9) | {"UV_OFFLINE": "1", "DOCKER_HOST": "unix:///no-daemon"}
"""What is taken for a good command by mistake must not download anything or change the daemon's images."""
OUR_DEFECT = "a defect of this project"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One bad input. `spoil` changes the desk (a folder of good files), `words` is the command."""

    name: str
    words: str
    place: str
    read: str
    expected: str
    status: int = 2
    spoil: Callable[[Path], object] | None = None
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """How a command ended and what it printed. `status` is negative where a signal ended it."""

    status: int
    out: str
    err: str
    seconds: float


def rows_of(text: str, command: str = "", spoil: Callable[[str], Callable[[Path], object]] | None = None) -> list[Row]:
    """The rows of a table. With `spoil` the first column is no command: it says how the desk is spoilt."""
    rows = []
    for line in filter(None, map(str.strip, text.splitlines())):
        first, *parts = (part.strip() for part in line.split(" | "))
        status, colon, rest = first.partition(": ")
        number = int(status) if colon and status.isdigit() else 2
        first = rest if colon and status.isdigit() else first
        place, read, expected = (part.replace("¦", "|") for part in parts)
        rows.append(
            Row(
                name=f"{command} {first}".strip(),
                words=command if spoil else first,
                place=place,
                read=read,
                expected=expected,
                status=number,
                spoil=spoil(first) if spoil else None,
            )
        )
    return rows


def lacking(row: Row, said: Said) -> list[str]:
    """What is wrong with the end of a command; a message that lacks one of its four parts is."""
    message, _, tip = said.err.rpartition("ERROR ")[2].partition("\nTIP ")
    found = [f"status {said.status}, expected {row.status}"] if said.status != row.status else []
    if said.err.count("ERROR ") != 1:
        found.append(f"{said.err.count('ERROR ')} messages")
    if OUR_DEFECT in said.err or "Traceback" in said.err + said.out:
        found.append("our defect")
    parts = (("place", row.place, message), ("what was read", row.read, message), ("expected", row.expected, message))
    found += [f"no {name}: {wanted!r}" for name, wanted, text in parts if wanted not in text]
    if len(tip.strip()) < 10:
        found.append("nothing to do")
    if said.out:
        found.append("an answer as well")
    if len(said.err) > LONGEST:
        found.append(f"{len(said.err)} characters")
    return found


def ask(row: Row, desk: Path) -> Said:
    """Runs the row's command in a fork of this process, with `desk` as its folder."""
    if row.spoil:
        row.spoil(desk)
    out, err = desk / ".out", desk / ".err"
    begun = time.monotonic()
    pid = os.fork()
    if not pid:
        _run(row, desk, out, err)
    _, status = os.waitpid(pid, 0)
    return Said(
        status=os.waitstatus_to_exitcode(status),
        out=out.read_text(errors="replace"),
        err=err.read_text(errors="replace"),
        seconds=time.monotonic() - begun,
    )


def _run(row: Row, desk: Path, out: Path, err: Path) -> None:
    """Never returns."""
    status = 99
    try:
        os.chdir(desk)
        os.environ.update({"XDG_CACHE_HOME": str(desk / "cache"), "TMPDIR": str(desk), **NO_HARM} | row.env)
        for path, descriptor in ((out, 1), (err, 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)  # its signal ends the process
        from matrix.cli.main import main

        status = main(shlex.split(row.words))
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 98
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def all_rows() -> list[Row]:
    from bad_files import FILES
    from bad_specs import SPECS
    from bad_surroundings import SURROUNDINGS
    from bad_words import WORDS

    return [*WORDS, *SPECS, *FILES, *SURROUNDINGS]


def trials(bed: Bed, chance: Random, count: int) -> Iterator[Trial]:
    """The rows in their order: with fewer than all, some of them by chance."""
    rows = all_rows()
    chosen = rows if count >= len(rows) else [rows[number] for number in sorted(chance.sample(range(len(rows)), count))]
    good = make_desk(bed.folder / "desk")
    for number, row in enumerate(chosen):
        desk = bed.folder / f"desk-{number}"
        shutil.copytree(good, desk, symlinks=True)
        try:
            yield Trial(fault=row.name, broken=tuple(lacking(row, ask(row, desk))))
        finally:
            shutil.rmtree(desk, ignore_errors=True)


BAD_INPUT = Family(
    name="bad_input",
    what="bad input written by hand: a message with the place, what was read, what was expected, what to do",
    full=511,
    short=60,
    trials=trials,
    engines=(),
)
