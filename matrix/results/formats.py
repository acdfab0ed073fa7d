"""A report as text, Markdown, HTML, CSV, JSON and JUnit XML. Pure. Table, Markdown and HTML squares by `tabulate`."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from tabulate import tabulate

from matrix.core.records import DEFAULT_ENGINE, Disk, JobResult, Lock, Outcome
from matrix.core.store_paths import STORE_PATHS
from matrix.plan.axes import NONE, ordered_axes
from matrix.plan.backends.iree import BENCHMARK
from matrix.results import audit_table, beside, build_table, speed_table
from matrix.results.cells import CellReport, Report
from matrix.results.front_ends import groups, portability
from matrix.results.published import FORMAT
from matrix.results.recompiled import recompiled, sentences
from matrix.results.square import Square, headings, legend, squares

FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/:;,'\"()\[\]]+/)+")
"""The folders of an absolute path, of which a message of Python or the linker may hold some."""


def as_table(report: Report) -> str:
    """Plain text; a square of 15 by 15 fits 120 columns."""
    parts = [
        report.plan.spec.question,
        *speed_table.sections(report, "simple"),
        *audit_table.sections(report, "simple"),
    ]
    for square in _squares(report):
        parts += [_caption(square), _grid(square, "simple"), _sentences(square, "  ")]
    parts += build_table.sections(report, "simple")
    parts += [_notes(report, "  "), _said(report, "  "), "\n".join(sentences(report))]
    parts += ["legend", _legend(report, "plain"), totals(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_markdown(report: Report) -> str:
    """The square, its islands and the legend as GitHub-flavoured Markdown."""
    parts = [
        f"# {report.plan.spec.question}",
        *speed_table.sections(report, "github"),
        *audit_table.sections(report, "github"),
    ]
    for square in _squares(report):
        parts += [_caption(square), _grid(square, "github"), _sentences(square, "- ")]
    parts += build_table.sections(report, "github")
    parts += [_notes(report, "- "), _said(report, "- ")]
    parts += ["\n".join(f"- {sentence}" for sentence in sentences(report))]
    parts += [_legend(report, "github"), totals(report) + "."]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_html(report: Report) -> str:
    """One page without scripts or outside resources."""
    question = html.escape(report.plan.spec.question)
    measured = [*speed_table.sections(report, "html"), *audit_table.sections(report, "html")]
    parts = [f"<h1>{question}</h1>", *(_block(part) for part in measured)]
    for square in _squares(report):
        listed = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in square.islands)
        parts += [f"<p>{html.escape(_caption(square))}</p>", _grid(square, "html"), f"<ul>{listed}</ul>"]
    parts += [_block(part) for part in build_table.sections(report, "html")]
    if notes := _notes(report, ""):
        parts.append(f"<pre>{html.escape(notes)}</pre>")
    said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in _sentences_beside(report))
    parts += [f"<ul>{said}</ul>"] if said else []
    parts += [f"<p>{html.escape(sentence)}</p>" for sentence in sentences(report)]
    parts += [_legend(report, "html"), f"<p>{html.escape(totals(report))}</p>"]
    style = "body{font-family:sans-serif}td,th{padding:.2em .5em;text-align:center}"
    head = f'<meta charset="utf-8"><title>{question}</title><style>{style}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def as_csv(report: Report) -> str:
    """A row a cell."""
    axes = ordered_axes(report.plan.spec)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    times = speed_table.by_cell(report)
    more = speed_table.CSV_HEADERS if times else ()
    writer.writerow([*axes, "outcome", "stage", "signature", "message", "error", "reproduce", *more])
    for cell in report.cells:
        signature = cell.signature.name if cell.signature else ""
        error = f"{cell.comparison.error:.3g}" if cell.comparison else ""
        row = [cell.outcome, cell.stage or "", signature, published(cell.message), error, reproduce(report, cell)]
        row += speed_table.csv_columns(times, cell) if times else []
        writer.writerow([*(cell.labels[axis] for axis in axes), *row])
    return stream.getvalue()


def as_json(report: Report) -> str:
    """Versioned data. Jobs, environments, signatures and paths of a Nix store stand once and are referred to by key,
    digest, name and path."""
    jobs: dict[str, Any] = {}
    environments: dict[str, Any] = {}
    store_paths: dict[str, Any] = {}
    signatures: dict[str, Any] = {}
    cells = []
    for cell in report.cells:
        for job, lock in zip(cell.jobs, cell.locks, strict=True):
            jobs[job.key] = _job(job, lock)
            environments[job.environment] = json.loads(report.environments.get(job.environment, "{}"))
            store_paths |= environments[job.environment].pop(STORE_PATHS, {})
        cells.append(_cell(report, cell, signatures))
    document = {
        "format": FORMAT,
        "preset": report.plan.spec.name,
        "question": report.plan.spec.question,
        "counts": {outcome.value: count for outcome, count in report.counts().items()},
        "islands": [sentence for square in squares(report) for sentence in square.islands],
        **({"models": notes} if (notes := _notes_of(report, "model")) else {}),
        **({"emulated": notes} if (notes := _notes_of(report, "target")) else {}),
        **({"disk": _disk(report.disk)} if report.disk else {}),
        **_front_ends_as_data(report),
        **_targets_as_data(report),
        "cells": cells,
        "jobs": jobs,
        "environments": environments,
        **({STORE_PATHS: dict(sorted(store_paths.items()))} if store_paths else {}),
        "signatures": signatures,
    }
    if tables := speed_table.as_data(report):
        document["times"] = tables
        document["modules"] = audit_table.as_data(report)
    if again := recompiled(report):
        document["compiled_again"] = [asdict(row) for row in again]
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def as_junit(report: Report) -> str:
    """A test case a cell: red cells are failures, cells without a measurement are skipped."""
    spec = report.plan.spec
    red = [cell for cell in report.cells if cell.outcome.red]
    skipped = [cell for cell in report.cells if not cell.outcome.red and cell.outcome is not Outcome.PASSED]
    suite = ElementTree.Element(
        "testsuite",
        name=spec.name,
        tests=str(len(report.cells)),
        failures=str(len(red)),
        skipped=str(len(skipped)),
        errors="0",
    )
    for cell in report.cells:
        seconds = sum(job.end.seconds for job in cell.jobs[-1:])
        name = " ".join(f"{axis}={label}" for axis, label in cell.labels.items())
        case = ElementTree.SubElement(suite, "testcase", classname=spec.name, name=name, time=f"{seconds:.3f}")
        message = _printable(published(cell.message))
        if cell.outcome.red:
            ElementTree.SubElement(case, "failure", type=cell.words, message=message).text = reproduce(report, cell)
        elif cell.outcome is not Outcome.PASSED:
            ElementTree.SubElement(case, "skipped", message=f"{cell.outcome}: {message}")
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


FORMATS: Mapping[str, Callable[[Report], str]] = {
    "table": as_table,
    "markdown": as_markdown,
    "html": as_html,
    "csv": as_csv,
    "json": as_json,
    "junit": as_junit,
}


def _sentences_beside(report: Report) -> list[str]:
    """Which exporters write the same, and which compilers take it; where targets differ. Empty for one of each."""
    return [*(group.words for group in groups(report)), *portability(report), *beside.sentences(report)]


def _said(report: Report, bullet: str) -> str:
    return "\n".join(bullet + sentence for sentence in _sentences_beside(report))


def _targets_as_data(report: Report) -> dict[str, Any]:
    targets = [_beside_as_data("target", row) for row in beside.beside(report)]
    builds = [_beside_as_data("runtime", row) for row in beside.builds_beside(report)]
    return {**({"targets": targets} if targets else {}), **({"builds": builds} if builds else {})}


def _beside_as_data(axis: str, row: beside.Beside) -> dict[str, Any]:
    fields = asdict(row)
    return {axis: fields.pop("subject"), **fields, "words": row.words}


def _front_ends_as_data(report: Report) -> dict[str, Any]:
    found = groups(report)
    written = [
        {"model": group.model, "sha256": group.digest, "exporters": group.exporters, "words": group.words}
        for group in found
    ]
    return {"identical_mlir": written, "mlir_portability": list(portability(report))} if found else {}


def disk_words(disk: Disk) -> str:
    """`disk: peak 14.2 GB of a budget of 20.0 GB; 31 environments made, 4 dropped`."""
    budget = f" of a budget of {disk.budget_bytes / 1e9:.1f} GB" if disk.budget_bytes else ""
    if disk.kept:
        return (
            f"disk: the environments of this run hold {disk.peak_bytes / 1e9:.1f} GB{budget} where the engine keeps "
            f"them, what they share counted once; {disk.made} made, and they stay"
        )
    again = f"; made again: {', '.join(disk.made_again)}" if disk.made_again else ""
    return (
        f"disk: peak {disk.peak_bytes / 1e9:.1f} GB{budget}; "
        f"{disk.made} environments made, {disk.dropped} dropped{again}"
    )


def _disk(disk: Disk) -> dict[str, Any]:
    kept = "the run's environments, where the engine keeps them"
    return {
        "measured": kept if disk.kept else "environments and their wheels",
        "peak_bytes": disk.peak_bytes,
        "budget_bytes": disk.budget_bytes or None,
        "environments_made": disk.made,
        "environments_dropped": disk.dropped,
        "made_again": disk.made_again,
    }


def published(text: str) -> str:
    """The text without the folders of the machine that it was measured on."""
    return FOLDERS.sub("…/", text)


def totals(report: Report) -> str:
    """`225 cells: 51 passed, 174 failed`."""
    counted = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in report.counts().items())
    ran = sum(1 for cell in report.cells if not cell.compared)
    return f"{len(report.cells)} cells: {counted}" + (f"; {ran} of the passed ones are not compared" if ran else "")


def reproduce(report: Report, cell: CellReport) -> str:
    """One line that measures the cell again, on any machine that has this project."""
    only = " ".join(
        f"--only {axis}={cell.labels[axis]}"
        for axis, values in report.plan.axes.items()
        if cell.labels[axis] != NONE
        and (len(values) > 1 or cell.labels[axis] != values[0].label)  # the latter: put in by an [[include]]
    )
    options = shlex.join(report.plan.spec.options)
    engine = next((f"--engine {job.engine}" for job in cell.jobs if job.engine != DEFAULT_ENGINE), "")
    return " ".join(f"python -m matrix run {shlex.quote(report.plan.spec.source)} {options} {only} {engine}".split())


def _block(part: str) -> str:
    return part if part.startswith("<table") else f"<p>{html.escape(part)}</p>"


def _squares(report: Report) -> tuple[Square, ...]:
    """The squares of outcomes; where times were measured, their tables stand in their place."""
    return () if BENCHMARK in report.plan.spec.stages else squares(report)


def _caption(square: Square) -> str:
    return f"{square.row_axis} down, {square.column_axis} across; {square.title}"


def _grid(square: Square, style: str) -> str:
    rows = [[heading, *marks] for heading, marks in zip(headings(square.rows), square.marks, strict=True)]
    columns = ["", *headings(square.columns)]
    return str(tabulate(rows, headers=columns, tablefmt=style, disable_numparse=True, stralign="center"))


def _legend(report: Report, style: str) -> str:
    rows = [[row.mark, str(row.count), row.words] for row in legend(report)]
    headers = ["mark", "cells", "meaning"]
    align = ("center", "right", "left")
    return str(tabulate(rows, headers=headers, tablefmt=style, disable_numparse=True, colalign=align))


def _sentences(square: Square, bullet: str) -> str:
    return "\n".join(bullet + sentence for sentence in square.islands)


def _notes_of(report: Report, axis: str) -> dict[str, str]:
    """What there is to say of an axis's values beside the table: the opset of an `.onnx`, what a runtime was
    built from, how a target is emulated."""
    return {value.label: value.note for value in report.plan.axes[axis] if value.note}


def _notes(report: Report, bullet: str) -> str:
    notes = {label: note for axis in ("model", "runtime", "target") for label, note in _notes_of(report, axis).items()}
    return "\n".join(f"{bullet}{label}: {note}" for label, note in notes.items())


def _cell(report: Report, cell: CellReport, signatures: dict[str, Any]) -> dict[str, Any]:
    evidence: dict[str, Any] = {"jobs": [job.key for job in cell.jobs], "reproduce": reproduce(report, cell)}
    if cell.signature:
        signatures.setdefault(cell.signature.name, {"next": cell.signature.next_step})
        evidence["message"] = published(cell.signature.message)
        evidence["means"] = published(cell.signature.means)
        evidence["values"] = {name: published(value) for name, value in cell.signature.values}
    if cell.reason:
        evidence["reason"] = published(cell.reason)
    if cell.cell.note:
        evidence["included"] = cell.cell.note
    if cell.comparison:
        finite = cell.comparison.error if cell.comparison.error != float("inf") else None
        evidence["comparison"] = {
            "error": finite,
            "tolerance": cell.comparison.tolerance,
            "text": cell.comparison.text,
        }
    return {
        "axes": dict(cell.labels),
        "outcome": cell.outcome.value,
        "stage": cell.stage,
        "signature": cell.signature.name if cell.signature else None,
        "evidence": evidence,
    }


def _job(job: JobResult, lock: Lock) -> dict[str, Any]:
    end = job.end
    return {
        "stage": job.stage,
        "outcome": job.outcome.value,
        "lock": lock.name,
        "lock_sha256": lock.digest,
        "engine": job.engine,
        "environment": job.environment,
        "command": list(job.command),
        "inputs": dict(job.inputs),
        "artifacts": {artifact.name: {"sha256": artifact.digest, "bytes": artifact.size} for artifact in job.outputs},
        "end": end.end,
        "exit_code": end.exit_code,
        "signal": end.signal,
        "seconds": round(end.seconds, 4),
        "cpu_seconds": round(end.cpu_seconds, 4),
        "peak_bytes": end.peak_bytes or None,
        "log_bytes": end.log_bytes,
        "finished_at": job.finished_at,
        "machine": job.machine,
    }


def _printable(text: str) -> str:
    """XML 1.0 has no control characters; IREE prints some."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
