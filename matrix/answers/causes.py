"""From the symptom of a cell to its cause: the gate that refused, since which release, and the nearest pass. Pure.

It reads published runs, so the answer is the same for a store, a committed file, and a file from CI.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from matrix.answers.gates import Gates
from matrix.artifacts.vmfb import feature_names
from matrix.core.versions import are_versions, is_version, minor, releases_first
from matrix.plan.backends.iree.environments import COMPILER, RUNTIME
from matrix.results import signatures
from matrix.results.run import Cell, Run
from matrix.results.square import span

GIVEN = ("model", "target")
"""The axes that stay fixed in the search for a pass: they are the question."""
TIED = (COMPILER, RUNTIME)
"""The axes that a run may move together: each compiler with the runtime of its own release."""
MOST_MOVES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One axis moved. `steps` counts its measured values, negative for a step down; 0 if the axis has no order."""

    axis: str
    before: str
    after: str
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A way to a cell that passes."""

    changes: tuple[Step, ...]
    cell: Cell

    @property
    def cost(self) -> tuple[int, int]:
        """Fewest axes first, then fewest steps."""
        return len(self.changes), sum(abs(change.steps) or 1 for change in self.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Neighbouring releases of one axis that end like the cell; all other axes stay the same.

    `before` and `after` are the next measured (release, how it ended); None at the end of what was measured.
    """

    axis: str
    words: str
    first: str
    last: str
    before: tuple[str, str] | None
    after: tuple[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRow:
    """What the releases `releases` write and read at a gate."""

    value: str
    releases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """`gate` names what refused ('' if no gate did), `rows` what each release has there, `others` the other gates at
    which the releases of compiler and runtime differ: repairing one is not enough."""

    gate: str
    subject: str
    rows: tuple[GateRow, ...]
    others: tuple[str, ...]
    moves: tuple[Move, ...]
    stretches: tuple[Stretch, ...]


def explain(cell: Cell, cells: Sequence[Cell], gates: Sequence[Gates]) -> Cause:
    """`cells` are those of the run, including the cell."""
    subject, rows = _gate_rows(cell, gates)
    return Cause(
        gate=signatures.gates().get(cell.signature, ""),
        subject=subject,
        rows=rows,
        others=_other_gates(cell, gates) if rows else (),
        moves=() if cell.passed else nearest_passes(cell.axes, [each for each in cells if each.passed], cells),
        stretches=_stretches(cell, cells),
    )


def nearest_passes(axes: Mapping[str, str], passing: Sequence[Cell], cells: Sequence[Cell]) -> tuple[Move, ...]:
    """The nearest of `passing`, with the same model and target. `cells` give the values of an axis."""
    order = orders(cells, axes)
    given = {axis: axes[axis] for axis in GIVEN if axis in axes}
    return nearest_moves(move_to(cell, axes, order) for cell in passing if given.items() <= cell.axes.items())


def nearest_moves(moves: Iterable[Move]) -> tuple[Move, ...]:
    """Of the moves of the fewest axes, the nearest along each axis and direction, nearest first."""
    best: dict[tuple[tuple[str, bool], ...], Move] = {}
    for move in sorted(moves, key=lambda move: move.cost):
        best.setdefault(tuple((change.axis, change.steps > 0) for change in move.changes), move)
    fewest = min((len(move.changes) for move in best.values()), default=0)
    return tuple(move for move in best.values() if len(move.changes) == fewest)[:MOST_MOVES]


def orders(cells: Sequence[Cell], axes: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The measured values of each axis, releases ascending."""
    return {axis: releases_first(cell.axes[axis] for cell in cells if axis in cell.axes) for axis in axes}


def move_to(cell: Cell, axes: Mapping[str, str], order: Mapping[str, Sequence[str]]) -> Move:
    """The way from `axes`, which may name only some axes, to a cell."""
    return Move(changes=_changes(axes, cell, order), cell=cell)


def _changes(axes: Mapping[str, str], cell: Cell, order: Mapping[str, Sequence[str]]) -> tuple[Step, ...]:
    return tuple(
        Step(axis=axis, before=label, after=cell.axes[axis], steps=_steps(order[axis], label, cell.axes[axis]))
        for axis, label in axes.items()
        if axis in cell.axes and cell.axes[axis] != label
    )


def _steps(order: Sequence[str], before: str, after: str) -> int:
    if before not in order or not are_versions([before, after]):  # a build has no place among the releases
        return 0
    return order.index(after) - order.index(before)


def _stretches(cell: Cell, cells: Sequence[Cell]) -> tuple[Stretch, ...]:
    if not cell.measured:
        return ()
    lines: dict[tuple[str, ...], list[Cell]] = {(axis,): _line((axis,), cell, cells) for axis in cell.axes}
    labels = {cell.axes.get(axis) for axis in TIED}
    if len(labels) == 1 and None not in labels and not any(lines.get((axis,)) for axis in TIED):
        lines[TIED] = _line(TIED, cell, cells)
    return tuple(_stretch(axes, cell, line) for axes, line in lines.items() if line)


def _line(axes: tuple[str, ...], cell: Cell, cells: Sequence[Cell]) -> list[Cell]:
    """The cells along an axis, or along several with the same value, releases ascending; none for builds, or if there
    is only one."""
    rest = {name: label for name, label in cell.axes.items() if name not in axes}
    line = {
        other.axes[axes[0]]: other
        for other in cells
        if other.measured
        and other.axes.keys() == cell.axes.keys()  # one of an optional axis more would take the place of this one
        and rest.items() <= other.axes.items()
        and len({other.axes.get(axis) for axis in axes}) == 1
    }
    order = [label for label in releases_first(line) if is_version(label)]
    return [line[label] for label in order] if len(order) > 1 and cell.axes[axes[0]] in order else []


def _stretch(axes: tuple[str, ...], cell: Cell, line: Sequence[Cell]) -> Stretch:
    axis = axes[0]
    here = next(index for index, each in enumerate(line) if each.axes == cell.axes)
    first = last = here
    while first > 0 and line[first - 1].words == cell.words:
        first -= 1
    while last + 1 < len(line) and line[last + 1].words == cell.words:
        last += 1
    before = (line[first - 1].axes[axis], line[first - 1].words) if first > 0 else None
    after = (line[last + 1].axes[axis], line[last + 1].words) if last + 1 < len(line) else None
    return Stretch(
        axis=" = ".join(axes),
        words=cell.words,
        first=line[first].axes[axis],
        last=line[last].axes[axis],
        before=before,
        after=after,
    )


# -- what the releases write and read


def _gate_rows(cell: Cell, gates: Sequence[Gates]) -> tuple[str, tuple[GateRow, ...]]:
    """The subject of a gate, and what each release has there, in the order of releases."""
    subject, value_of = _lens(cell)
    rows: dict[str, list[str]] = {}
    for each in gates if value_of else ():
        if value_of and (value := value_of(each)):
            rows.setdefault(value, []).append(each.release)
    return subject, tuple(GateRow(value=value, releases=tuple(releases)) for value, releases in rows.items())


def _lens(cell: Cell) -> tuple[str, Callable[[Gates], str] | None]:
    function, module = cell.values.get("function", ""), cell.values.get("name", "hal")
    match cell.signature:
        case "vm-bytecode-version":
            return "VM bytecode", _bytecode
        case "vm-features":
            return "VM features", _features
        case "module-version":
            return f"module {module}", lambda gates: str(gates.modules.get(module, ""))
        case "import-signature":
            return function, lambda gates: gates.imports.get(function, "")
        case "executable-abi":
            return "executable library ABI", lambda gates: str(gates.library_abi)
    return "", None


def _bytecode(gates: Gates) -> str:
    return ".".join(map(str, gates.bytecode_version))


def _features(gates: Gates) -> str:
    return ", ".join(feature_names(gates.features)) or "none"


def _other_gates(cell: Cell, gates: Sequence[Gates]) -> tuple[str, ...]:
    """The other gates at which modules of the compiler's release and the runtime's release differ."""
    known = {each.release: each for each in gates}
    wrote, reads = (known.get(minor(cell.axes.get(axis, ""))) for axis in (COMPILER, RUNTIME))
    if wrote is None or reads is None:
        return ()
    functions = [name for name in wrote.imports if reads.imports.get(name, wrote.imports[name]) != wrote.imports[name]]
    said = {
        "vm-features": f"VM features ({_features(wrote)})" if wrote.features & ~reads.features else "",
        "vm-bytecode-version": _pair("VM bytecode", _bytecode(wrote), _bytecode(reads)),
        "module-version": "; ".join(
            _pair(name, str(least), str(reads.modules[name]))
            for name, least in wrote.modules.items()
            if reads.modules.get(name, least) < least
        ),
        "import-signature": _signatures_of(functions),
        "executable-abi": _pair("executable ABI", str(wrote.library_abi), str(reads.library_abi)),
    }
    return tuple(text for signature, text in said.items() if text and signature != cell.signature)


def _signatures_of(functions: Sequence[str]) -> str:
    if len(functions) == 1:
        return f"the signature of {functions[0]}"
    return f"the signatures of {len(functions)} imports" if functions else ""


def _pair(what: str, wrote: str, reads: str) -> str:
    return "" if wrote == reads else f"{what} ({wrote}, runtime {reads})"


# -- in words


def cause_lines(cause: Cause, cell: Cell, gates: Sequence[Gates]) -> list[str]:
    """The lines for `why`."""
    lines = []
    if cause.gate:
        lines += ["", f"gate       {cause.gate}"]
        releases = tuple(each.release for each in gates)
        lines += [f"  {cause.subject} {row.value}: IREE {span(row.releases, releases)}" for row in cause.rows]
        lines += [f"  they also differ in {', '.join(cause.others)}"] if cause.others else []
    if cause.stretches:
        lines += ["", "since", *(f"  {stretch_words(each)}" for each in cause.stretches)]
    if cause.moves:
        lines += ["", "nearest that pass", *(f"  {move_words(move)}" for move in cause.moves)]
    elif cell.outcome.red:
        lines += ["", "nearest that pass", "  none was measured with this model and target"]
    return lines


def stretch_words(each: Stretch) -> str:
    """`runtime: failed at run: import-signature from 3.4.0 (3.3.0: passed) to 3.13.0 (the newest measured)`."""
    before = ": ".join(each.before) if each.before else "the oldest measured"
    after = ": ".join(each.after) if each.after else "the newest measured"
    return f"{each.axis}: {each.words} from {each.first} ({before}) to {each.last} ({after})"


def move_words(move: Move) -> str:
    """`runtime 3.11.0 -> 3.9.0 (2 down)`."""
    return ", ".join(f"{each.axis} {each.before} -> {each.after}{_distance(each.steps)}" for each in move.changes)


def _distance(steps: int) -> str:
    return f" ({abs(steps)} {'up' if steps > 0 else 'down'})" if steps else ""


def cells_of(runs: Sequence[Run]) -> tuple[Cell, ...]:
    """The cells of several runs, each combination of axes once: a measured one wins, then the first."""
    found: dict[str, Cell] = {}
    for run in runs:
        for cell in run.cells:
            if cell.name not in found or (cell.measured and not found[cell.name].measured):
                found[cell.name] = cell
    return tuple(found.values())
