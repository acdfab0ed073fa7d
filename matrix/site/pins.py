"""What to pin, on pages: one for each model, target and Python, a table of all, and the requirements files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matrix.answers.advice import combination, newest_first
from matrix.answers.causes import Move, move_words
from matrix.answers.pins.recommendations import QUESTION_AXES, Recommendation
from matrix.core.versions import releases_first
from matrix.plan.backends.shared import TARGET_AXIS
from matrix.results.run import Run
from matrix.site.harmless import slug
from matrix.site.notices import Head, cell_bundle, head_of, join_heads

PINS_PAGE = "pins.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class PinRow:
    """The answers for a model and a target; `places` are (address, release, words), in the order of the Pythons. The
    release is that of the last stage; it is empty where nothing passes."""

    labels: tuple[str, ...]
    places: tuple[tuple[str, str, str], ...]


def pin_name(wanted: Mapping[str, str]) -> str:
    """`linear-x86_64-3.11`: an address that can be guessed."""
    return slug("-".join(wanted.values()))


def pin_link(wanted: Mapping[str, str]) -> str:
    return f"pin/{pin_name(wanted)}.html"


def pin_files(found: Sequence[Recommendation]) -> Iterator[tuple[str, str]]:
    """(path below the site's folder, text) of the requirements files."""
    for each in found:
        for _, name, text in each.requirements():
            yield requirements_link(each, name), text


def requirements_link(each: Recommendation, name: str) -> str:
    return f"pin/{pin_name(each.wanted)}/{name}"


def asked_words(wanted: Mapping[str, str]) -> str:
    """`llama_2l, target aarch64, python 3.11`."""
    model, *rest = wanted.items()
    return ", ".join([model[1], *(f"{axis} {label}" for axis, label in rest)])


def pin_view(each: Recommendation, found: Sequence[Recommendation], runs: Sequence[Run]) -> dict[str, Any]:
    """The values of one page."""
    known = {pin_link(other.wanted) for other in found}
    advice = each.advice
    return {
        "head": _head(each, runs),
        "asked": asked_words(each.wanted),
        "answer": combination(advice.cell) if advice else "",
        "pins": list(each.pins.items()),
        "rows": [(heading, text) for heading, text in each.rows if heading not in ("pin", "for")],
        "unlocked": each.unlocked,
        "said": [line.strip() for line in each.said.splitlines() if "nearest" not in line and "->" not in line],
        "nearest": [(move_words(move), combination(move.cell), _there(each, move, known)) for move in each.nearest],
        "files": [
            {
                "name": name,
                "address": requirements_link(each, name),
                "text": text,
                "python": file.python,
                "what": " and ".join(locked.request.kind for locked in file.environments),
            }
            for file, name, text in each.requirements()
        ],
        "others": [(axis, _others(each, axis, found)) for axis in each.wanted],
    }


def _head(each: Recommendation, runs: Sequence[Run]) -> Head:
    """What the target is, and the values that need an explanation; the bundle of exactly this answer."""
    if each.advice:
        run, cell = each.advice.run, each.advice.cell
        labels = {axis: (label,) for axis, label in cell.axes.items()}
        return replace(head_of(run, labels), bundle=cell_bundle(run, cell))
    targets = {axis: (label,) for axis, label in each.wanted.items() if axis == TARGET_AXIS.name}
    return replace(join_heads(head_of(run, targets) for run in runs), bundle="")


def _there(each: Recommendation, move: Move, known: set[str]) -> str:
    """The page of the question that a move leads to; empty if only the releases differ."""
    wanted = {axis: move.cell.axes.get(axis, label) for axis, label in each.wanted.items()}
    link = pin_link(wanted)
    return link if link in known and wanted != dict(each.wanted) else ""


def _others(each: Recommendation, axis: str, found: Sequence[Recommendation]) -> list[tuple[str, str, bool]]:
    """(label, address, whether something passes) of the same question with other values of an axis."""
    rest = {name: label for name, label in each.wanted.items() if name != axis}
    return [
        (other.wanted[axis], pin_link(other.wanted), other.advice is not None)
        for other in found
        if other is not each and rest.items() <= other.wanted.items()
    ]


def pins_table(found: Sequence[Recommendation]) -> dict[str, Any]:
    """All questions: models with targets down, Pythons across."""
    axes = [axis for axis in QUESTION_AXES if any(axis in each.wanted for each in found)]
    across = axes[-1] if len(axes) > 1 else ""
    columns = releases_first(each.wanted[across] for each in found) if across else ("",)
    rows: dict[tuple[str, ...], dict[str, Recommendation]] = {}
    for each in found:
        labels = tuple(label for axis, label in each.wanted.items() if axis != across)
        rows.setdefault(labels, {})[each.wanted.get(across, "")] = each
    return {
        "down": [axis for axis in axes if axis != across],
        "across": across,
        "columns": columns,
        "rows": [
            PinRow(labels=labels, places=tuple(_place(places.get(column)) for column in columns))
            for labels, places in rows.items()
        ],
    }


def _place(each: Recommendation | None) -> tuple[str, str, str]:
    if each is None:
        return "", "", ""
    axes = each.advice.cell.axes if each.advice else {}
    release = next((axes[axis] for axis in newest_first() if axis in axes), "")
    return pin_link(each.wanted), release, asked_words(each.wanted)
