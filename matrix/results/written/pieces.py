"""A run of any number of cells as JSON or CSV: each cell is written as it is judged, and then forgotten."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import IO, TypeAlias

from matrix.core.records import Outcome
from matrix.core.text import escape_controls
from matrix.results.formats import csv_lines
from matrix.results.run import Cell, FinishedJob, Run
from matrix.results.written.json_text import json_fields

Judged: TypeAlias = Iterable[tuple[Cell, tuple[FinishedJob, ...]]]
"""Cells in their order, each with its jobs."""
CELLS_AT_ONCE = 1000
CHARACTERS_AT_ONCE = 1 << 16


def csv_pieces(judged: Judged, head: Callable[[], Run]) -> Iterator[str]:
    """`head` is the run without its cells and jobs."""
    for line in csv_lines(head(), (cell for cell, _ in judged)):
        yield escape_controls(line)


def json_pieces(judged: Judged, head: Callable[[], Run]) -> Iterator[str]:
    """As `csv_pieces`; `head` is asked for after the last cell. There are no sentences: they tell of all cells."""
    counts = Counter[Outcome]()
    with _temporary() as cells, _temporary() as jobs:
        known: set[bytes] = set()
        rows = iter(judged)
        while some := tuple(itertools.islice(rows, CELLS_AT_ONCE)):
            counts.update(cell.outcome for cell, _ in some)
            new = {job.key: job for _, found in some for job in found if _digest(job) not in known}
            known.update(map(_digest, new.values()))
            fields = json_fields(Run(cells=tuple(cell for cell, _ in some), jobs=new), {})
            _append(cells, fields["cells"])
            _append(jobs, fields["jobs"])
        ends = {outcome: counts[outcome] for outcome in Outcome if outcome in counts}
        fields = json_fields(replace(head(), cells=(), jobs={}), ends)
        yield "{\n"
        for place, (name, text) in enumerate(fields.items()):
            yield (",\n" if place else "") + f" {json.dumps(name)}: "
            file = {"cells": cells, "jobs": jobs}.get(name)
            yield from [text] if file is None or not file.tell() else _all_of(file, text)
        yield "\n}\n"


def _digest(job: FinishedJob) -> bytes:
    return bytes.fromhex(job.key)[:16]


def _temporary() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8")


def _append(file: IO[str], text: str) -> None:
    """The rows of a list or a table, without its brackets."""
    if rows := text[1:-1].strip("\n").removesuffix("\n "):
        file.write((",\n" if file.tell() else "") + rows)


def _all_of(file: IO[str], brackets: str) -> Iterator[str]:
    file.seek(0)
    yield f"{brackets[0]}\n"
    while piece := file.read(CHARACTERS_AT_ONCE):
        yield piece
    yield f"\n {brackets[-1]}"


PIECES: Mapping[str, Callable[[Judged, Callable[[], Run]], Iterator[str]]] = {"csv": csv_pieces, "json": json_pieces}
"""The formats that need not have all cells at once."""
