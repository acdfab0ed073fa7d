"""The class of an error message, and the values in it. The rows are data: the signatures file of each backend."""

from __future__ import annotations

import functools
import re
import signal
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from matrix.core.data import DATA
from matrix.core.records import JobResult, Outcome, Stage
from matrix.plan.stages import backends, kinds

UNRECOGNISED = "unrecognised"
NO_OUTPUT = "no-output"
MODEL_CRASHED, MODEL_MEMORY = "model-crashed", "model-memory"
OWN_CODE, EXPORTING = "in the model's own code: ", "exporting with "
"""How the lines begin with which an export says what is under way: see scripts/export.py."""
OWN_CODES = {UNRECOGNISED: "?", NO_OUTPUT: "Z", MODEL_CRASHED: "MX", MODEL_MEMORY: "MY"}
OWN_CODE_NEXT = "correct the model file: it ends so in plain torch; the log (`why --log`) has the stack"
FRAME = re.compile(r" {0,3}#\d{1,4} 0x[0-9a-f]{1,16} (\S.{0,1600}) (?:\S{1,300}:\d{1,9}:\d{1,9}|\(/[^()]{1,600}\))$")
"""A line of LLVM's stack dump: ` #4 0x… name file:line:column`, or the library in its place."""
REPORTING = re.compile(r"llvm::sys::|SignalHandler|\(/|gsignal|raise\b|abort\b|__assert|__pthread_kill")
LONGEST_LOG = 64 << 10
"""How many characters of a log are searched, from both ends: as many as a worker keeps (`Limits.log_bytes`). Repeats
in patterns are bounded, so that no log of this length takes one longer than 50 ms."""


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


def rows(stage: Stage = "") -> tuple[SignatureRow, ...]:
    """The rows of all backends, in order; those of the backend of a stage first. Patterns are compiled on the first
    call."""
    return _rows(_files(stage))


def _files(stage: Stage = "") -> tuple[str, ...]:
    ordered = sorted(backends(), key=lambda backend: stage not in {kind.name for kind in backend.stages})
    return tuple(backend.signatures for backend in ordered)


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


def codes() -> Mapping[str, str]:
    """The letters of each signature in the square."""
    return _codes(_files())


@functools.cache
def _codes(files: tuple[str, ...]) -> Mapping[str, str]:
    return {row.name: row.code for row in _rows(files)} | OWN_CODES


def next_steps() -> Mapping[str, str]:
    """What to do about each signature."""
    return _next_steps(_files())


@functools.cache
def _next_steps(files: tuple[str, ...]) -> Mapping[str, str]:
    return {row.name: row.next_step for row in _rows(files)}


def gates() -> Mapping[str, str]:
    """What refused, in plain words, for each signature of a gate."""
    return _gates(_files())


@functools.cache
def _gates(files: tuple[str, ...]) -> Mapping[str, str]:
    return {row.name: row.gate for row in _rows(files) if row.gate}


def legends() -> Mapping[str, str]:
    """The meaning of each signature for a legend, without values."""
    return _legends(_files())


@functools.cache
def _legends(files: tuple[str, ...]) -> Mapping[str, str]:
    return {row.name: row.legend for row in _rows(files)} | {
        UNRECOGNISED: "no row of signatures.toml knows the message",
        NO_OUTPUT: "the job printed nothing, or wrote not all of its outputs",
        MODEL_CRASHED: "the model's own Python crashed, in plain torch, before any export",
        MODEL_MEMORY: "the model's own Python needs more memory than the limit, in plain torch",
    }


def recognise(log: str, stage: Stage = "") -> Signature:
    """The signature of a failed job's log: of the backend of its stage, if that knows the message. An unknown message
    stays visible as `unrecognised`, with its text."""
    return _recognise(_both_ends(log), rows(stage))


