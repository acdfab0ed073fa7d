"""The verbs that answer from published runs alone: they install, run and look up nothing else."""

from __future__ import annotations

import json
import platform
import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matrix.answers import advice
from matrix.answers import candidates as ranking
from matrix.answers.pins import checking, verdicts
from matrix.answers.pins.pinned_set import install_in_order, read_pinned_set
from matrix.answers.pins.recommendations import heading_of, recommendation_rows
from matrix.answers.pins.requirements import (
    RequirementsFile,
    environments_of,
    requirements_files,
    requirements_text,
)
from matrix.answers.releases.compatibility import COLUMN_MEANS, FEWEST_RELEASES, HEADERS, compatibilities
from matrix.core.data import STORE_LOCKS, data_root, model_files
from matrix.core.disk import write_output
from matrix.core.errors import (
    EXIT_NO,
    EXIT_OK,
    EXIT_UNMEASURED,
    FileFault,
    ModelMissing,
    NoAnswer,
    ResultsFault,
    UsageError,
)
from matrix.core.keys import sha256
from matrix.core.text import escape_controls, plain_rows
from matrix.core.versions import did_you_mean
from matrix.images.tested_image import image_words
from matrix.plan.backends.shared import MODEL_AXIS, PYTHON_AXIS, TARGET_AXIS
from matrix.plan.locks import release_dates
from matrix.plan.stages import axes as axis_rows
from matrix.plan.stages import is_file
from matrix.results.files import read_runs, run_files
from matrix.results.published.address import read_published
from matrix.results.run import Run
from matrix.run.evidence import found_runs, label_of, store_run
from matrix.run.store import Store

if TYPE_CHECKING:
    pass


def runs_of(options: Namespace) -> tuple[Run, ...]:
    """The runs of `--results`, of the store's `--preset`, or the committed ones. Raises what these raise."""
    named = read_published(options.results, options.store)
    if options.preset:
        named = (store_run(options.preset, options.store, engine=options.engine), *named)
    if named:
        return named
    paths = run_files(data_root() / "results")
    if not paths:
        raise ResultsFault(f"{data_root() / 'results'}: read no .json, expected runs", tip="name some with --results")
    return read_runs(paths)


def do_advise(options: Namespace) -> int:
    """Prints the newest tested combination that passes, and writes its requirements."""
    wanted = {axis: value for axis in axis_rows() if (value := getattr(options, axis))}
    runs = _runs_of_model(options)
    wanted[MODEL_AXIS.name] = label_of(options.model)
    found = advice.find_advice(advice.KnownCells(runs, wanted), wanted)
    images = data_root() / "images"
    environments = environments_of(found.run, found.cell, images, place=options.store / STORE_LOCKS)
    files = requirements_files(environments)
    rows = recommendation_rows(found, wanted, environments)
    rows += [("image", image_words(each, images)) for each in environments]
    rows += [("requirements", text) for text in _write(files, heading_of(found), options.output)]
    shown, before = [], ""
    for name, text in rows:
        shown.append(["" if name == before else name, text])
        before = name
    print(escape_controls(plain_rows(shown, headers=())))
    return EXIT_OK


def _runs_of_model(options: Namespace) -> tuple[Run, ...]:
    """The runs with the model: also what the store has of it, if it is a file or no published run has its name. Raises
    NoAnswer if no run measured a file."""
    runs = runs_of(options)
    named = is_file(options.model)
    if options.preset or options.results or not (named or not _measured(runs, options.model)):
        return runs
    if named and not Path(options.model).is_file():
        raise ModelMissing(
            f"--model: read {options.model!r}, expected a file, and there is none", tip="or the name of a model"
        )
    own: tuple[Run, ...] = ()
    if (options.store / "store.sqlite").is_file():
        with Store(options.store, read_only=True) as store:
            own = tuple(found.run for found in found_runs(store, options.model))
    label, files = label_of(options.model), model_files()
    shipped = named and label in files and sha256(files[label]) == sha256(Path(options.model))
    if named and not shipped and not _measured(own, label):
        raise NoAnswer(
            f"no run with the store {options.store} has measured {options.model} as it is now",
            tip=f"measure it: `python -m matrix run --model {shlex.quote(options.model)}`, then ask again",
        )
    return (*own, *(runs if shipped or not own else ()))


def _measured(runs: Sequence[Run], model: str) -> bool:
    return any(cell.axes.get(MODEL_AXIS.name) == model and cell.jobs for run in runs for cell in run.cells)


