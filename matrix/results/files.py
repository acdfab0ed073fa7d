"""Reads and writes results files: the versioned JSON of a run, both ways by one converter.

What answers from results reads them here, so it answers on a machine that has nothing else. Keys that are not known are
left alone: within a format, keys are only added. Older formats are taken up by `migrations`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import GenericAlias
from typing import TYPE_CHECKING, Any, get_args, get_origin

from matrix.core.errors import ResultsFault
from matrix.core.records import Outcome
from matrix.core.store_paths import StorePath
from matrix.core.text import mark_controls
from matrix.core.versions import nearest
from matrix.results.migrations import MIGRATIONS
from matrix.results.run import Cell, FinishedJob, RealisedEnvironment, Run, RunAxis, RunValue, Timed

if TYPE_CHECKING:
    from cattrs import Converter

FORMAT = 2
"""Of the JSON. Raise it together with a row of MIGRATIONS for the older one."""
TIP = "`python -m matrix show --format json --output FILE` writes one"
MOST_FAULTS = 10
LONGEST_FAULT = 300
"""Characters of a fault that are shown: what was read may be of any length."""
VERDICT = ("axes", "outcome", "stage", "signature")
"""What stands first in a cell; all else is its evidence."""
KEYED = {"jobs": "key", "environments": "digest", "store_paths": "path"}
"""Tables of a run whose rows are records that hold their own name."""


def run_files(folder: Path) -> tuple[Path, ...]:
    """The published runs of a folder, by name."""
    return tuple(sorted(folder.glob("*.json")))


def read_runs(paths: Iterable[Path]) -> tuple[Run, ...]:
    """Raises ResultsFault."""
    return tuple(read_run(path) for path in paths)


def read_run(path: Path) -> Run:
    """One file. Raises ResultsFault with its faults, each with its place."""
    try:
        document: object = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsFault(f"{path}: cannot be read: {error.strerror}", tip=TIP) from None
    except (ValueError, RecursionError) as error:
        raise ResultsFault(f"{path}: not JSON: {error}", tip=TIP) from None
    return parse_run(document, source=str(path))


def parse_run(document: object, *, source: str) -> Run:
    """What a file holds, of this format or an older one. Raises ResultsFault."""
    from cattrs.errors import BaseValidationError

    content = _migrated(document, source)
    faults: list[str] = []
    run = None
    try:
        run = converter().structure({**content, "source": source}, Run)
    except (BaseValidationError, Unfit) as error:
        faults += _faults(error, "")
    faults += _loose_ends(content)
    if faults or run is None:
        more = [f"and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
        listed = "\n".join(f"  {mark_controls(fault, LONGEST_FAULT)}" for fault in [*faults[:MOST_FAULTS], *more])
        raise ResultsFault(f"{source}: not a run of format {FORMAT}:\n{listed}", tip=TIP)
    return run


def run_json(run: Run, sentences: Iterable[str] = ()) -> str:
    """The run as a file. The outcomes' counts and `sentences` stand in it for those who read no more of it."""
    content = converter().unstructure(run)
    counts = {outcome.value: count for outcome, count in run.counts().items()}
    head = {"format": FORMAT, "preset": run.preset, "question": run.question, "counts": counts}
    return json.dumps({**head, "sentences": list(sentences), **content}, indent=1, allow_nan=False) + "\n"


def _migrated(document: object, source: str) -> dict[str, Any]:
    """The content as the newest format has it."""
    read = document.get("format") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(read, int) or not isinstance(document.get("cells"), list):
        raise ResultsFault(f"{source}: read no `format` with a list of `cells`, expected a run as JSON", tip=TIP)
    if read > FORMAT:
        raise ResultsFault(
            f"{source}: read format {read}, expected at most {FORMAT}",
            tip="a newer version of this project wrote it: update",
        )
    for step in range(read, FORMAT):
        if step not in MIGRATIONS:
            raise ResultsFault(f"{source}: read format {read}, expected {FORMAT}", tip=TIP)
        document = MIGRATIONS[step](document)
    return document


# -- the converter


Hook = Callable[..., Any]


class Unfit(Exception):
    """A value that is not what its place expects."""

    def __init__(self, value: object, expected: str) -> None:
        super().__init__(f"read {value!r:.1000}, expected {expected}")


@functools.cache
def converter() -> Converter:
    """It coerces nothing: a text is no number, a number no text."""
    from cattrs import Converter
    from cattrs.gen import make_dict_unstructure_fn, override

    made = Converter()
    for kind, words, fits in SCALARS:
        made.register_structure_hook(kind, functools.partial(_scalar, words, fits))
    made.register_structure_hook(Outcome, _outcome)
    for fits_kind, hook_of in ((_is_many, _many), (_is_table, _table), (dataclasses.is_dataclass, _record)):
        made.register_structure_hook_factory(fits_kind, hook_of)
    for record, write in WRITTEN.items():
        sparse = record not in (FinishedJob, Timed)
        plain: Hook = make_dict_unstructure_fn(record, made, _cattrs_omit_if_default=sparse, **_names(record, override))
        made.register_unstructure_hook(record, functools.partial(write, plain))
    return made


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
        raise Unfit(value, f"one of {', '.join(names)}{nearest(str(value)[:LONGEST_FAULT], names)}")
    return Outcome(value)


def _is_many(kind: object) -> bool:
    return get_origin(kind) in (tuple,)


def _is_table(kind: object) -> bool:
    return get_origin(kind) == Mapping


def _many(kind: type, made: Converter) -> Hook:
    from cattrs.cols import list_structure_factory

    read: Hook = list_structure_factory(GenericAlias(list, get_args(kind)[:1]), made)  # type: ignore[arg-type]

    def hook(value: object, _: type) -> object:
        if not isinstance(value, list):
            raise Unfit(value, "a list")
        return tuple(read(value, list))

    return hook


