"""Which well-known microcontrollers have the memory for the models of a run: by the published figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from matrix.plan.backends.iree.boards import Microcontroller
from matrix.results.files import read_run
from matrix.results.formats import as_markdown
from matrix.results.measured.memory import BoardNeeds, boards_with_memory, fits_board

PUBLISHED = Path(__file__).parents[3] / "results" / "cortex-m.json"
FIGURES = {"flash_bytes": 4096, "static_bytes": 512, "heap_bytes": 256, "stack_bytes": 256, "ticks": 7}


def test_the_published_models_by_board():
    text = as_markdown(read_run(PUBLISHED))
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(("| Arduino", "| BBC"))]
    found = {cells[0].strip(): cells[-1].strip() for cells in rows}
    assert found["Arduino Portenta H7, Giga R1"] == "linear, softmax, conv2d, ds_cnn"
    assert found["Arduino Nano 33 BLE"] == "linear, softmax, conv2d, ds_cnn"
    assert found["BBC micro:bit V2"] == "linear, softmax, conv2d"
    assert found["Arduino Uno R4"] == "none: each of them needs more"
    assert found["Arduino Uno R3"].startswith("none: IREE's compiler makes no code for an AVR")


@pytest.mark.parametrize(
    ("flash", "ram", "why", "fits"), [(4, 1, "", True), (3, 1, "", False), (4, 0, "", False), (4, 1, "no FPU", False)]
)
def test_a_board_has_the_memory_if_both_are_enough(flash: int, ram: int, why: str, fits: bool):
    board = Microcontroller(name="small", chip="M4", flash_kib=flash, ram_kib=ram, why=why)
    assert fits_board(BoardNeeds(axes={"model": "linear"}, figures=FIGURES), board) is fits


def test_a_program_that_did_not_run_fits_nowhere():
    linked = {name: FIGURES[name] for name in ("flash_bytes", "static_bytes")}
    assert not any(each.models for each in boards_with_memory([BoardNeeds(axes={"model": "linear"}, figures=linked)]))
