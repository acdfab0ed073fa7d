"""The profiles of a run's cells, read from the artifacts in the store: the code that a call executed, the module, and
the MLIR of which it was compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from matrix.answers.profiles import UNNAMED_FILE, Profile
from matrix.artifacts.contents.executed import executed_code, read_blocks
from matrix.artifacts.contents.mlir_lines import operations_at
from matrix.artifacts.vmfb import read_container
from matrix.artifacts.vmfb_archive import open_container
from matrix.core.blobs import RUN_AGAIN, read_exactly
from matrix.core.errors import BlobDamaged, NoAnswer
from matrix.core.keys import sha256
from matrix.plan.backends.iree.counting import BLOCKS_FILE, PROFILED
from matrix.plan.graph import Plan
from matrix.plan.stages import exchanged, module_of
from matrix.results.run import Cell, FinishedJob, Run
from matrix.run.store import Store

TIP = "`why` with the same words says more; a target with a `counter` can be profiled: --target x86_64"


def profiles_of(plan: Plan, run: Run, store: Store) -> Iterator[Profile]:
    """The profile of each cell. Raises NoAnswer where a cell has none, and says why."""
    given = {digest: path for node in plan.nodes for _, path, digest in node.given}

    def place(digest: str) -> Path:
        return given.get(digest, store.blob(digest))

    for cell in run.cells:
        yield _profile(cell, run, place)


def _profile(cell: Cell, run: Run, place: Callable[[str], Path]) -> Profile:
    jobs = [run.jobs[key] for key in cell.evidence]
    job = next((each for each in jobs if BLOCKS_FILE in each.artifacts), None)
    if job is None:
        reason = cell.reason or cell.said or cell.words
        raise NoAnswer(f"{cell.name}: not profiled: {reason}", tip=run.next_step(cell.signature) or TIP)
    name = module_of(job.inputs)
    blocks = read_exactly(place(job.artifacts[BLOCKS_FILE].sha256), job.artifacts[BLOCKS_FILE].sha256)
    with open_container(_whole(place, job.inputs[name])) as container:
        executables = read_container(container)[1]
    code = executed_code(read_blocks(blocks, f"{cell.name}: {BLOCKS_FILE}"), executables, f"{cell.name}: {name}")
    source, mlir = _source(jobs)
    lines = {line for each in code.dispatches for file, line in each.lines if file in (source, UNNAMED_FILE)}
    return Profile(
        axes=cell.axes,
        instructions=job.measurements[PROFILED],
        code=code,
        source=source,
        mlir=mlir,
        operations=operations_at(_whole(place, mlir), lines) if mlir else {},
    )


def _source(jobs: Sequence[FinishedJob]) -> tuple[str, str]:
    """The MLIR that a compiler took: its name and its sha256; empty for a module that came compiled."""
    for job in jobs:
        if name := exchanged(job.inputs):
            return name, job.inputs[name]
    return "", ""


def _whole(place: Callable[[str], Path], digest: str) -> Path:
    """The path of an artifact that has the bytes of its name. Raises BlobDamaged."""
    path = place(digest)
    try:
        whole = sha256(path) == digest
    except OSError:
        whole = False
    if not whole:
        raise BlobDamaged(f"the artifact {digest[:12]}…: its bytes changed on this disk", tip=RUN_AGAIN)
    return path
