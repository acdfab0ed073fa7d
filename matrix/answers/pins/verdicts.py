"""A checked set in words: what it pins, what each stage did, and the smallest change that mends it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matrix.answers.advice import combination
from matrix.answers.causes import Move, move_words
from matrix.answers.pins.checking import SetCheck, StageCheck, package_of, packages
from matrix.answers.pins.pinned_set import PinnedSet, Replaced
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.plan.stages import axes

MOST_MODELS = 8
MOST_MENDS = 3


def conflicts(sets: Sequence[PinnedSet], replaced: Sequence[Replaced]) -> list[str]:
    """Why an environment would not hold what the files pin."""
    found = []
    for each in sets:
        for package in packages().values():
            if len(versions := each.versions.get(package, ())) > 1:
                found.append(f"{each.source} pins {package} at {' and '.join(versions)}: pip refuses it")
    known = set(packages().values())
    found += [
        f"{one.by} silently replaces {one.package} {one.before} by {one.after}: one environment holds one of them"
        for one in replaced
        if one.package in known
    ]
    return [*found, *_renamed(sets)]


def _renamed(sets: Sequence[PinnedSet]) -> Iterator[str]:
    """A package beside an earlier one of the same files."""
    versions = {package: found[-1] for each in sets for package, found in each.versions.items()}
    for axis in axes().values():
        older = axis.older_package
        if older in versions and axis.package in versions:
            yield (
                f"{older} {versions[older]} and {axis.package} {versions[axis.package]} write the same files: what is "
                "installed last silently replaces the other"
            )


def check_rows(
    checked: SetCheck, sets: Sequence[PinnedSet], given: Mapping[str, str], clashes: Sequence[str]
) -> list[tuple[str, str]]:
    """(heading, text) rows of the answer."""
    pinned = dict.fromkeys(f"{package_of(axis, label)} {label}" for axis, label in checked.pins.items())
    rows = [("pins", ", ".join(pinned))]
    rows += [("", f"not exactly: {words}") for words in _open(sets)]
    rows.append(("for", ", ".join([f"{axis} {label}" for axis, label in given.items()]) or "any model"))
    rows += [("conflict", words) for words in clashes]
    rows.append(("measured", _measured(checked)))
    rows += [(each.stage, _stage_words(each)) for each in checked.stages]
    rows += [
        (
            "replaced",
            f"{each.package} {each.pinned} silently replaces {each.measured}, with which the export was measured: one "
            "environment holds one of them",
        )
        for each in checked.displaced
    ]
    rows += [("mend" if not place else "or", _mend(move)) for place, move in enumerate(checked.mends[:MOST_MENDS])]
    if checked.displaced:
        rows.append(("or", "two environments, one for the export: `advise -o requirements.txt` writes a file for each"))
    return rows


def _open(sets: Sequence[PinnedSet]) -> list[str]:
    """What the sets say of packages of the axes without an exact version."""
    known = {package for axis in axes().values() for package in (axis.package, axis.older_package) if package}
    return [words for each in sets for package, words in each.open.items() if package in known]


def _measured(checked: SetCheck) -> str:
    if checked.unknown:
        named = ", ".join(f"{package_of(axis, label)} {label}" for axis, label in checked.unknown.items())
        return f"no: no result has {named}"
    if not checked.together:
        return "no: no cell has all of these releases together"
    apart = ", each stage in an environment of its own" if checked.displaced else ""
    return f"yes: {checked.together} cell{'s' if checked.together > 1 else ''} with all of these releases{apart}"


def _stage_words(each: StageCheck) -> str:
    if not each.words:
        return f"{each.grade}{f'; {each.foretold}' if each.foretold else ''}"
    models = {model for found in each.words.values() for model in found}
    parts = [f"{words}: {_listed(found, len(models))}" for words, found in each.words.items()]
    others = f" (measured with another {' and '.join(each.beside)})" if each.beside else ""
    return "; ".join(parts) + others


def _listed(models: Sequence[str], of: int) -> str:
    more = f" and {len(models) - MOST_MODELS} more" if len(models) > MOST_MODELS else ""
    return f"{len(models)} of {of} models ({', '.join(models[:MOST_MODELS])}{more})"


def _mend(move: Move) -> str:
    """`iree-base-runtime==3.9.0: runtime 3.11.0 -> 3.9.0 (2 down); measured with linear`."""
    pins = " ".join(f"{package_of(step.axis, step.after)}=={step.after}" for step in move.changes)
    if not pins:
        return f"nothing: {combination(move.cell)} was measured"
    return f"{pins} ({move_words(move)}), measured with {move.cell.axes[MODEL_AXIS.name]}"


def check_json(
    checked: SetCheck, sets: Sequence[PinnedSet], given: Mapping[str, str], clashes: Sequence[str]
) -> dict[str, object]:
    """The same for programs."""
    return {
        "format": 1,
        "files": [each.source for each in sets],
        "pins": {package_of(axis, label): label for axis, label in checked.pins.items()},
        "given": dict(given),
        "conflicts": list(clashes),
        "measured_together": checked.together,
        "fails": checked.fails or bool(clashes),
        "measured": checked.measured,
        "stages": [
            {
                "stage": each.stage,
                "verdict": each.grade.value,
                "ends": {words: list(models) for words, models in each.words.items()},
                "with_others": list(each.beside),
                "predicted": each.foretold,
            }
            for each in checked.stages
        ],
        "displaced": [
            {"package": each.package, "measured": each.measured, "pinned": each.pinned} for each in checked.displaced
        ],
        "mends": [{package_of(step.axis, step.after): step.after for step in move.changes} for move in checked.mends],
    }
