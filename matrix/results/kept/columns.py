"""A document as columns and back, without loss: equal things stand together, which compresses well. Pure.

A list of tables becomes one list for each key; a list of few values, the values and which is where. What is packed is a
table with one key that begins with `$`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LISTED, BY_COLUMN, BY_VALUE, NAMED, PAIRED = "$l", "$c", "$v", "$n", "$p"
SHORT_LIST = 4
"""A list that is no longer stays as it is."""


def pack(value: object) -> object:
    """Tables, lists, texts, numbers, true, false and null, as columns."""
    if isinstance(value, dict):
        return _pack_table(value)
    return _pack_list(value) if isinstance(value, list) else value


def _pack_table(table: dict[str, Any]) -> object:
    if any(key.startswith("$") for key in table):
        return {PAIRED: [[key, pack(each)] for key, each in table.items()]}
    if len(table) > 1 and all(isinstance(each, dict) for each in table.values()):
        return {NAMED: [list(table), pack(list(table.values()))]}
    return {key: pack(each) for key, each in table.items()}


def _pack_list(items: list[Any]) -> object:
    if len(items) > 1 and all(isinstance(each, dict) for each in items):
        return {BY_COLUMN: [len(items), _columns(items)]}
    written = [json.dumps(each) for each in items]
    places = {text: place for place, text in enumerate(dict.fromkeys(written))}
    if len(items) > SHORT_LIST and 2 * len(places) < len(items):
        return {BY_VALUE: [[pack(json.loads(text)) for text in places], [places[text] for text in written]]}
    return {LISTED: [pack(each) for each in items]}


def _columns(rows: Sequence[dict[str, Any]]) -> list[object]:
    """For each key: its name, its values, and the rows that have it, if not all do."""
    columns: list[object] = []
    for key in dict.fromkeys(key for row in rows for key in row):
        at = [index for index, row in enumerate(rows) if key in row]
        packed = pack([rows[index][key] for index in at])
        columns.append([key, packed] if len(at) == len(rows) else [key, packed, pack(at)])
    return columns


def unpack(value: Any) -> Any:  # noqa: ANN401 - any document
    """What `pack` was given. Raises LookupError, TypeError, ValueError for what it did not write."""
    if not isinstance(value, dict):
        return value
    for name, read in READERS.items():
        if name in value:
            return read(value[name])
    return {key: unpack(each) for key, each in value.items()}


def _unpack_columns(packed: Sequence[Any]) -> list[dict[str, Any]]:
    count, columns = packed
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for key, values, *at in columns:
        for index, each in zip(unpack(at[0]) if at else range(count), unpack(values), strict=True):
            rows[index][key] = each
    return rows


def _unpack_values(packed: Sequence[Any]) -> list[Any]:
    values, which = packed
    return [unpack(values[place]) for place in which]


READERS: Mapping[str, Callable[[Any], Any]] = {
    LISTED: lambda packed: [unpack(each) for each in packed],
    BY_VALUE: _unpack_values,
    NAMED: lambda packed: dict(zip(packed[0], unpack(packed[1]), strict=True)),
    PAIRED: lambda packed: {key: unpack(each) for key, each in packed},
    BY_COLUMN: _unpack_columns,
}
"""How each form is read."""
