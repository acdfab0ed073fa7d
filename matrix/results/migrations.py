"""Upgrades results files of older formats, step by step.

Format 1 had cells, jobs and environments, and sentences about them instead of the axes and tables that the sentences
are made from. Those are derived from the cells, and from the shipped preset with the file's name. Format 2 had the time
of a compile that failed, which looks like a quick one, and said "no difference" of a module that is the same bytes and
of times whose noise hid any difference. What does not fit is left as it is: the reader of the newest format reports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from matrix.core.data import DATA, presets
from matrix.core.versions import SelectorFault, is_version, select
from matrix.plan.backends.iree.environments import COMPILER, RUNTIME
from matrix.plan.backends.iree.record import IREE
from matrix.plan.spec import Spec, parse_spec
from matrix.plan.stages import axes
from matrix.results.measured.figures import Verdict
from matrix.results.speed import WIDEST_FLOOR, distinct, median_ratio, waited_for_core

Document = dict[str, Any]
END = next(kind.name for kind in IREE.stages if kind.compared)
"""The stage whose outputs are compared: format 1 had one backend."""


def from_format_1(old: Document) -> Document:
    """The axes, tables, stages and baseline of the run, as far as they can be derived."""
    name = old.get("preset")
    spec = _preset(name) if isinstance(name, str) and name in presets() else None
    cells = [cell for cell in old["cells"] if isinstance(cell, dict) and isinstance(cell.get("axes"), dict)]
    jobs = [job for job in _rows(old.get("jobs")).values() if isinstance(job, dict)]
    ran = {job.get("stage") for job in jobs}
    asked = [
        kind for kind in IREE.stages if not kind.comes_with and (kind.judged or (kind.rounds and old.get("times")))
    ]
    kinds = [kind for kind in IREE.stages if kind in asked or kind.name in ran]
    last = [kind.name for kind in kinds if kind.judged and kind.name in ran] or [END]
    found = _axes(old, cells, spec)
    labels = {axis["name"]: [value["label"] for value in axis["values"]] for axis in found}
    return {
        **old,
        "format": 2,
        "stages": [kind.name for kind in kinds],
        "last_stage": last[-1],
        "axes": found,
        "tables": list(_tables(spec, labels)),
        "baseline": dict(spec.benchmark.baseline) if spec else {},
        "cells": [_cell(cell) for cell in old["cells"]],
        "times": [_times(table, cells) for table in old["times"]] if isinstance(old.get("times"), list) else None,
    }


def from_format_2(old: Document) -> Document:
    """Rows of times without the times of compiles that left no module; the verdict on times that are the baseline's
    own, or where the noise hides any difference."""
    for table in map(_rows, _list(old.get("times"))):
        rows = [row for row in _list(table.get("rows")) if isinstance(row, dict)]
        base = next((row.get("seconds_by_round") for row in rows if row.get("baseline")), None)
        floor = table.get("noise_floor")
        equal = Verdict.UNDECIDED if isinstance(floor, float) and floor > WIDEST_FLOOR else Verdict.SAME
        for row in rows:
            if row.get("vmfb_bytes") is None:
                row.update(dict.fromkeys(COMPILE_TIMES))
            told = Verdict.SAME_BYTES if base and row.get("seconds_by_round") == base else equal
            verdicts = _list(row.get("verdicts"))
            row["verdicts"] = [told.value if each == Verdict.SAME else each for each in verdicts]
    return {**old, "format": 3}


COMPILE_TIMES = ("compile_seconds", "compile_cpu_seconds")
FORMAT_MIGRATIONS: Mapping[int, Callable[[Document], Document]] = {1: from_format_1, 2: from_format_2}
"""Format -> the function that upgrades it to the next one."""


def _preset(name: str) -> Spec:
    path = DATA / "presets" / f"{name}.toml"
    return parse_spec(path.read_text(encoding="utf-8"), source=name, base=path.parent)


def _rows(value: object) -> Document:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _axes(old: Document, cells: Sequence[Document], spec: Spec | None) -> list[Document]:
    """The values of the axes in the order of the preset, then in the order of the cells. The run's own axes come
    last."""
    found: dict[str, dict[str, None]] = {}
    for cell in cells:
        for axis, label in cell["axes"].items():
            if isinstance(label, str):
                found.setdefault(axis, {})[label] = None
    names = [axis for axis in axes() if axis in found] + [axis for axis in found if axis not in axes()]
    return [_axis(old, axis, list(found[axis]), spec) for axis in names]


def _axis(old: Document, name: str, labels: Sequence[str], spec: Spec | None) -> Document:
    terms = list(spec.axes.get(name, ())) if spec else []
    ordered = sorted(labels, key=lambda label: terms.index(label) if label in terms else len(terms))
    notes = {"model": _rows(old.get("models")), "target": _rows(old.get("emulated"))}.get(name, {})
    own = spec.own_axes.get(name, {}) if spec else {}
    return {
        "name": name,
        "values": [{"label": label, "note": notes.get(label), **_built(name, label, spec)} for label in ordered],
        "tied": spec.ties.get(name) if spec else None,
        "exporter": any(value.packages for value in own.values()),
    }


def _built(axis: str, label: str, spec: Spec | None) -> Document:
    """The release of the sources of a runtime from source."""
    build = spec.builds.get(label) if spec and axis == RUNTIME else None
    if build is None:
        return {}
    release = build.source if is_version(build.source) else ""
    return {"note": f"built from {release or 'a tree of its own'} with {build.toolchain}", "release": release}


def _tables(spec: Spec | None, labels: Mapping[str, Sequence[str]]) -> Iterator[Document]:
    """The tables of the preset, reduced to the values in the run; the default table for a run without a preset."""
    for view in spec.tables if spec else ():
        where = {axis: _meant(terms, labels.get(axis, ())) for axis, terms in view.where.items()}
        yield {"rows": view.rows, "columns": view.columns, "where": where}
    if spec is None:
        yield {"rows": COMPILER, "columns": RUNTIME}


def _meant(terms: Sequence[str], labels: Sequence[str]) -> list[str]:
    meant = {term for term in terms if term in labels}
    releases = [label for label in labels if is_version(label)]
    for term in terms:
        if term not in labels:
            try:
                meant |= set(select(term, releases))
            except SelectorFault:  # a name that this run does not have
                continue
    return [label for label in labels if label in meant]


def _cell(cell: object) -> object:
    """A cell that ended without a comparison has nothing to be compared with."""
    if not isinstance(cell, dict) or not isinstance(cell.get("evidence"), dict):
        return cell
    end = (cell.get("outcome"), cell.get("stage"))
    compared = "comparison" in cell["evidence"] or end != ("passed", END)
    return {**cell, "evidence": {**cell["evidence"], "compared": compared}}


def _times(table: object, cells: Sequence[Document]) -> object:
    """Rows name every axis that the table does not; older files leave out an axis that follows another."""
    if not isinstance(table, dict) or not isinstance(table.get("rows"), list):
        return table
    shared, rows = _rows(table.get("shared")), []
    for row in table["rows"]:
        if isinstance(row, dict) and isinstance(row.get("axes"), dict):
            known = {**shared, **row["axes"]}
            whole = next((cell["axes"] for cell in cells if known.items() <= cell["axes"].items()), known)
            verdicts = row.get("verdicts") or ([row["verdict"]] if row.get("verdict") else [])
            own = {axis: label for axis, label in whole.items() if axis not in shared}
            row = {**row, "axes": own, "verdicts": verdicts}  # noqa: PLW2901
        rows.append(row)
    good = [row["axes"] for row in rows if isinstance(row, dict) and isinstance(row.get("axes"), dict)]
    names = distinct(dict.fromkeys(axis for each in good for axis in each), good)
    return {**table, "rows": rows, "axes": list(names), **_exact(rows)}


def _exact(rows: Sequence[Any]) -> Document:
    """Values that the file has rounded, computed from the rounds: the ratios, and the time without a core. Damaged rows
    are left as they are."""
    series = ("seconds_by_round", "cpu_seconds_by_round")
    try:
        base: dict[str, float] = next((row["seconds_by_round"] for row in rows if row.get("baseline")), {})
        for row in rows:
            ratio = median_ratio(row["seconds_by_round"], base)
            if ratio is not None and round(ratio, 5) == row["ratio"]:
                row["ratio"] = ratio
        wall, cpu = (sum(sum(row[name].values()) for row in rows) for name in series)
    except (AttributeError, ArithmeticError, KeyError, TypeError, ValueError):
        return {}
    return {"waited_for_a_core": waited_for_core(cpu, wall)} if wall else {}