def do_check(options: Namespace) -> int:
    """Prints whether a set of pins was measured, the verdict of each stage, and the smallest change that mends it."""
    runs = runs_of(options)
    known = advice.KnownCells(runs)
    given = _given(options, known)
    python = given.get(PYTHON_AXIS.name, PYTHON_AXIS.default[0])
    sets = [read_pinned_set(path, python=python, machine=platform.machine()) for path in options.files]
    versions, replaced = install_in_order(sets)
    if not (pins := checking.pins_of(versions, known, runs)):
        raise FileFault(
            f"{', '.join(map(str, options.files))}: read no exact version, expected one of a package of "
            f"{', '.join(checking.measured_packages(known).values())}",
            tip="`pip freeze > set.txt` writes those that are installed",
        )
    checked = checking.check_set(pins, given, known, one_environment=not options.apart)
    clashes = verdicts.conflicts(sets, replaced)
    if options.format == "json":
        print(json.dumps(verdicts.check_json(checked, sets, given, clashes), indent=1))
    else:
        rows = [list(row) for row in verdicts.check_rows(checked, sets, given, clashes)]
        print(escape_controls(plain_rows(rows, headers=())))
    if checked.fails or clashes:
        return EXIT_NO
    return EXIT_OK if checked.measured else EXIT_UNMEASURED


def _given(options: Namespace, known: advice.KnownCells) -> dict[str, str]:
    """The model, target and Python in question. Raises UsageError for one that no result has."""
    given = {axis.name: getattr(options, axis.name) for axis in (MODEL_AXIS, TARGET_AXIS, PYTHON_AXIS)}
    for axis, label in given.items():
        labels = known.labels.get(axis, ())
        if label and label not in labels:
            raise UsageError(
                f"--{axis}: read {label!r}, expected one of {', '.join(labels)}{did_you_mean(label, labels)}",
                tip="give other results with --results",
            )
    here = platform.machine()
    if not given[TARGET_AXIS.name] and here in known.labels.get(TARGET_AXIS.name, ()):
        given[TARGET_AXIS.name] = here
    return {axis: label for axis, label in given.items() if label}


def do_badge(options: Namespace) -> int:
    """Writes a badge of what passes with a model, or of its instructions."""
    from matrix.site.pictures.badges import as_svg, badge_from

    runs = runs_of(options)
    wanted = {axis: value for axis in axis_rows() if (value := getattr(options, axis))}
    made = badge_from(runs, wanted, instructions=options.instructions)
    write_output(options.output, as_svg(made))
    print(escape_controls(f"{options.output}: {made.title}"))
    return EXIT_OK


def do_candidates(options: Namespace) -> int:
    """Prints the releases, best first, and the facts behind the order."""
    weights = dict(ranking.DEFAULT_WEIGHTS)
    for word in options.weight:
        weights |= _weight(word)
    found = ranking.rank_compilers(runs_of(options), weights)
    columns = tuple(ranking.DEFAULT_WEIGHTS)
    rows = [
        [
            each.release,
            f"{each.score:.0f}",
            *(each.measures[name].text if name in each.measures else "-" for name in columns),
        ]
        for each in found.candidates
    ]
    print(escape_controls(plain_rows(rows, headers=(ranking.RANKED, "score", *columns))))
    said = ", ".join(f"{name}={weight:g}" for name, weight in found.weights.items()) or "none"
    print(
        f"\nscore: 0 to 100, weights {said}; what was not measured (-) earns a release nothing,\n"
        "and what less than half of the releases were tried with is not in the score"
    )
    if found.empty:
        print(f"not in these results, so not in the score: {', '.join(found.empty)}")
    print(plain_rows([[name, ranking.MEANS[name]] for name in columns], headers=()))
    return EXIT_OK


def do_compatibility(options: Namespace) -> int:
    """Prints how far the files of one release load on another, a row for each backend, target and set of releases."""
    found = compatibilities(runs_of(options), release_dates(data_root() / "images" / "locks"))
    if not found:
        raise ResultsFault(
            f"read no table of {FEWEST_RELEASES} releases that make files by as many that load them, expected one",
            tip="name results of such a question with --results: portability, for example",
        )
    if options.format == "json":
        print(json.dumps([each.as_json() for each in found], indent=1))
        return EXIT_OK
    print(escape_controls(plain_rows([each.row for each in found], headers=HEADERS)))
    print()
    print("\n".join(COLUMN_MEANS))
    return EXIT_OK


def _weight(word: str) -> dict[str, float]:
    name, _, text = word.partition("=")
    known = tuple(ranking.DEFAULT_WEIGHTS)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if name not in known or not 0 <= value < 1e6:
        raise UsageError(
            f"--weight: read {word!r}, expected NAME=NUMBER with a name of {', '.join(known)} and a number from 0"
            f"{did_you_mean(name, known)}",
            tip="for example: --weight runtimes=2 --weight size=0",
        )
    return {name: value}


def _write(files: Sequence[RequirementsFile], heading: Sequence[str], output: Path | None) -> list[str]:
    """Writes the first file to `output` and the others beside it, named after their environments; prints which is
    which."""
    said = []
    for index, file in enumerate(files):
        what = f"{' and '.join(each.request.kind for each in file.environments)} on Python {file.python}"
        if output is None:
            said.append(f"{what}: -o FILE.txt writes them")
            continue
        path = output if index == 0 else output.with_name(f"{output.stem}-{file.name}{output.suffix}")
        write_output(path, requirements_text(file, heading=heading, name=path.name))
        said.append(f"{path}: {what}")
    return said
