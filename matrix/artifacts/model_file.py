"""Reads what a model in Python declares at its top, without running it. The file may be hostile."""

from __future__ import annotations

import ast
from pathlib import Path


def declared_texts(path: Path, name: str) -> tuple[tuple[str, ...], str]:
    """The texts that the file assigns to a name, the last time; and what is wrong with them, empty if nothing is. What
    is no Python declares nothing: its export says why."""
    content = path.read_bytes()
    if name.encode() not in content:
        return (), ""
    try:
        statements = ast.parse(content).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return (), ""
    said = [value for statement in statements if (value := _assigned(statement, name))]
    if not said:
        return (), ""
    try:
        read = ast.literal_eval(said[-1])
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        read = ast.unparse(said[-1])
    if isinstance(read, tuple | list) and all(isinstance(word, str) for word in read):
        return tuple(read), ""
    return (), f"read {read!r:.200}, expected a tuple of texts"


def _assigned(statement: ast.stmt, name: str) -> ast.expr | None:
    """The value that a statement assigns to a name."""
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return None
    named = any(isinstance(target, ast.Name) and target.id == name for target in targets)
    return statement.value if named else None
