"""The verbs that answer from published runs alone: they install, run and look up nothing else."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from matrix.answers import advice, differences
from matrix.answers import candidates as ranking
from matrix.answers.causes import cells_of
from matrix.core.data import data_root
from matrix.core.disk import write_output
from matrix.core.errors import EXIT_NO, EXIT_OK, ResultsFault, UsageError
from matrix.core.text import escape_controls, plain_rows
from matrix.core.versions import did_you_mean, releases_first
from matrix.images.requirements import (
    RequirementsFile,
    environments_of,
    image_words,
    requirements_files,
    requirements_text,
)
from matrix.plan.stages import axes as axis_rows
from matrix.results.files import read_run, read_runs, run_files
from matrix.results.run import Run
from matrix.run.evidence import store_run


def runs_of(options: Namespace) -> tuple[Run, ...]:
    """The runs of `--results`, of the store's `--preset`, or the committed ones. Raises ResultsFault, StoreUnusable."""
    if options.preset:
        return (store_run(options.preset, options.store, engine=options.engine), *read_runs(options.results))
    paths = options.results or run_files(data_root() / "results")
    if not paths:
        raise ResultsFault(f"{data_root() / 'results'}: read no .json, expected runs", tip="name some with --results")
    return read_runs(paths)


def do_advise(options: Namespace) -> int:
    """Prints the newest tested combination that passes, and writes its requirements."""
    wanted = {axis: value for axis in axis_rows() if (value := getattr(options, axis))}
    found = advice.find_advice(runs_of(options), wanted)
    images = data_root() / "images"
    environments = environments_of(found.run, found.cell, images)
    files = requirements_files(environments)
    rows = advice.advice_rows(found, wanted)
    pythons = {each.request.python for each in environments} - {found.cell.axes.get("python", "")}
    if pythons and "python" in wanted:
        rows.append(
            ("not tested", f"the tools on Python {wanted['python']}: they were run on {', '.join(sorted(pythons))}")
        )
    rows += [("image", image_words(each, images)) for each in environments]
    heading = [
        f"{advice.combination(found.cell)}; model {found.cell.axes['model']}",
        *(f"{a}: {t}" for a, t in rows if a == "tested"),
    ]
    rows += [("requirements", text) for text in _write(files, heading, options.output)]
    shown, before = [], ""
    for name, text in rows:
        shown.append(["" if name == before else name, text])
        before = name
    print(escape_controls(plain_rows(shown, headers=())))
    return EXIT_OK


def do_badge(options: Namespace) -> int:
    """Writes a badge of what passes with a model."""
    from matrix.site.badges import as_svg, badge_of

    runs = runs_of(options)
    wanted = {axis: value for axis in axis_rows() if (value := getattr(options, axis))}
    made = badge_of(cells_of(runs), wanted, date=max(run.date for run in runs))
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


def do_diff(options: Namespace) -> int:
    """Prints what changed between two runs or two releases. Exit status 1 if something is worse."""
    if len(options.what) == 2 and not (options.what[0] in axis_rows() and not Path(options.what[0]).exists()):
        first, second = (read_run(Path(word)) for word in options.what)
        found = differences.diff_runs(first, second)
    elif len(options.what) == 3 and options.what[0] in axis_rows():
        found = _diff_releases(runs_of(options), *options.what)
    else:
        raise UsageError(
            f"diff: read {' '.join(options.what)}, expected two files, or an axis and two of its values",
            tip="`diff before.json after.json`, or `diff compiler 3.8.0 3.9.0`",
        )
    print(escape_controls("\n".join(differences.difference_lines(found))))
    return EXIT_NO if found.worse else EXIT_OK


def _diff_releases(runs: Sequence[Run], axis: str, before: str, after: str) -> differences.Diff:
    cells = cells_of(runs)
    ends = []
    for term in (before, after):
        meant = releases_first(advice.meant_by(axis, term, cells))
        if not meant:
            known = ", ".join(releases_first(cell.axes[axis] for cell in cells if axis in cell.axes))
            raise UsageError(f"no result has {axis} {term}; tested: {known}", tip="give other results with --results")
        ends.append(meant[-1])
    return differences.diff_releases(runs, axis, *ends)


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
