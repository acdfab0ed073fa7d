"""One line of the results as a badge for a README: which releases pass with a model. Pure; it says what was measured.

It is a template without a library: those on the package index measure text in their own font and put it into the SVG
unescaped, so a `<` in a model's name makes a file that no browser opens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2

from matrix.answers.advice import meant_by, newest_first
from matrix.answers.causes import cells_of
from matrix.core.errors import NoAnswer
from matrix.core.text import mark_controls
from matrix.core.versions import minor, releases_first
from matrix.plan.axes import NONE
from matrix.plan.stages import backends
from matrix.results.measured.counts import CountSeries, count_series, instruction_words, series_words
from matrix.results.run import Cell, Run
from matrix.results.square import headings, span

BADGE_LETTER, BADGE_EDGE = 6.3, 10
"""Pixels of an average letter, and beside a text; the SVG stretches the text to its width."""
BADGE_COLOURS = {"good": "#0b7a6b", "some": "#8a5a00", "bad": "#a33a1f", "unknown": "#566169"}
"""The background of the white text, with a contrast of 4.5 or more. The words say the same without colour."""
LONGEST = 60
BADGE_TEMPLATE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{{ left + right }}" height="20" role="img" aria-label="{{ said }}">
<title>{{ title }}</title>
<rect width="{{ left }}" height="20" fill="#1c2327"/>
<rect x="{{ left }}" width="{{ right }}" height="20" fill="{{ colour }}"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" transform="translate({{ edge / 2 }} 14)">
<text textLength="{{ left - edge }}" lengthAdjust="spacingAndGlyphs">{{ label }}</text>
<text x="{{ left }}" textLength="{{ right - edge }}" lengthAdjust="spacingAndGlyphs">{{ message }}</text>
</g>
</svg>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """`standing` is a key of BADGE_COLOURS: the newest measured release passes, only an older one, none, or nothing was
    measured."""

    label: str
    message: str
    standing: str
    title: str


def badge_from(runs: Sequence[Run], wanted: Mapping[str, str], *, instructions: bool = False) -> Badge:
    """What passes with the wanted values, or how many instructions a call executes. Raises NoAnswer."""
    date = max(run.date for run in runs)
    return count_badge(runs, wanted, date=date) if instructions else badge_of(cells_of(runs), wanted, date=date)


def badge_of(cells: Sequence[Cell], wanted: Mapping[str, str], *, date: str) -> Badge:
    """The compilers that pass with the wanted values (a model, perhaps more), or the runtimes if a compiler is given.

    Without a compiler and a runtime, each compiler is combined with the runtime of its own release. A release passes if
    one of its cells was compared and is right: then a combination with the other axes is known to work. Raises NoAnswer
    if no result has the wanted values.
    """
    known = {axis: releases_first(cell.axes[axis] for cell in cells if axis in cell.axes) for axis in wanted}
    meant = {axis: meant_by(term, known[axis]) for axis, term in wanted.items()}
    fitting = [cell for cell in cells if all(cell.axes.get(axis) in labels for axis, labels in meant.items())]
    if not fitting:
        said = ", ".join(f"{axis} {term}" for axis, term in wanted.items())
        raise NoAnswer(
            f"no result has {said}, expected what was measured",
            tip="`advise` with the same words lists what was tested",
        )
    down, across = backends()[0].square
    own = not {down, across} & wanted.keys()
    axis = across if down in wanted and across not in wanted else down
    if not any(axis in cell.axes for cell in fitting):  # of another backend
        axis = next((name for name in newest_first() if name in fitting[0].axes), axis)
    measured = [
        cell
        for cell in fitting
        if cell.measured and (not own or minor(cell.axes.get(across, "")) == minor(cell.axes.get(down, "")))
    ]
    order = releases_first(cell.axes.get(axis, NONE) for cell in measured)
    passing = [label for label in order if any(cell.right for cell in measured if cell.axes.get(axis, NONE) == label)]
    standing = "unknown" if not order else "bad" if not passing else "good" if passing[-1] == order[-1] else "some"
    label = ", ".join([wanted["model"], *(f"{name} {term}" for name, term in wanted.items() if name != "model")])
    message = _message(passing, order)
    with_own = f", each with the {across} of its release" if own and axis == down else ""
    return Badge(
        label=mark_controls(label, LONGEST),
        message=mark_controls(message, LONGEST),
        standing=standing,
        title=mark_controls(f"{label}: {axis} {message}{with_own}; measured {date}"),
    )


def count_badge(runs: Sequence[Run], wanted: Mapping[str, str], *, date: str) -> Badge:
    """The instructions of a call with the newest wanted release: a figure also where times decide nothing. It is no
    speed, and the badge does not call it one. Of several places with the wanted values, it is the first one.

    Raises NoAnswer if nothing with the wanted values was counted.
    """
    for series in (each for run in runs for each in count_series(run)):
        labels = _wanted_releases(series, wanted)
        if labels:
            newest = labels[-1]
            short = dict(zip(series.instructions, headings(list(series.instructions)), strict=True))
            return Badge(
                label=mark_controls(series.name, LONGEST),
                message=mark_controls(
                    f"{instruction_words(series.instructions[newest])} instructions with {short[newest]}", LONGEST
                ),
                standing="good",
                title=mark_controls(f"{series.name}: {series_words(series)}; counted, no speed; measured {date}"),
            )
    said = ", ".join(f"{axis} {term}" for axis, term in wanted.items())
    raise NoAnswer(
        f"no result has counted instructions of {said}, expected what was counted",
        tip="the preset `cost` counts; without --instructions a badge says what passes",
    )


def _wanted_releases(series: CountSeries, wanted: Mapping[str, str]) -> list[str]:
    """The releases of a series that fit, oldest first; none if its place does not."""
    labels = list(series.instructions)
    for axis, term in wanted.items():
        found = list(dict.fromkeys(axes[axis] for axes in series.axes if axis in axes))
        meant = meant_by(term, found)
        labels = [
            label
            for label, axes in zip(series.instructions, series.axes, strict=True)
            if label in labels and axes.get(axis) in meant
        ]
    return labels


def _message(passing: Sequence[str], order: Sequence[str]) -> str:
    if not order:
        return "not measured"
    if not passing:
        return "no release passes"
    if len(passing) == 2:
        short = dict(zip(order, headings(order), strict=True))
        return f"{short[passing[0]]} and {short[passing[1]]} pass"
    return f"{span(passing, order)} {'pass' if len(passing) > 1 else 'passes'}"


def as_svg(badge: Badge) -> str:
    """A picture of 20 pixels' height with its words as text. All values are escaped."""
    made = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(BADGE_TEMPLATE)
    return made.render(
        left=round(BADGE_LETTER * len(badge.label)) + BADGE_EDGE,
        right=round(BADGE_LETTER * len(badge.message)) + BADGE_EDGE,
        edge=BADGE_EDGE,
        colour=BADGE_COLOURS[badge.standing],
        said=f"{badge.label}: {badge.message}",
        label=badge.label,
        message=badge.message,
        title=badge.title,
    )
