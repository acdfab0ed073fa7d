"""What a call of a module executes, as a run's JSON has it: its dispatches, the operations of their lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from matrix.artifacts.contents.executed import ExecutedCode, ExecutedDispatch, Line
from matrix.artifacts.contents.mlir_lines import MlirOperation
from matrix.core.keys import digest

UNNAMED_FILE = "-"
"""The MLIR that the compiler read, in some dispatches of MobileNetV3 with 2.9; the line is the same."""
NO_OPERATION = "0"
"""The line of code that belongs to no operation."""
OPERATION_DIGITS = 12
"""Of the digest of an operation's text: a model has some thousands of them."""


def short_name(dispatch: str) -> str:
    """A dispatch without the name of its function: `dispatch_5_conv_56x56x96x3x3_f32`."""
    _, found, rest = dispatch.partition("dispatch_")
    return found + rest if found else dispatch


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOperation:
    """An operation of a model: its line in the MLIR that the compiler read, `name` as `torch.aten.linear`, `result` as
    `4x32xf32`, `digest` of its text."""

    line: int
    name: str
    result: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledModel:
    """The MLIR that a compiler read: the name of its file, and those of its operations that profiles name."""

    source: str
    operations: tuple[ModelOperation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledDispatch:
    """What a call executes of a dispatch. `calls`: how often it is entered, once for each workgroup. `operations` has
    its instructions by the line of the operation; code of no operation counts to the one with most. `folded` are
    dispatches with the same code, which count here."""

    name: str
    instructions: int
    calls: int
    operations: Mapping[str, int] = field(default_factory=dict)
    folded: tuple[str, ...] = ()

    @property
    def main_line(self) -> str:
        """The line of the operation with most of the instructions."""
        return max(self.operations, key=lambda line: (self.operations[line], -int(line)), default=NO_OPERATION)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeProfile:
    """All `instructions` of a call, without the clock of the benchmark. `unnamed` are those in code of the module that
    is in no dispatch. `mlir` is the sha256 of the MLIR of its operations. The dispatches with most instructions come
    first."""

    instructions: int
    unnamed: int = 0
    mlir: str = ""
    dispatches: tuple[ProfiledDispatch, ...] = ()

    @property
    def named(self) -> int:
        """The instructions in dispatches."""
        return sum(each.instructions for each in self.dispatches)

    @property
    def kernel(self) -> int:
        """The instructions in code of the module."""
        return self.named + self.unnamed

    @property
    def runtime(self) -> int:
        """The instructions outside of the module's code."""
        return self.instructions - self.kernel


def profiled_model(source: str, operations: Mapping[int, MlirOperation]) -> ProfiledModel:
    """The operations as they are published."""
    return ProfiledModel(
        source=source,
        operations=tuple(
            ModelOperation(line=line, name=each.name, result=each.result, digest=digest(each.text)[:OPERATION_DIGITS])
            for line, each in sorted(operations.items())
        ),
    )


def code_profile(code: ExecutedCode, instructions: int, model: ProfiledModel, mlir: str) -> CodeProfile:
    """What the blocks of a call say, with each line's operation."""
    lines = {each.line for each in model.operations}

    def line_of(line: Line) -> str:
        return str(line[1]) if line[0] in (model.source, UNNAMED_FILE) and line[1] in lines else NO_OPERATION

    return CodeProfile(
        instructions=instructions,
        unnamed=code.unnamed,
        mlir=mlir,
        dispatches=tuple(_dispatch(each, {line: line_of(line) for line in each.lines}) for each in code.dispatches),
    )


def _dispatch(executed: ExecutedDispatch, lines: Mapping[Line, str]) -> ProfiledDispatch:
    found: dict[str, int] = {}
    for line, count in executed.lines.items():
        found[lines[line]] = found.get(lines[line], 0) + count
    without = found.pop(NO_OPERATION, 0)
    main = max(found, key=lambda line: (found[line], -int(line)), default=NO_OPERATION)
    if without:
        found[main] = found.get(main, 0) + without
    return ProfiledDispatch(
        name=executed.name,
        instructions=executed.instructions,
        calls=executed.calls,
        operations=dict(sorted(found.items(), key=lambda item: (-item[1], int(item[0])))),
        folded=executed.folded,
    )


def profile_faults(document: Mapping[str, Any]) -> Iterator[str]:
    """What does not fit together in the profiles of a run's JSON, each with its place. The converter reports what has
    another form."""
    jobs, models = document.get("jobs"), document.get("profiled_models")
    profiles = document.get("profiles")
    for key, profile in profiles.items() if isinstance(profiles, dict) else ():
        if not isinstance(profile, dict):
            continue
        if not isinstance(jobs, dict) or key not in jobs:
            yield f"profiles: read {key!r}, expected a key of `jobs`"
        mlir = profile.get("mlir") or ""
        model = models.get(mlir) if isinstance(models, dict) and isinstance(mlir, str) else None
        if mlir and model is None:
            yield f"profiles.{key}.mlir: read {mlir!r}, expected a key of `profiled_models`"
        rows = [each for each in _list(profile.get("dispatches")) if isinstance(each, dict)]
        named, whole = _sum(each.get("instructions") for each in rows), profile.get("instructions")
        kernel = named + _sum([profile.get("unnamed")])
        if type(whole) is int and kernel > whole:
            yield f"profiles.{key}.instructions: read {whole}, expected at least the {kernel} of the module"
        lines = {str(each.get("line")) for each in _list((model or {}).get("operations")) if isinstance(each, dict)}
        for place, row in enumerate(rows):
            yield from _dispatch_faults(row, f"profiles.{key}.dispatches[{place}]", {*lines, NO_OPERATION})


def _dispatch_faults(row: Mapping[str, Any], place: str, lines: set[str]) -> Iterator[str]:
    parts = row.get("operations")
    if not isinstance(parts, dict):
        return
    for line in parts:
        if line not in lines:
            yield f"{place}.operations: read the line {line!r}, expected one of its model in `profiled_models`"
    if type(row.get("instructions")) is int and _sum(parts.values()) != row["instructions"]:
        yield (
            f"{place}.operations: read {_sum(parts.values())} instructions in all, expected {row['instructions']} of "
            "the dispatch"
        )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _sum(values: Any) -> int:  # noqa: ANN401 - whatever stands in the file
    return sum(each for each in values if type(each) is int)
