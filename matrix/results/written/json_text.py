"""The JSON of a run, in the form of a results file: a line for each value, so that two of them can be compared."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring_ascii
from typing import Any

from matrix.core.records import Outcome
from matrix.results.files import KEYED, RESULTS_FORMAT, VERDICT, converter
from matrix.results.run import Run

DENSE = ("profiles", "profiled_models")
"""Tables of long rows, which are written in one line each."""


def run_json(run: Run, sentences: Iterable[str] = ()) -> str:
    """The run as the text of a file. For readers of no more than that, it has counts of outcomes and `sentences`."""
    fields = json_fields(run, run.counts(), sentences)
    return "{\n" + ",\n".join(f" {json.dumps(name)}: {text}" for name, text in fields.items()) + "\n}\n"


def json_fields(run: Run, counts: Mapping[Outcome, int], sentences: Iterable[str] = ()) -> dict[str, str]:
    """The texts of the file's fields, in its order."""
    content = _closed(converter().unstructure(dataclasses.replace(run, source="")))
    for table, written in zip(run.times, content.get("times", ()), strict=True):
        for row, each in zip(table.rows, written["rows"], strict=True):
            each["verdict"] = row.verdict or None
    ends = {outcome.value: count for outcome, count in counts.items()}
    head = {"format": RESULTS_FORMAT, "preset": run.preset, "question": run.question, "counts": ends}
    document = {**head, "sentences": list(sentences), **content}
    return {name: _written(name, value) for name, value in document.items()}


def _written(name: str, value: Any) -> str:  # noqa: ANN401 - any table
    if name not in DENSE:
        return _indented(value, "\n ")
    rows = (f"  {json.dumps(key)}: {json.dumps(row, separators=(',', ':'))}" for key, row in value.items())
    return "{\n" + ",\n".join(rows) + "\n }"


def _indented(value: Any, end: str) -> str:  # noqa: ANN401 - any value of JSON
    """As `json.dumps(value, indent=1)`, at a third of its time: without an indent, it would be in C."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if not value or not isinstance(value, dict | list | tuple):
        return json.dumps(value, allow_nan=False)
    inside = f"{end} "
    if isinstance(value, dict):
        rows = [f"{encode_basestring_ascii(str(name))}: {_indented(each, inside)}" for name, each in value.items()]
        return "{" + inside + f",{inside}".join(rows) + end + "}"
    return "[" + inside + f",{inside}".join([_indented(each, inside) for each in value]) + end + "]"


def _closed(content: dict[str, Any]) -> dict[str, Any]:
    """The fields of the records with the file's names, in the order of the record."""
    closed = {"jobs": {}, "environments": {}, **content}
    closed["cells"] = [
        {**{name: cell.pop(name, None) for name in VERDICT}, "evidence": {"jobs": [], **cell}}
        for cell in content["cells"]
    ]
    for table, key in KEYED.items():
        for row in closed.get(table, {}).values():
            del row[key]
    for row in closed["environments"].values():
        row.update(row.pop("evidence", {}))
    for job in closed["jobs"].values():
        for name in ("measurements", "attempts"):
            if not job[name]:
                del job[name]
    return {field.name: closed[field.name] for field in dataclasses.fields(Run) if field.name in closed}
