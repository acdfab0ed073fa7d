"""Shows progress: with rich on a terminal, as plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

PLAIN_SECONDS = 5.0
"""Seconds between two plain lines."""
QUIET_SECONDS = 60.0
"""Seconds until a plain line is printed without news, so that a long job does not look like a hang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state of a run. `red` counts cells, `running` jobs, `given` the jobs that a worker has not started yet,
    `installing` environments, `repeats` the jobs that measure times or repeat others; `left` estimates the remaining
    seconds."""

    cells: int
    cells_done: int
    red: int
    running: int
    installing: int
    jobs_run: int
    jobs_reused: int
    repeats: int = 0
    repeats_done: int = 0
    given: int = 0
    left: float | None = None

    @property
    def over(self) -> bool:
        return (self.cells_done, self.repeats_done) == (self.cells, self.repeats)

    @property
    def text(self) -> str:
        starting = ", a worker starting" if self.given and not self.running else ""
        installing = f", {self.installing} environments installing" if self.installing else ""
        left = "" if self.left is None else f", about {self.left:.0f} s left"
        repeats = f", {self.repeats_done}/{self.repeats} repeats" if self.repeats else ""
        return (
            f"{self.cells_done}/{self.cells} cells{repeats}, {self.jobs_run + self.jobs_reused} jobs done, "
            f"{self.running} running{starting}{installing}, {self.red} red so far{left}"
        )


class Progress(Protocol):
    def show(self, snapshot: Snapshot) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


class PlainProgress:
    """Prints a line when something changed and five seconds have passed, one per minute without news, and one at the
    end."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._begun = self._last = time.monotonic()
        self._text = ""

    def show(self, snapshot: Snapshot) -> None:
        moment = time.monotonic()
        new, waited = snapshot.text != self._text, moment - self._last
        if (new and (snapshot.over or not self._text or waited >= PLAIN_SECONDS)) or waited >= QUIET_SECONDS:
            self._last, self._text = moment, snapshot.text
            self.note(snapshot.text)

    def note(self, text: str) -> None:
        print(f"[{time.monotonic() - self._begun:6.1f} s] {text}", file=self._stream, flush=True)

    def close(self) -> None:
        """There is nothing to release."""


class TerminalProgress:
    """One live line: a bar of cells, and the words of the snapshot."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._rich: RichProgress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            refresh_per_second=4,
        )
        self._task: TaskID | None = None
        self._last = 0.0

    def show(self, snapshot: Snapshot) -> None:
        if self._task is None:
            self._rich.start()
            self._task = self._rich.add_task("", total=snapshot.cells + snapshot.repeats)
        moment = time.monotonic()
        if moment - self._last > 0.1 or snapshot.over:
            self._last = moment
            done = snapshot.cells_done + snapshot.repeats_done
            self._rich.update(self._task, completed=done, description=snapshot.text)

    def note(self, text: str) -> None:
        self._rich.console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        self._rich.stop()


def make_progress() -> PlainProgress | TerminalProgress:
    """The display that fits stderr."""
    return TerminalProgress() if sys.stderr.isatty() else PlainProgress()
