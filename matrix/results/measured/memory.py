"""What programs without an operating system need of a board's memory, and how far its clock ran in a call. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from matrix.core.keys import Json
from matrix.plan.backends.iree.boards import Microcontroller, microcontrollers
from matrix.plan.backends.iree.firmware import FIRMWARE_FIGURES, MEASURED_FIGURES, STATIC_FIGURES
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.results.run import Cell, Run
from matrix.results.sections import Block, Column, Section, Words, by_axes, differing, grid

TICKS = MEASURED_FIGURES[-1]
MEMORY_HEADING = (
    "what programs without an operating system need, in bytes; ticks are the board's clock in one call under the "
    "emulator, where it counts instructions: no speed"
)
BOARDS_HEADING = (
    "well-known boards, by their makers' figures: the models of which one program that passed fits; no board was tried"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardNeeds:
    """The figures of a cell's program by name; a program that did not run has those of the linker alone."""

    axes: Mapping[str, str]
    figures: Mapping[str, Json]

    @property
    def ram_bytes(self) -> int | None:
        """All of the RAM: static data, the peaks of heap and stack."""
        parts = [self.figures.get(name) for name in FIRMWARE_FIGURES if name not in ("flash_bytes", TICKS)]
        return sum(part for part in parts if isinstance(part, int)) if None not in parts else None


def _figure(name: str, title: str) -> Column:
    return Column(key=name, title=title, value=lambda row: row.figures.get(name), text="{:,}".format)


MEMORY_COLUMNS = (
    _figure("flash_bytes", "flash"),
    Column(key="ram_bytes", title="RAM", value=lambda row: row.ram_bytes, text="{:,}".format),
    _figure("static_bytes", "static"),
    _figure("heap_bytes", "heap"),
    _figure("stack_bytes", "stack"),
    _figure(TICKS, TICKS),
)


def board_needs(run: Run) -> dict[str, BoardNeeds]:
    """By the name of the cell, for those whose program was linked."""
    found = {}
    for cell in run.cells:
        figures = run.measurements_of(cell)
        if all(name in figures for name in STATIC_FIGURES.values()):
            found[cell.name] = BoardNeeds(axes=cell.axes, figures=figures)
    return found


def fits_board(needs: BoardNeeds, board: Microcontroller) -> bool:
    """Whether a board has the memory; False where the program's need is not known."""
    flash, ram = needs.figures["flash_bytes"], needs.ram_bytes
    pairs = ((flash, board.flash_kib), (ram, board.ram_kib))
    return not board.why and all(isinstance(needed, int) and needed <= has << 10 for needed, has in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardMemory:
    """A well-known board, and the models of a run that it has the memory for, by some of their programs."""

    board: Microcontroller
    models: tuple[str, ...]

    @property
    def words(self) -> str:
        return ", ".join(self.models) or f"none: {self.board.why or 'each of them needs more'}"


def boards_with_memory(needs: Collection[BoardNeeds]) -> list[BoardMemory]:
    """All of `microcontrollers.toml`, with the models of which one program fits."""
    found = []
    for board in microcontrollers():
        models = (row.axes[MODEL_AXIS.name] for row in needs if fits_board(row, board))
        found.append(BoardMemory(board=board, models=tuple(dict.fromkeys(models))))
    return found


BOARD_COLUMNS = (
    Column(title="board", value=lambda row: row.board.name, align="left"),
    Column(title="chip", value=lambda row: row.board.chip, align="left"),
    Column(title="flash, KiB", value=lambda row: row.board.flash_kib, text="{:,}".format),
    Column(title="RAM, KiB", value=lambda row: row.board.ram_kib, text="{:,}".format),
    Column(title="models that it has the memory for", value=lambda row: row.words, align="left"),
)


def _blocks(run: Run) -> Iterator[Block]:
    named = board_needs(run)
    shown: dict[tuple[str, ...], BoardNeeds] = {}
    for cell in run.cells:
        if cell.name in named and cell.passed:
            shown.setdefault(_jobs(run, cell), named[cell.name])
    if shown:
        axes = differing(run.names, [row.axes for row in shown.values()], always=run.axes[0].name)
        yield Words(text=MEMORY_HEADING)
        yield grid([*by_axes(axes, lambda row: row.axes), *MEMORY_COLUMNS], shown.values())
        yield Words(text=BOARDS_HEADING)
        yield grid(BOARD_COLUMNS, boards_with_memory(shown.values()))


def _jobs(run: Run, cell: Cell) -> tuple[str, ...]:
    """Cells that share their measuring jobs share a row."""
    return tuple(key for key in cell.evidence if run.jobs[key].measurements)


MEMORY_SECTION = Section(name="memory", blocks=_blocks, columns=MEMORY_COLUMNS, rows=board_needs)
