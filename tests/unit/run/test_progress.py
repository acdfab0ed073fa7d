"""Signs of life."""

from __future__ import annotations

import dataclasses
import io
import sys

import pytest

from matrix.run import progress
from matrix.run.progress import PlainProgress, Snapshot, TerminalProgress, make_progress

HALF = Snapshot(cells=100, cells_done=50, red=7, running=2, installing=0, jobs_run=20, jobs_reused=30)


def snapshot(**change: float) -> Snapshot:
    return dataclasses.replace(HALF, **change)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (HALF, "50/100 cells, 50 jobs done, 2 running, 7 red so far"),
        (snapshot(left=9.6), "50/100 cells, 50 jobs done, 2 running, 7 red so far, about 10 s left"),
        (snapshot(installing=3), "50/100 cells, 50 jobs done, 2 running, 3 environments installing, 7 red so far"),
        (snapshot(given=2), "50/100 cells, 50 jobs done, 2 running, 7 red so far"),
        (snapshot(running=0, given=1), "50/100 cells, 50 jobs done, 0 running, a worker starting, 7 red so far"),
        (snapshot(cells_done=100), "100/100 cells, 50 jobs done, 2 running, 7 red so far"),
        (
            snapshot(cells_done=100, repeats=900, repeats_done=500, left=200.0),
            "100/100 cells, 500/900 repeats, 50 jobs done, 2 running, 7 red so far, about 200 s left",
        ),
        (snapshot(cells=0, cells_done=0), "0/0 cells, 50 jobs done, 2 running, 7 red so far"),
    ],
)
def test_the_words(shown, text):
    assert shown.text == text


def test_plain_lines_come_at_the_start_every_five_seconds_and_at_the_end(monkeypatch):
    moment, stream = [100.0], io.StringIO()
    monkeypatch.setattr(progress.time, "monotonic", lambda: moment[0])
    plain = PlainProgress(stream)
    for second, done in ((0, 1), (1, 2), (4, 3), (6, 4), (7, 5), (8, 100), (9, 100)):
        moment[0] = 100.0 + second
        plain.show(snapshot(cells_done=done))
    plain.note("a note")
    plain.close()
    lines = stream.getvalue().splitlines()
    assert [line.partition("] ")[2].partition("/")[0] for line in lines] == ["1", "4", "100", "a note"]
    assert lines[0].startswith("[   0.0 s] ")


def test_nothing_new_is_said_once_a_minute(monkeypatch):
    moment, stream = [0.0], io.StringIO()
    monkeypatch.setattr(progress.time, "monotonic", lambda: moment[0])
    plain = PlainProgress(stream)
    for second in (0, 6, 12, 61, 70):
        moment[0] = second
        plain.show(HALF)
    assert len(stream.getvalue().splitlines()) == 2


def test_a_terminal_gets_a_bar_and_a_pipe_gets_lines(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(make_progress(), PlainProgress)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    live = make_progress()
    assert isinstance(live, TerminalProgress)
    live.show(HALF)
    live.note("[not markup] a note")
    live.close()
    assert "[not markup] a note" in sys.stderr.getvalue()
