"""Reads results files: the versioned JSON of a run. `written.json_text` writes them with the same converter.

Verbs that answer from results read them here, so they work on a machine with nothing else. Unknown keys are ignored:
within a format, keys are only added. `migrations` upgrades older formats.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from matrix.artifacts.json_reader import JsonFault, read_json
from matrix.core.errors import ResultsFault
from matrix.core.records import Outcome
from matrix.core.store_paths import StorePath
from matrix.core.text import mark_controls
from matrix.core.versions import did_you_mean
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.results.judge import Comparison, Movement
from matrix.results.measured.figures import Recompiled
from matrix.results.measured.profiled_code import CodeProfile, ModelOperation, ProfiledDispatch, profile_faults
from matrix.results.migrations import FORMAT_MIGRATIONS
from matrix.results.run import Cell, CellTable, RealisedEnvironment, Run, RunAxis, RunValue

if TYPE_CHECKING:
    from cattrs import Converter

Record = TypeVar("Record")

RESULTS_FORMAT = 3
"""The format of the JSON. Raise it together with a new row of FORMAT_MIGRATIONS."""
RESULTS_TIP = "`python -m matrix show --format json --output FILE` writes one"
MOST_FAULTS = 10
LONGEST_FAULT = 300
"""How many characters of a fault are shown: the file's text may have any length."""
VERDICT = ("axes", "outcome", "stage", "signature")
"""The first keys of a cell; the others are its evidence."""
KEYED = {"jobs": "key", "environments": "digest", "store_paths": "path"}
"""Tables of a run whose rows are records with their own name."""
SPARSE = (
    *(Movement, Run, RunAxis, RunValue, CellTable, Cell, RealisedEnvironment, StorePath),
    *(CodeProfile, ModelOperation, ProfiledDispatch),
)
"""Records that are written without default values."""


def run_files(folder: Path) -> tuple[Path, ...]:
    """The published runs of a folder, by name."""
    return tuple(sorted(folder.glob("*.json")))


def machine_files(folder: Path) -> tuple[Path, ...]:
    """The published runs of other machines, `MACHINE/PRESET.json` beside `PRESET.json`, by name."""
    here = {path.name for path in run_files(folder)}
    return tuple(path for path in sorted(folder.glob("*/*.json")) if path.name in here)


def read_runs(paths: Iterable[Path]) -> tuple[Run, ...]:
    """Raises ResultsFault."""
    return tuple(read_run(path) for path in paths)


def read_run(path: Path) -> Run:
    """Reads one file. Raises ResultsFault with its faults, each with its place."""
    try:
        document: object = read_json(path.read_bytes())
    except OSError as error:
        said = f"{path}: read nothing ({error.strerror}), expected a results file"
        raise ResultsFault(said, tip=RESULTS_TIP) from None
    except JsonFault as error:
        raise ResultsFault(f"{path}: not JSON: {error}", tip=RESULTS_TIP) from None
    return parse_run(document, source=str(path))


