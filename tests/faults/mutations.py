"""Damage to real samples: bytes, lines, and trees of values as JSON and TOML have them."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Sequence
from random import Random
from typing import Any

from modules import EDGES, mutated

WRONG: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    2**64 + 1,
    10**400,
    -(10**30),
    0.0,
    -0.5,
    1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
    "",
    " ",
    "\0",
    "a" * 5000,
    "\x1b[31mred\x1b[0m",
    "../../etc/passwd",
    "=cmd()",
    "<script>",
    "{x}",
    "%s%n",
    "\u202e\ud7ff",
    "3.8.0",
    "passed",
    "1e5",
    [],
    {},
    [[]],
    [None],
    [{}],
    {"": ""},
    {"a": {"b": {"c": []}}},
    ["a", 1, None, {}],
)
"""What may stand where something else is expected."""


def damaged_bytes(content: bytes, chance: Random) -> bytes:
    """Bytes flipped, edge values, a tail cut off, pieces moved or repeated, nothing left."""
    match chance.randrange(8):
        case 0:
            return content[: chance.randrange(len(content))]
        case 1:
            first = chance.randrange(len(content))
            piece = content[first : first + chance.randrange(1, 200)]
            return content[:first] + piece * chance.choice((2, 3, 50, 500)) + content[first:]
        case 2:
            first = chance.randrange(len(content))
            return content[:first] + content[first + chance.randrange(1, 100) :]
        case 3:
            return content + struct.pack("<I", chance.choice(EDGES)) * chance.randrange(1, 64)
        case _:
            return mutated(content, chance)


def damaged_text(text: str, chance: Random) -> bytes:
    """A text with its bytes damaged, its lines in another order, doubled or gone, or in another encoding."""
    match chance.randrange(5):
        case 0:
            lines = text.splitlines(keepends=True)
            for _ in range(chance.randrange(1, 4)):
                at = chance.randrange(len(lines))
                lines[at : at + 1] = chance.choice(([], [lines[at]] * 2, [lines[at], chance.choice(lines)]))
                lines = lines or ["\n"]
            return "".join(lines).encode()
        case 1:
            encoding = chance.choice(("utf-16", "utf-32", "utf-8-sig", "utf-16-le"))
            return text.encode(encoding)
        case 2:
            at = chance.randrange(len(text))
            depth = chance.choice((10, 1000, 100_000))
            return (text[:at] + chance.choice(("[", "{", '{"a":', "((", "<", "'", '"', "\0", "a.")) * depth).encode()
        case _:
            return damaged_bytes(text.encode(), chance)


def damaged_tree(tree: Any, chance: Random, *, wrong: Sequence[Any] = WRONG) -> Any:
    """A copy in which values have another type, are gone, are doubled, have other names or each other's place."""
    made = copy.deepcopy(tree)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        holder, key = _place(made, chance)
        if holder is None:
            return chance.choice(wrong)
        match chance.randrange(7):
            case 0 | 1 | 2:
                holder[key] = copy.deepcopy(chance.choice(wrong))
            case 3:
                del holder[key]
            case 4:
                other, name = _place(made, chance)
                holder[key] = copy.deepcopy(other[name]) if other is not None else None
            case 5 if isinstance(holder, dict):
                holder[chance.choice((f"{key}s", "", "x" * 3000, key.upper(), "a.b"))] = holder.pop(key)
            case 5:
                holder.insert(key, copy.deepcopy(chance.choice(holder)))
            case _:
                holder[key] = [holder[key]] if chance.random() < 0.5 else {"value": holder[key]}
    return made


def _place(tree: Any, chance: Random) -> tuple[Any, Any]:
    """A holder in the tree and a key of it; none where the tree is a single value."""
    holder, key = None, None
    while isinstance(tree, dict | list) and tree:
        holder, key = tree, chance.choice(list(tree)) if isinstance(tree, dict) else chance.randrange(len(tree))
        tree = holder[key]
        if chance.random() < 0.25:
            break
    return holder, key


def doubled_key(tree: dict[str, Any], chance: Random) -> str:
    """JSON in which one key of the top stands twice, with two values."""
    key = chance.choice(list(tree))
    return json.dumps(tree)[:-1] + f", {json.dumps(key)}: {json.dumps(chance.choice(WRONG))}}}"


def as_toml(tree: Any, place: str = "") -> str:
    """TOML of a tree. What TOML does not have is written all the same: then it is no TOML."""
    if not isinstance(tree, dict):
        return _toml_value(tree)
    head, below = "", ""
    for key, value in tree.items():
        name = f"{place}.{json.dumps(key)}" if place else json.dumps(key)
        if isinstance(value, dict):
            below += f"\n[{name}]\n{as_toml(value, name)}"
        elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            below += "".join(f"\n[[{name}]]\n{as_toml(row, name)}" for row in value)
        else:
            head += f"{json.dumps(key)} = {_toml_value(value)}\n"
    return head + below


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, float):
        return str(value)
    return json.dumps(value)