def _table(kind: type, made: Converter) -> Hook:
    from cattrs.cols import mapping_structure_factory

    read: Hook = mapping_structure_factory(GenericAlias(dict, get_args(kind)), made)  # type: ignore[arg-type]

    def hook(value: object, _: type) -> object:
        if not isinstance(value, dict):
            raise Unfit(value, "a table")
        return read(value, dict)

    return hook


def _record(kind: type, made: Converter) -> Hook:
    """What is null is not known, as what is missing."""
    from cattrs.gen import make_dict_structure_fn, override

    read: Hook = make_dict_structure_fn(kind, made, **_names(kind, override))
    before = READ.get(kind, dict)

    def hook(value: object, _: type) -> object:
        if not isinstance(value, dict):
            raise Unfit(value, "a table")
        return read({name: each for name, each in before(value).items() if each is not None}, kind)

    return hook


def _names(kind: type, override: Callable[..., Any]) -> dict[str, Any]:
    """Fields that have another name in the file."""
    return {"size": override(rename="bytes")} if kind is StorePath else {}


def _read_run(value: dict[str, Any]) -> dict[str, Any]:
    """Each row of a table of records with its name in it."""
    named = {
        table: {name: {**row, key: name} if isinstance(row, dict) else row for name, row in value[table].items()}
        for table, key in KEYED.items()
        if isinstance(value.get(table), dict)
    }
    return {**value, **named}


def _read_cell(value: dict[str, Any]) -> dict[str, Any]:
    evidence = value.get("evidence", {})
    if not isinstance(evidence, dict):
        raise Unfit(evidence, "a table of evidence")
    return {**value, **evidence}


def _read_environment(value: dict[str, Any]) -> dict[str, Any]:
    known = {field.name for field in dataclasses.fields(RealisedEnvironment)}
    return {**value, "evidence": {name: each for name, each in value.items() if name not in known}}


READ: Mapping[type, Callable[[dict[str, Any]], dict[str, Any]]] = {
    Run: _read_run,
    Cell: _read_cell,
    RealisedEnvironment: _read_environment,
}
"""Record -> what makes its fields of its table in the file."""


def _write_run(plain: Hook, run: Run) -> dict[str, Any]:
    """In the order of the record; jobs and environments stand in it where there are none, too."""
    content = {"jobs": {}, "environments": {}, **plain(run)}
    for table, key in KEYED.items():
        if table in content:
            content[table] = {name: _without(row, key) for name, row in content[table].items()}
    order = [field.name for field in dataclasses.fields(Run)]
    return {name: content[name] for name in order if name in content and name != "source"}


def _without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: each for name, each in row.items() if name != key}


def _write_cell(plain: Callable[[Cell], dict[str, Any]], cell: Cell) -> dict[str, Any]:
    content = plain(cell)
    first = {name: content.pop(name, None) for name in VERDICT}
    return {**first, "evidence": {"jobs": [], **content}}


def _write_environment(
    plain: Callable[[RealisedEnvironment], dict[str, Any]], each: RealisedEnvironment
) -> dict[str, Any]:
    content = plain(each)
    return {**_without(content, "evidence"), **content.get("evidence", {})}


def _write_timed(plain: Callable[[Timed], dict[str, Any]], row: Timed) -> dict[str, Any]:
    return {**plain(row), "verdict": row.verdict or None}


def _write_job(plain: Hook, job: FinishedJob) -> dict[str, Any]:
    content = plain(job)
    return content if job.measurements else _without(content, "measurements")


def _as_it_is(plain: Callable[[object], dict[str, Any]], each: object) -> dict[str, Any]:
    return plain(each)


WRITTEN: Mapping[type, Callable[..., dict[str, Any]]] = {
    Cell: _write_cell,
    RealisedEnvironment: _write_environment,
    Timed: _write_timed,
    FinishedJob: _write_job,
    RunValue: _as_it_is,
    RunAxis: _as_it_is,
    StorePath: _as_it_is,
    Run: _write_run,
}
"""Record -> what makes its table in the file of its fields, those of which others are made first. Of most of them what
is as by default is left out."""


# -- faults


def _faults(error: BaseException, place: str) -> Iterator[str]:
    """A line for each fault, with its place in the file."""
    from cattrs.errors import AttributeValidationNote, BaseValidationError

    if not isinstance(error, BaseValidationError):
        lacks = isinstance(error, KeyError)
        yield f"{place or 'the file'}: " + ("is missing" if lacks else str(error))
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
    """Names in cells that lead nowhere; what is no cell at all is told by the converter."""
    jobs: Any = content.get("jobs", {})
    stages: Any = content.get("stages")
    for index, cell in enumerate(content["cells"]):
        if not isinstance(cell, dict):
            continue
        if not cell.get("axes"):
            yield f"cells[{index}].axes: is missing or empty, expected a value for each axis"
        stage = cell.get("stage")
        if isinstance(stage, str) and isinstance(stages, list) and stage not in stages:
            yield f"cells[{index}].stage: read {stage!r}, expected one of {', '.join(map(str, stages))}" + nearest(
                stage, stages
            )
        evidence = cell.get("evidence")
        for name in ("jobs", "beside"):
            keys = evidence.get(name) if isinstance(evidence, dict) else None
            for place, key in enumerate(keys if isinstance(keys, list) and isinstance(jobs, dict) else ()):
                if isinstance(key, str) and key not in jobs:
                    yield f"cells[{index}].evidence.{name}[{place}]: read {key!r}, expected a key of `jobs`"