def _both_ends(log: str) -> str:
    """The first message of a long log tells most, and what ended the job is at its end."""
    half = LONGEST_LOG // 2
    return log if len(log) <= LONGEST_LOG else f"{log[:half]}\n{log[-half:]}"


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


def signature_of(result: JobResult) -> Signature:
    """The facts in the log of a job that did not pass."""
    end = result.end
    if end.end == "over_limit":
        return _own("output-limit", end.error, "raise [limits] in the spec if it needs more")
    if result.outcome is Outcome.FAILED and (end.exit_code == 0 or _silent(end.log)):
        said = end.error or ("wrote not all of its outputs" if end.exit_code == 0 else "printed nothing")
        next_step = kinds()[result.stage].quiet or READ_LOG
        return _own(NO_OUTPUT, f"the job ended with exit code {end.exit_code} and {said}", next_step)
    if result.outcome is Outcome.TIMED_OUT:
        return _own("time-limit", f"ended after {end.seconds:.1f} s", "raise [limits] in the spec if it needs longer")
    if result.outcome is Outcome.OUT_OF_MEMORY and end.end == "out_of_memory":  # else its log says so
        return _memory(result)
    recognised = recognise(end.log, result.stage)
    return _crash(result, recognised) if result.outcome is Outcome.CRASHED else recognised


def _memory(result: JobResult) -> Signature:
    peak = f"ended at {result.end.peak_bytes / (1 << 20):.0f} MiB"
    if place := _own_code(result.end.log):
        means = f"the model's own Python needs more memory than the limit, in plain torch: {place} {peak}"
        return _own(MODEL_MEMORY, f"{place} {peak}", f"raise [limits] in the spec, or {OWN_CODE_NEXT}", means=means)
    return _own("memory-limit", peak, "raise [limits] in the spec if it needs more")


def _crash(result: JobResult, recognised: Signature) -> Signature:
    """Of a crash: the model's own, a message that is known, or the signal."""
    end = result.end
    if place := _own_code(end.log):
        text = f"{place} ended by {_signal_name(end.signal)}{_frame(end.log)}"
        return _own(MODEL_CRASHED, text, OWN_CODE_NEXT, means=f"the model's own Python crashed, in plain torch: {text}")
    if recognised.name == UNRECOGNISED:
        where = _native_frame(end.log) or recognised.message
        return _own(f"signal-{end.signal}", f"killed by signal {end.signal}; {where}")
    return recognised


READ_LOG = "read the log of the job (`why`)"


def _own_code(log: str) -> str:
    """The place in the model's own code that was under way when a job ended; empty if it was not the model's."""
    last = [line for line in log.splitlines() if line.startswith((OWN_CODE, EXPORTING))][-1:]
    return last[0].removeprefix(OWN_CODE)[:160] if last and last[0].startswith(OWN_CODE) else ""


def _silent(log: str) -> bool:
    return not any(line.strip() and not line.startswith((OWN_CODE, EXPORTING)) for line in log.splitlines())


def _signal_name(number: int) -> str:
    known = {each.value: each.name for each in signal.Signals}
    return f"signal {number} ({known[number]})" if number in known else f"signal {number}"


def _frame(log: str) -> str:
    """The innermost line of the model's file in the Python stack that a crash leaves; empty without one."""
    found = re.search(r'File "[^"\n]{0,400}/model/(?P<file>[^"\n]{1,200})", line (?P<line>\d{1,9})', log)
    return f", at line {found['line']} of {found['file']}" if found else ""


def _native_frame(log: str) -> str:
    """The first frame of LLVM's stack dump that belongs to the work, and not to the report of the crash; empty without
    one."""
    names = (found[1] for line in log.splitlines() if (found := FRAME.match(line[:2000])))
    return next((f"in {name[:400]}" for name in names if not REPORTING.match(name)), "")


def _own(name: str, message: str, next_step: str = READ_LOG, *, means: str = "") -> Signature:
    return Signature(name=name, values=(), message=message, means=means or message, next_step=next_step)
