"""The class of an error message, and the values in it. The rows are data: the signatures file of each backend."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from matrix.core.data import DATA
from matrix.core.records import Outcome
from matrix.plan.stages import backends

UNRECOGNISED = "unrecognised"
NO_OUTPUT = "no-output"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureRow:
    """One known message; see the head of signatures.toml."""

    name: str
    pattern: re.Pattern[str]
    code: str
    means: str
    legend: str
    next_step: str
    outcome: Outcome | None
    gate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a log shows: the row's name, the values in the message, the message itself, its meaning and the next
    step."""

    name: str
    values: tuple[tuple[str, str], ...]
    message: str
    means: str
    next_step: str
    outcome: Outcome | None = None


def rows() -> tuple[SignatureRow, ...]:
    """The rows of all backends, in order. Patterns are compiled on the first call."""
    return _rows(tuple(backend.signatures for backend in backends()))


@functools.cache
def _rows(files: tuple[str, ...]) -> tuple[SignatureRow, ...]:
    content: dict[str, Mapping[str, str]] = {}
    for file in files:
        content |= tomllib.loads((DATA / file).read_text(encoding="utf-8"))
    return tuple(
        SignatureRow(
            name=name,
            pattern=re.compile(row["pattern"]),
            code=row["code"],
            means=row["means"],
            legend=row.get("legend", row["means"]),
            next_step=row["next"],
            outcome=Outcome(row["outcome"]) if "outcome" in row else None,
            gate=row.get("gate", ""),
        )
        for name, row in content.items()
    )


def codes() -> dict[str, str]:
    """The letters of each signature in the square."""
    return {row.name: row.code for row in rows()} | {UNRECOGNISED: "?", NO_OUTPUT: "Z"}


def gates() -> dict[str, str]:
    """What refused, in plain words, for each signature of a gate."""
    return {row.name: row.gate for row in rows() if row.gate}


def legends() -> dict[str, str]:
    """The meaning of each signature for a legend, without values."""
    return {row.name: row.legend for row in rows()} | {
        UNRECOGNISED: "no row of signatures.toml knows the message",
        NO_OUTPUT: "the job printed nothing, or wrote not all of its outputs",
    }


def recognise(log: str) -> Signature:
    """The signature of a failed job's log. An unknown message stays visible as `unrecognised`, with its text."""
    return _recognise(log, rows())


@functools.lru_cache(maxsize=4096)
def _recognise(log: str, known: tuple[SignatureRow, ...]) -> Signature:
    for row in known:
        match = row.pattern.search(log)
        if match:
            values = {name: value.strip() for name, value in match.groupdict().items() if value}
            return Signature(
                name=row.name,
                values=tuple(values.items()),
                message=_line_around(log, match.start()),
                means=row.means.format_map(_Blank(values)),
                next_step=row.next_step,
                outcome=row.outcome,
            )
    return Signature(
        name=UNRECOGNISED,
        values=(),
        message=_last_words(log),
        means="no row of signatures.toml knows this message",
        next_step="read the log of the job (`why`), and add a row to matrix/data/signatures.toml",
    )


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _line_around(log: str, position: int) -> str:
    start = log.rfind("\n", 0, position) + 1
    end = log.find("\n", position)
    return log[start : end if end >= 0 else len(log)].strip()[:600]


def _last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"error|fail|exception|abort", line, re.IGNORECASE)]
    chosen = telling[:1] or lines[-1:]
    return chosen[0][:600] if chosen else "the job printed nothing"
