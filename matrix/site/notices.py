"""What a page says before its cells: that a target is emulated, and what its runtimes and routes are. Pure."""

from __future__ import annotations

import ast
import functools
import itertools
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from matrix.core.data import DATA, model_files
from matrix.core.keys import sha256
from matrix.plan.backends.iree.boards import boards, newest_builds
from matrix.plan.backends.shared import EMULATED, MODEL_AXIS
from matrix.plan.spec import parse_spec
from matrix.plan.stages import kinds
from matrix.results.run import Cell, FinishedJob, Run
from matrix.results.square import Square
from matrix.site.squares import FIRST

BUILT = re.compile(r"built from (\S+) with (\S+)")
"""The note of a runtime that was built from source."""

EMULATED_KINDS = {"cpu": "CPU", "board": "board"}
"""What an emulator is asked for, by the table of words.toml that explains it."""
EMULATOR_WORDS = {"-cpu": "cpu", "--cpu": "cpu", "-M": "board"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A value of an axis in a line."""

    name: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a page says before its cells. `bundle` is the command that makes a folder for a real board of what it shows,
    empty where there is none."""

    emulated: tuple[str, ...]
    explained: tuple[Explained, ...]
    bundle: str


def head_of(run: Run, labels: Mapping[str, Iterable[str]]) -> Head:
    """The head of a page with these values of a run's axes."""
    return Head(
        emulated=tuple(emulated_targets(run, labels.get("target", ()))),
        explained=tuple(explained_values(run, labels)),
        bundle=bundle_command(run, labels),
    )


@functools.cache
def words_of_values() -> Mapping[str, Mapping[str, str]]:
    """The tables of words.toml: axis, `toolchain` or `cpu` -> name -> its line."""
    return tomllib.loads((DATA / "words.toml").read_text(encoding="utf-8"))


def join_heads(heads: Iterable[Head]) -> Head:
    """The head of a page of several runs: each sentence once."""
    found = list(heads)
    return Head(
        emulated=tuple(dict.fromkeys(said for head in found for said in head.emulated)),
        explained=tuple(dict.fromkeys(each for head in found for each in head.explained)),
        bundle=next((head.bundle for head in found if head.bundle), ""),
    )


def labels_of(table: Square) -> dict[str, tuple[str, ...]]:
    """All values of a square, by axis."""
    shown = {table.row_axis: table.rows, table.column_axis: table.columns}
    return {**{axis: (label,) for axis, label in table.others.items()}, **shown}


def emulated_targets(run: Run, targets: Iterable[str]) -> list[str]:
    """A sentence for each of these targets that is emulated: how, on what, and what was not done."""
    found = []
    for target in targets:
        if how := _emulator(run, target):
            program, kind, hardware = how
            known = words_of_values()[kind].get(hardware, "") if kind else ""
            name = f"QEMU ({program})" if "qemu" in program else program
            as_what = f" as the {EMULATED_KINDS[kind]} {hardware}" if kind else ""
            found.append(
                f"{target} is emulated by {name}{as_what}{f' ({known})' if known else ''}. None of its cells was ever "
                "run on a board, and none has a time."
            )
    return found


def is_emulated(run: Run, job: FinishedJob) -> bool:
    """Its program ran under an emulator, a target's or the one that counts, so that its seconds are not those of any
    machine."""
    if (kind := kinds().get(job.stage)) and kind.counted:
        return True
    program = PurePath(job.command[0]).name if job.command else ""
    return any(program == how[0] for target in run.notes("target") if (how := _emulator(run, target)))


def is_emulated_target(run: Run, target: str) -> bool:
    """Its programs run under an emulator."""
    return _emulator(run, target) is not None


def explained_values(run: Run, labels: Mapping[str, Iterable[str]]) -> list[Explained]:
    """The values of these axes that a name alone does not explain: routes, runtimes built from source."""
    found = []
    for axis, values in labels.items():
        known, notes = words_of_values().get(axis, {}), run.notes(axis)
        for label in values:
            words = known.get(label, "") or (words_of_model(run, label) if axis == MODEL_AXIS.name else "")
            if built := BUILT.fullmatch(notes.get(label, "")):
                toolchain = words_of_values()["toolchain"].get(built[2], "")
                words = f"IREE's runtime {built[1]} {notes[label].partition(' from')[0]} from source with {built[2]}"
                words += f": {toolchain}" if toolchain else ""
            if words:
                found.append(Explained(name=f"{axis} {label}", words=words))
    return found


def words_of_model(run: Run, model: str) -> str:
    """The first sentence of a shipped model's file, if the run exported that very file; empty for others."""
    path = model_files().get(model)
    if not path:
        return ""
    digest, words = _shipped_model(path)
    cell = next((cell for cell in run.cells if cell.axes.get(MODEL_AXIS.name) == model and cell.jobs), None)
    known = cell is not None and any(digest in word for job in run.jobs_of(cell) for word in job.command)
    return words if known else ""


@functools.cache
def _shipped_model(path: Path) -> tuple[str, str]:
    """The digest of a model's file, and the first paragraph of its docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return sha256(path), " ".join(text.partition("\n\n")[0].split()).rstrip(".")


def bundle_command(run: Run, labels: Mapping[str, Iterable[str]]) -> str:
    """The command that makes a folder for a real board of what a page shows; empty where there is none. A value that
    the page leaves open is the command's own default."""
    target = next((each for each in boards() if each in labels.get("target", ()) and _emulator(run, each)), "")
    models = tuple(labels.get("model", ()))
    return f"python -m matrix bundle {target} {models[0] if len(models) == 1 else 'MODEL'} -o FOLDER" if target else ""


@functools.cache
def bundled_runtimes(target: str) -> Mapping[str, str]:
    """The toolchains that `bundle` takes for a board, each with the release of the sources that it builds."""
    board = boards()[target]
    path = DATA / "presets" / f"{board.preset}.toml"
    spec = parse_spec(path.read_text(encoding="utf-8"), source=board.preset, base=path.parent)
    names = newest_builds(spec.builds)
    return {toolchain: spec.builds[names[toolchain]].source for toolchain in board.toolchains}


def cell_bundle(run: Run, cell: Cell) -> str:
    """The command that makes the bundle of one cell that passed; empty where `bundle` builds no such runtime."""
    compiler, runtime = FIRST
    built = BUILT.fullmatch(run.notes(runtime).get(cell.axes.get(runtime, ""), ""))
    command = bundle_command(run, {axis: (label,) for axis, label in cell.axes.items()})
    route = cell.axes.get("route", "")
    if not (cell.passed and command and built and route):
        return ""
    if bundled_runtimes(cell.axes["target"]).get(built[2]) != built[1]:
        return ""
    asked = f"--{compiler} {cell.axes[compiler]} --route {route} --toolchain {built[2]}"
    return command.replace(" -o ", f" {asked} -o ")


def _emulator(run: Run, target: str) -> tuple[str, str, str] | None:
    """The emulator's name, whether it names a `cpu` or a `board` ("" if neither), and which one, of a target; None for
    one that is not emulated."""
    note = run.notes("target").get(target, "")
    if not note.startswith(EMULATED):
        return None
    program, *words = note.removeprefix(EMULATED).split() or [""]
    named = ((EMULATOR_WORDS[word], value) for word, value in itertools.pairwise(words) if word in EMULATOR_WORDS)
    kind, hardware = next(named, ("", ""))
    return PurePath(program).name, kind, hardware