def parse_run(document: object, *, source: str) -> Run:
    """The run in a document of this format or an older one. Raises ResultsFault."""
    content = _migrated(document, source)
    run, faults = structured({**_opened(content), "source": source}, Run)
    faults += [*_loose_ends(content), *profile_faults(content)]
    if faults or run is None:
        more = [f"and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
        listed = "\n".join(f"  {mark_controls(fault, LONGEST_FAULT)}" for fault in [*faults[:MOST_FAULTS], *more])
        raise ResultsFault(f"{source}: not a run of format {RESULTS_FORMAT}:\n{listed}", tip=RESULTS_TIP)
    return run


def structured(document: object, kind: type[Record]) -> tuple[Record | None, list[str]]:
    """A record of a document of texts, numbers, lists and tables; or None and its faults, each with its place."""
    from cattrs.errors import BaseValidationError

    try:
        return converter().structure(document, kind), []
    except (BaseValidationError, Unfit) as error:
        return None, list(_faults(error, ""))


def _head(document: object) -> str:
    """What stands where a run has its format and its cells."""
    if not isinstance(document, dict):
        return f"a {type(document).__name__}"
    cells = "a list" if isinstance(document.get("cells"), list) else repr(document.get("cells"))[:40]
    return f"`format` {document.get('format')!r:.40}, `cells` {cells}"


def _migrated(document: object, source: str) -> dict[str, Any]:
    """The document in the newest format."""
    read = document.get("format") if isinstance(document, dict) else None
    if not isinstance(document, dict) or type(read) is not int or not isinstance(document.get("cells"), list):
        raise ResultsFault(
            f"{source}: read {_head(document)}, expected a run as JSON: a number as `format`, a list of `cells`",
            tip=RESULTS_TIP,
        )
    if read > RESULTS_FORMAT:
        raise ResultsFault(
            f"{source}: read format {read}, expected at most {RESULTS_FORMAT}",
            tip="a newer version of this project wrote it: update",
        )
    for step in range(read, RESULTS_FORMAT):
        if step not in FORMAT_MIGRATIONS:
            raise ResultsFault(f"{source}: read format {read}, expected {RESULTS_FORMAT}", tip=RESULTS_TIP)
        try:
            document = FORMAT_MIGRATIONS[step](document)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ResultsFault(
                f"{source}: not a run of format {read}: {error!r:.{LONGEST_FAULT}}", tip=RESULTS_TIP
            ) from None
    return document


# -- the converter


Hook = Callable[..., Any]


class Unfit(Exception):
    """A value with the wrong type or form for its place."""

    def __init__(self, value: object, expected: str) -> None:
        super().__init__(f"read {value!r:.1000}, expected {expected}")


@functools.cache
def converter() -> Converter:
    """A converter without coercion: a text is no number, a number no text. null means unknown, like a missing key."""
    from cattrs import Converter
    from cattrs.cols import is_mapping, list_structure_factory, mapping_structure_factory
    from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

    made = Converter()

    def many(kind: type) -> Hook:
        read: Hook = list_structure_factory(kind, made)
        return _guarded(list, "a list", lambda value: tuple(read(value, list)))

    def table(kind: type) -> Hook:
        read: Hook = mapping_structure_factory(kind, made)
        return _guarded(dict, "a table", lambda value: read(value, dict))

    def record(kind: type) -> Hook:
        read: Hook = make_dict_structure_fn(kind, made, **renamed(kind))
        return _guarded(dict, "a table", lambda row: read(_known(row), kind))

    def written(kind: type) -> Hook:
        return make_dict_unstructure_fn(kind, made, _cattrs_omit_if_default=kind in SPARSE, **renamed(kind))

    def renamed(kind: type) -> dict[str, Any]:
        if kind is Comparison:  # the fields that came later
            return {name: override(omit_if_default=True) for name in ("absolute", "relative", "wrong", "allowed")}
        if kind is Recompiled:
            return {"differing": override(omit_if_default=True)}
        return {"size": override(rename="bytes")} if kind is StorePath else {}

    for kind, words, fits in SCALARS:
        made.register_structure_hook(kind, functools.partial(_scalar, words, fits))
    made.register_structure_hook(Outcome, _outcome)
    made.register_structure_hook_factory(lambda kind: getattr(kind, "__origin__", None) is tuple, many)
    made.register_structure_hook_factory(is_mapping, table)
    made.register_structure_hook_factory(dataclasses.is_dataclass, record)
    made.register_unstructure_hook_factory(dataclasses.is_dataclass, written)
    return made


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def _guarded(kind: type, words: str, read: Hook) -> Hook:
    def hook(value: object, _: type) -> object:
        if not isinstance(value, kind):
            raise Unfit(value, words)
        return read(value)

    return hook


SCALARS: tuple[tuple[type, str, Callable[[object], bool]], ...] = (
    (str, "a text", lambda value: isinstance(value, str)),
    (int, "a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    (float, "a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    (bool, "true or false", lambda value: isinstance(value, bool)),
)


def _scalar(words: str, fits: Callable[[object], bool], value: object, kind: type) -> object:
    if not fits(value):
        raise Unfit(value, words)
    return float(value) if kind is float else value  # type: ignore[arg-type]


def _outcome(value: object, _: type) -> Outcome:
    names = [outcome.value for outcome in Outcome]
    if value not in names:
        raise Unfit(value, f"one of {', '.join(names)}{did_you_mean(str(value)[:LONGEST_FAULT], names)}")
    return Outcome(value)


# -- fields whose form in the file differs from the records


def _opened(content: Mapping[str, Any]) -> dict[str, Any]:
    """The file's tables with the fields of the records. The converter reports what does not fit."""
    opened = {**content, "cells": [_flat(cell) for cell in content["cells"]]}
    for table, key in KEYED.items():
        if isinstance(rows := content.get(table), dict):
            opened[table] = {name: {**row, key: name} if isinstance(row, dict) else row for name, row in rows.items()}
    known = {field.name for field in dataclasses.fields(RealisedEnvironment)}
    for row in opened["environments"].values() if isinstance(opened.get("environments"), dict) else ():
        if isinstance(row, dict):
            row["evidence"] = {name: value for name, value in row.items() if name not in known}
    return opened


def _flat(cell: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
    evidence = cell.get("evidence") if isinstance(cell, dict) else None
    return {**cell, **evidence} if isinstance(cell, dict) and isinstance(evidence, dict) else cell


# -- faults


def _faults(error: BaseException, place: str) -> Iterator[str]:
    """A line for each fault, with its place in the file."""
    from cattrs.errors import AttributeValidationNote, BaseValidationError

    if not isinstance(error, BaseValidationError):
        lacks = isinstance(error, KeyError)
        yield f"{place or 'the file'}: " + ("is missing, expected a value" if lacks else str(error))
        return
    cell = getattr(error, "cl", None) is Cell
    for each, note in error.group_exceptions()[0]:  # type: ignore[attr-defined]
        if isinstance(note, AttributeValidationNote):
            inside = ".evidence" if cell and note.name not in VERDICT else ""
            name = "bytes" if note.name == "size" else note.name
            yield from _faults(each, f"{place}{inside}.{name}".lstrip("."))
        else:
            step = f"[{note.index}]" if isinstance(note.index, int) else f".{note.index}"
            yield from _faults(each, f"{place}{step}")
    for each in error.group_exceptions()[1]:  # type: ignore[attr-defined]
        yield from _faults(each, place)


def _loose_ends(content: Mapping[str, Any]) -> Iterator[str]:
    """Names in cells without a target. The converter reports what is no cell at all."""
    jobs: Any = content.get("jobs") or {}
    named = content.get("stages")
    stages = [stage for stage in named if isinstance(stage, str)] if isinstance(named, list) else []
    yield from _unnamed(content)
    for index, cell in enumerate(content["cells"]):
        if not isinstance(cell, dict):
            continue
        if not cell.get("axes"):
            yield f"cells[{index}].axes: is missing or empty, expected a value for each axis"
        stage = cell.get("stage")
        if isinstance(stage, str) and isinstance(named, list) and stage not in stages:
            yield f"cells[{index}].stage: read {stage!r}, expected one of {', '.join(stages)}" + did_you_mean(
                stage, stages
            )
        evidence = cell.get("evidence", {})
        if not isinstance(evidence, dict):
            yield f"cells[{index}].evidence: read {evidence!r}, expected a table"
            continue
        for name in ("jobs", "beside"):
            keys = _flat(cell).get(name)
            for place, key in enumerate(keys if isinstance(keys, list) and isinstance(jobs, dict) else ()):
                if isinstance(key, str) and key not in jobs:
                    yield f"cells[{index}].evidence.{name}[{place}]: read {key!r}, expected a key of `jobs`"


def _unnamed(content: Mapping[str, Any]) -> Iterator[str]:
    """Cells and rows of times without a label for an axis that they need."""
    names = [axis.get("name") for axis in _tables(content.get("axes"))]
    places = [(f"cells[{index}]", cell, [MODEL_AXIS.name, *names]) for index, cell in enumerate(content["cells"])]
    for index, table in enumerate(_tables(content.get("times"))):
        wanted = table.get("axes")
        for place, row in enumerate(_tables(table.get("rows"))):
            places.append((f"times[{index}].rows[{place}]", row, wanted if isinstance(wanted, list) else []))
    for name, row, wanted in places:
        labels = row.get("axes") if isinstance(row, dict) else None
        for axis in dict.fromkeys(each for each in wanted if isinstance(each, str)):
            if isinstance(labels, dict) and labels and axis not in labels:
                yield f"{name}.axes: read no {mark_controls(axis, LONGEST_FAULT)}, expected a value for each axis"


def _tables(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
