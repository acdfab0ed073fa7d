"""Profiles read from a store's artifacts: of a real module, and why a cell has none."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from counted_runs import counted_run

from matrix.artifacts.contents.debug_lines import read_functions
from matrix.artifacts.contents.instructions import disassemble
from matrix.artifacts.vmfb import read_container
from matrix.artifacts.vmfb_archive import open_container
from matrix.results.measured.profiles import profiled_cells
from matrix.results.run import File, Run
from matrix.run.stored.profiles import with_profiles

DATA = Path(__file__).parents[2] / "data" / "vmfb"
PLACE = ("linear", "x86_64", "3.13.0")
SPARE = 20
"""Instructions of the runtime."""


def blocks_of(module: Path) -> bytes:
    """What the profiler writes of a call that enters each function once."""
    with open_container(module) as container:
        (loaded,) = read_container(container)[1]
    text = loaded.elf.section(".text") if loaded.elf else None
    assert loaded.elf and text
    rows = []
    for each in read_functions(loaded.content, loaded.elf, "it"):
        start = text.offset + each.low - text.address
        code = loaded.content[start : start + each.high - each.low]
        sizes = "".join(f"{found.size:x}" for found in disassemble("x86_64", code, each.low))
        rows.append([0x7F0000 * 4096 + each.low, 1, sizes, code.hex()])
    return json.dumps({"blocks": rows}).encode()


class Stored:
    """Artifacts in a folder by their digest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / digest).write_bytes(content)
        return digest

    def place(self, digest: str) -> Path:
        return self.folder / digest


def profiled(stored: Stored, module: bytes, blocks: bytes) -> Run:
    """A run of one cell whose job left these blocks of the module."""
    run = counted_run({PLACE: None})
    ((key, job),) = run.jobs.items()
    whole = sum(row[1] * len(row[2]) for row in json.loads(blocks)["blocks"]) + SPARE if blocks[:1] == b"{" else 100
    given = {"module.vmfb": stored.put(module)}
    left = {"blocks.json": File(sha256=stored.put(blocks), bytes=len(blocks))}
    measured = {"profiled_instructions": whole}
    return replace(run, jobs={key: replace(job, inputs=given, artifacts=left, measurements=measured)})


@pytest.fixture
def stored(tmp_path) -> Stored:
    return Stored(tmp_path)


def test_the_profile_of_a_module_is_in_the_run(stored):
    module = DATA / "plain-3.13.0.vmfb"
    run = with_profiles(profiled(stored, module.read_bytes(), blocks_of(module)), stored.place)
    (profile,) = profiled_cells(run).values()
    assert run.cells[0].reason == ""
    assert profile.code.runtime == SPARE
    assert profile.code.named == profile.code.kernel > 0
    assert all(each.calls == 1 for each in profile.code.dispatches)
    assert profile.source == "" and profile.code.mlir == ""  # the module came compiled


def stripped(whole: bytes) -> bytes:
    """The module with sections of other names, and the checksums of that."""
    made = whole.replace(b".debug_", b".bedug_")
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        for each in archive.infolist():
            now = zlib.crc32(archive.read(each).replace(b".debug_", b".bedug_"))
            made = made.replace(each.CRC.to_bytes(4, "little"), now.to_bytes(4, "little"))
    return made


DAMAGED = {
    "cut": (lambda whole: whole[:100], "read "),
    "none": (lambda whole: b"no module", "expected a zip or a FlatBuffer of IREE's"),
    "stripped": (stripped, "read no debug information, expected the names"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_module_that_names_nothing_has_a_reason_and_no_profile(stored, damage):
    module = DATA / "plain-3.13.0.vmfb"
    spoil, said = DAMAGED[damage]
    run = with_profiles(profiled(stored, spoil(module.read_bytes()), blocks_of(module)), stored.place)
    assert run.profiles == {} and profiled_cells(run) == {}
    assert run.cells[0].reason.startswith("not profiled: ")
    assert said in run.cells[0].reason
    assert str(stored.folder) not in run.cells[0].reason


def test_blocks_that_are_cut_or_changed_on_the_disk_give_a_reason_and_no_profile(stored):
    module = DATA / "plain-3.13.0.vmfb"
    run = with_profiles(profiled(stored, module.read_bytes(), b"cut"), stored.place)
    assert run.profiles == {}
    assert "not profiled: blocks.json: read no blocks of the profiler" in run.cells[0].reason
    whole = profiled(stored, module.read_bytes(), blocks_of(module))
    (job,) = whole.jobs.values()
    stored.place(job.artifacts["blocks.json"].sha256).write_bytes(b"other")
    changed = with_profiles(whole, stored.place)
    assert changed.profiles == {} and "its bytes changed on this disk" in changed.cells[0].reason


def test_another_modules_blocks_give_no_number(stored):
    blocks = blocks_of(DATA / "plain-3.13.0.vmfb")
    run = with_profiles(profiled(stored, (DATA / "aarch64-3.13.0.vmfb").read_bytes(), blocks), stored.place)
    assert run.profiles == {}
    assert "read no block of this module's code" in run.cells[0].reason
