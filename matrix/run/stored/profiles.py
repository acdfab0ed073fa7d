"""The profiles of a run's cells, read from the artifacts in the store: the code that a call executed, the module, and
the MLIR of which it was compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from matrix.artifacts.contents.executed import executed_code, read_blocks
from matrix.artifacts.contents.mlir_lines import MlirOperation, operations_at
from matrix.artifacts.vmfb import read_container
from matrix.artifacts.vmfb_archive import open_container
from matrix.core.blobs import RUN_AGAIN, read_exactly
from matrix.core.errors import BlobDamaged, FileFault
from matrix.core.keys import sha256
from matrix.plan.backends.iree.counting import BLOCKS_FILE, PROFILED
from matrix.plan.stages import exchanged, module_of
from matrix.results.measured.profiled_code import (
    UNNAMED_FILE,
    CodeProfile,
    code_profile,
    profiled_model,
)
from matrix.results.run import Cell, FinishedJob, Run
from matrix.run.judging import without_folders

ArtifactPlace = Callable[[str], Path]
"""The path of an artifact's bytes, by its sha256."""


def with_profiles(run: Run, place: ArtifactPlace) -> Run:
    """The run with the profiles of its cells. A cell whose module cannot be read as one says why, and has none."""
    profiles: dict[str, CodeProfile] = {}
    found: dict[str, dict[int, MlirOperation]] = {}
    sources: dict[str, str] = {}
    cells = []
    for cell in run.cells:
        jobs = [run.jobs[key] for key in cell.evidence]
        job = next((each for each in jobs if BLOCKS_FILE in each.artifacts and PROFILED in each.measurements), None)
        if job is None or job.key in profiles:
            cells.append(cell)
            continue
        source, mlir = _source(jobs)
        try:
            profiles[job.key], operations = _profile(job, (source, mlir), place)
        except (BlobDamaged, FileFault) as fault:
            cells.append(_without(cell, fault))
            continue
        found.setdefault(mlir, {}).update(operations)
        sources[mlir] = source
        cells.append(cell)
    models = {mlir: profiled_model(sources[mlir], operations) for mlir, operations in found.items() if mlir}
    return replace(run, cells=tuple(cells), profiles=profiles, profiled_models=models) if cells != [] else run


def _without(cell: Cell, fault: BlobDamaged | FileFault) -> Cell:
    return replace(cell, reason=without_folders(f"not profiled: {fault}; {fault.tip}"))


def _profile(
    job: FinishedJob, read: tuple[str, str], place: ArtifactPlace
) -> tuple[CodeProfile, dict[int, MlirOperation]]:
    """The profile of a job whose module was compiled of the MLIR `read`: its name and its sha256. Raises BlobDamaged,
    FileFault."""
    source, mlir = read
    name = module_of(job.inputs)
    blocks = read_exactly(place(job.artifacts[BLOCKS_FILE].sha256), job.artifacts[BLOCKS_FILE].sha256)
    with open_container(_whole(place, job.inputs[name])) as container:
        executables = read_container(container)[1]
    code = executed_code(read_blocks(blocks, BLOCKS_FILE), executables, name)
    lines = {line for each in code.dispatches for file, line in each.lines if file in (source, UNNAMED_FILE)}
    operations = operations_at(_whole(place, mlir), lines) if mlir else {}
    model = profiled_model(source, operations)
    return code_profile(code, job.measurements[PROFILED], model, mlir), operations


def _source(jobs: Sequence[FinishedJob]) -> tuple[str, str]:
    """The MLIR that a compiler took: its name and its sha256; empty for a module that came compiled."""
    for job in jobs:
        if name := exchanged(job.inputs):
            return name, job.inputs[name]
    return "", ""


def _whole(place: ArtifactPlace, digest: str) -> Path:
    """The path of an artifact that has the bytes of its name. Raises BlobDamaged."""
    path = place(digest)
    try:
        whole = sha256(path) == digest
    except OSError:
        whole = False
    if not whole:
        raise BlobDamaged(f"the artifact {digest[:12]}…: its bytes changed on this disk", tip=RUN_AGAIN)
    return path
