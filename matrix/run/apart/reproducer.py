"""A reproducer of a wrong dispatch: the dispatch alone, its inputs, what it should make, and two command lines.

It has at most LIMIT_BYTES. Inputs that are larger are seeded within the ranges of the real ones, and it is measured
that they reproduce it.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from matrix.answers.blaming.answer import Blame, LookedAt
from matrix.artifacts.npy import NpyFault, read_npy
from matrix.core import processes
from matrix.core.data import data_root
from matrix.core.errors import NoAnswer, StoreUnusable, UsageError
from matrix.plan.backends.iree.cutting import (
    BY_VMVX,
    CUT_STAGES,
    DISPATCH_FILES,
    INTERPRETED_FILES,
    ON_TARGET,
    words_by_hand,
)
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.plan.user_inputs import UserModel
from matrix.run.apart.examining import Examiner, TakenApart, alone_spec
from matrix.run.carry_out import resolved
from matrix.run.planning import plan_for

LIMIT_BYTES = 50_000
SEEDED = "seeded_inputs.py"
SEED_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reproducer:
    """A dispatch that departs, its inputs and its outputs as sha256, and whether the inputs are seeded."""

    apart: TakenApart
    looked: LookedAt
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    rows: tuple[dict[str, object], ...] = ()


def write_reproducer(blame: Blame, apart: TakenApart, examiner: Examiner, folder: Path) -> tuple[str, ...]:
    """Writes the first wrong dispatch to a folder; returns what to say of it."""
    looked = blame.first
    assert looked is not None
    dispatch = looked.dispatch
    real = _Reproducer(
        apart=apart,
        looked=looked,
        inputs=tuple(map(apart.value, dispatch.takes)),
        outputs=tuple(map(apart.value, dispatch.makes)),
    )
    files = _files(real, blame, examiner)
    told = "with the inputs that it had"
    if _size(files) > LIMIT_BYTES:
        seeded = _seeded(real, examiner)
        if seeded is not None:
            files, told = _files(seeded, blame, examiner), "with seeded inputs in the ranges of the real ones"
        else:
            told += "; seeded ones do not reproduce it"
    size = _size(files)
    _write(folder, files)
    over = "" if size <= LIMIT_BYTES else f"; over the limit of {LIMIT_BYTES // 1000} kB: "
    over += "" if not over else f"the largest file is {max(files, key=lambda name: len(files[name]))}"
    return (f"{folder}, {size / 1000:.1f} kB, {told}{over}", *_commands(real))


def _seeded(real: _Reproducer, examiner: Examiner) -> _Reproducer | None:
    """The same dispatch on seeded inputs, if it departs on them too: it is taken apart once more, as a model that is
    cut already."""
    rows = [_row(examiner.read(real.apart, digest), place) for place, digest in enumerate(real.inputs)]
    if any(row is None for row in rows):
        return None
    found = tuple(row for row in rows if row is not None)
    with TemporaryDirectory(dir=examiner.store.places.scratch) as name:
        folder = Path(name)
        (folder / "inputs.json").write_text(json.dumps(found), encoding="utf-8")
        script = data_root() / "scripts" / SEEDED
        done = processes.run([sys.executable, str(script)], timeout=SEED_SECONDS, cwd=folder)
        if not done.ok:
            raise StoreUnusable(f"the seeded inputs cannot be made: {done.tail}", tip="report it with this text")
        made = [examiner.store.put_copy(folder / str(row["name"]), str(row["name"])) for row in found]
    model = UserModel(
        name="reproducer",
        form=examiner.alone_model(real.apart, real.looked.dispatch, "reproducer").form,
        path=str(examiner.place(real.apart, real.apart.file(DISPATCH_FILES, real.looked.dispatch.module))),
        inputs=tuple(str(examiner.store.blob(each.digest)) for each in made),
        function=real.apart.module.function,
    )
    spec = alone_spec(real.apart, {model.name: model})
    spec = replace(spec, stages=(*spec.stages, *CUT_STAGES))
    plan = resolved(lambda: plan_for(spec, examiner.nothing, examiner.options.store))
    words = ("blame", "reproducer", *(each.digest for each in made))
    try:
        apart = examiner.take_apart(plan, words)
    except NoAnswer:
        return None
    looked = examiner.examine(apart, words).first
    if looked is None:
        return None
    outputs = tuple(map(apart.value, looked.dispatch.makes))
    return replace(
        real, apart=apart, looked=looked, inputs=tuple(each.digest for each in made), outputs=outputs, rows=found
    )


def _row(content: bytes, place: int) -> dict[str, object] | None:
    """How an input can be seeded; None where it cannot."""
    import numpy

    try:
        array = read_npy(content)
    except NpyFault:
        return None
    if array.dtype.kind not in "fi" or not array.size or not numpy.isfinite(array).all():
        return None
    low, high = array.min().item(), array.max().item()
    return {"name": f"input_{place}.npy", "dtype": array.dtype.name, "shape": array.shape, "low": low, "high": high}


def _files(found: _Reproducer, blame: Blame, examiner: Examiner) -> dict[str, bytes]:
    """The files of a reproducer. Outputs that are large stay out: the second command computes them."""
    number = found.looked.dispatch.module
    files = {
        f"{ON_TARGET}.mlir": examiner.read(found.apart, found.apart.file(DISPATCH_FILES, number)),
        f"{BY_VMVX}.mlir": examiner.read(found.apart, found.apart.file(INTERPRETED_FILES, number)),
    }
    if found.rows:
        files["inputs.json"] = (json.dumps(found.rows, indent=1) + "\n").encode()
        files[SEEDED] = (data_root() / "scripts" / SEEDED).read_bytes()
    else:
        files |= {f"input_{at}.npy": examiner.read(found.apart, each) for at, each in enumerate(found.inputs)}
    outputs = {f"expected_{at}.npy": examiner.read(found.apart, each) for at, each in enumerate(found.outputs)}
    if _size(files) + _size(outputs) < LIMIT_BYTES:
        files |= outputs
    files["README.md"] = _readme(found, blame, bool(outputs.keys() & files.keys())).encode()
    return files


def _readme(found: _Reproducer, blame: Blame, whole: bool) -> str:
    looked = found.looked
    first = blame.first
    assert first is not None
    seeded = [f"python3 {SEEDED}", ""] if found.rows else []
    lines = [
        f"# Dispatch {first.dispatch.ordinal} of {blame.cell.axes[MODEL_AXIS.name]} is wrong",
        "",
        f"`{first.dispatch.name}`" + (f" computes {first.computes}." if first.computes else "."),
        "",
        *(f"- {axis}: `{label}`" for axis, label in blame.cell.axes.items() if label != "-"),
        "",
        f"Here: {looked.ended}.",
        "",
        "What it should make is in `expected_*.npy`; the first command computes it again."
        if whole
        else "What it should make, the first command computes.",
        "",
        "```",
        *seeded,
        *_commands(found),
        "```",
        "",
    ]
    return "\n".join(lines)


def _commands(found: _Reproducer) -> tuple[str, ...]:
    """Compile and run, by VMVX and for the target, as the jobs of the dispatch did it."""
    ran = found.looked.commands
    return tuple(" && ".join(shlex.join(words_by_hand(each, name)) for each in ran) for name in (BY_VMVX, ON_TARGET))


def _size(files: dict[str, bytes]) -> int:
    return sum(map(len, files.values()))


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Raises UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise UsageError(
            f"--reproducer: {folder} cannot be written ({error.strerror}), expected a folder that is yours",
            tip="nothing is lost: the same command writes it to another one",
        ) from None
