"""Makes a published run safe for the pages: every text of it visible, and short enough to read. Pure."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from matrix.core.text import mark_controls
from matrix.results.run import Run

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MOST_KEPT = 1 << 16
"""The most texts that are kept when they are made safe: a large run has few, in many places."""
LABEL = 80
"""How many characters of a name are shown."""
PROSE = frozenset(
    {
        "command",
        "included",
        "machine",
        "means",
        "message",
        "nix_programs",
        "note",
        "path",
        "question",
        "reason",
        "references",
        "reproduce",
        "signatures",
        "text",
    }
)
"""Fields whose texts are sentences or paths; all others hold names."""
AS_READ = frozenset({"source"})
"""The path of the run's file: it is read again, and is on no page."""


def safe_run(run: Run) -> Run:
    """The run with all its texts made safe, in any field or mapping."""
    changed = _inert(run, prose=False)
    assert isinstance(changed, Run)
    return changed


def _inert(value: object, *, prose: bool) -> object:
    if isinstance(value, str):
        return value if isinstance(value, Enum) else _visible(value) if prose else label(value)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, tuple | list):
        return tuple([_inert(each, prose=prose) for each in value])
    if isinstance(value, Mapping):
        return {label(key): _inert(each, prose=prose) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{name: _inert(getattr(value, name), prose=prosy) for name, prosy in _names(type(value))}
        )
    return value


@functools.cache
def _names(kind: type[DataclassInstance]) -> tuple[tuple[str, bool], ...]:
    """The fields of a record whose texts may be shown, each with whether these are prose."""
    return tuple((field.name, field.name in PROSE) for field in fields(kind) if field.name not in AS_READ)


_visible = functools.lru_cache(maxsize=MOST_KEPT)(mark_controls)


@functools.lru_cache(maxsize=MOST_KEPT)
def label(text: str) -> str:
    """A name. A cut name gets a digest, so that two names with the same beginning stay different."""
    if len(text) <= LABEL:
        return mark_controls(text)
    return f"{mark_controls(text[:LABEL])}…{_digest(text)}"


@functools.lru_cache(maxsize=MOST_KEPT)
def slug(text: str) -> str:
    """A file name or anchor. A text with other characters gets a digest, so that no two texts share one."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:LABEL]
    if plain and plain == text:
        return plain
    return f"{plain or 'x'}-{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
