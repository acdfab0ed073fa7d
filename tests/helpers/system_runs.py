"""A run that compares systems, made here: IREE with two sets of flags, and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping

from matrix.core.records import Outcome
from matrix.results.judge import Comparison
from matrix.results.measured.figures import Timed, Times, Verdict
from matrix.results.run import Cell, File, FinishedJob, RealisedEnvironment, Run, RunAxis, RunValue

AXES = ("backend", "model", "torch", "compiler", "runtime", "flags", "onnxruntime", "target")
IREE = {"backend": "iree", "compiler": "3.13.0", "runtime": "3.13.0", "flags": "host-cpu", "onnxruntime": "-"}
SLOW = {**IREE, "flags": "default"}
ONNX = {"backend": "onnxruntime", "compiler": "-", "runtime": "-", "flags": "-", "onnxruntime": "1.32.0"}
EQUAL = Comparison(error=0.0, tolerance=1e-3, text="equal")
WORDS = {Verdict.FASTER: 0.25, Verdict.SLOWER: 4.0, Verdict.SAME: 1.0}


def job(key: str, stage: str, made: dict[str, int], taken: tuple[str, ...] = ()) -> FinishedJob:
    return FinishedJob(
        key=key, stage=stage, outcome=Outcome.PASSED, lock="", exit_code=0, signal=0, seconds=2.0, cpu_seconds=1.5,
        inputs={name: f"{key.partition(' ')[2]} {name}" for name in taken},
        environment=stage,
        artifacts={name: File(sha256=f"{key.partition(' ')[2]} {name}", bytes=size) for name, size in made.items()},
    )  # fmt: skip


def value(label: str) -> RunValue:
    return RunValue(label=label)


def made_run(verdicts: Mapping[str, Mapping[str, Verdict]]) -> Run:
    """Model -> system -> verdict beside IREE on the host's CPU, ten rounds; a ratio for each verdict."""
    cells, jobs, tables = [], {}, []
    for model, found in verdicts.items():
        rows = []
        for system, own in {"base": IREE, "default": SLOW, "onnx": ONNX}.items():
            place = f"{model} {system}"
            stages = ("to-onnx", "onnx-run") if own is ONNX else ("compile", "run")
            name = "converted.onnx" if own is ONNX else "module.vmfb"
            front = job(f"{stages[0]} {place}", stages[0], {name: 5000, "input_0.npy": 700, "convert.json": 9})
            last = job(f"{stages[1]} {place}", stages[1], {"output_0.npy": 64}, (name, "input_0.npy"))
            jobs |= {front.key: front, last.key: last}
            axes = {"model": model, "target": "x86_64", "torch": "2.9.1", **own}
            axes = {axis: axes[axis] for axis in AXES}
            cells.append(Cell(
                axes=axes, outcome=Outcome.PASSED, stage=stages[1], jobs=(front.key, last.key), comparison=EQUAL
            ))  # fmt: skip
            ratio = 1.0 if system == "base" else WORDS[found[system]]
            rows.append(Timed(
                axes={axis: axes[axis] for axis in own}, baseline=system == "base", median_seconds=0.01 * ratio,
                ratio=None if system == "base" else ratio, verdicts=() if system == "base" else (found[system],) * 2,
                seconds_by_round={str(number): 0.01 * ratio for number in range(1, 11)}, peak_bytes=1_000_000,
            ))  # fmt: skip
        shared = {"model": model, "torch": "2.9.1", "target": "x86_64"}
        tables.append(Times(shared=shared, axes=tuple(IREE), rows=tuple(rows), noise_floor=1.02, passes=2))
    axes = tuple(
        RunAxis(
            name=name,
            values=tuple(
                RunValue(label=each) for each in dict.fromkeys(cell.axes[name] for cell in cells) if each != "-"
            ),
            tied="runtime" if name == "compiler" else "",
        )
        for name in AXES
    )
    return Run(
        preset="peers",
        question="Who?",
        axes=axes,
        cells=tuple(cells),
        jobs=jobs,
        times=tuple(tables),
        baseline=IREE,
        environments={
            stage: RealisedEnvironment(digest=stage, evidence={"package_bytes": {stage: size}} if size else {})
            for stage, size in {"compile": 9, "run": 30_000, "to-onnx": 9, "onnx-run": 0}.items()
        },
    )


TWO = {
    "linear": {"default": Verdict.SAME, "onnx": Verdict.SLOWER},
    "mobilenet_v2": {"default": Verdict.SLOWER, "onnx": Verdict.FASTER},
}
