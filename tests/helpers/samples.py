"""Small records for the tests: specs from a few lines, a catalogue without files, results without tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matrix.core.records import Artifact, JobEnd, JobResult, Lock, Outcome, Stage
from matrix.plan.catalogue import Catalogue, FlagRow, Model
from matrix.plan.graph import Plan, make_plan
from matrix.plan.locks import LockIndex
from matrix.plan.spec import Spec, parse_spec
from matrix.plan.targets import Target

RELEASES = ("2.9.0", "3.0.0", "3.7.0", "3.7.1", "3.10.0")
REFUSED = "2.0.0"
PYTHONS = ("3.9", "3.10", "3.11")


def spec_of(body: str = "", *, head: str = 'format = 1\nname = "small"\nquestion = "Does it work?"\n') -> Spec:
    return parse_spec(head + body, source="small.toml", base=Path())


def lock(kind: str, pins: Mapping[str, str], *, refusal: str = "") -> Lock:
    name = f"{kind}/{'+'.join(pins.values())}" + (".cuda" if kind == "exporter" else "")
    return Lock(name=name, path=Path(f"{name}.txt"), digest=name, pins=tuple(pins.items()), refusal=refusal)


PROGRAMS_OF_STAGES = ("export.py", "import_onnx.py", "other_inputs.py", "static_library.c", "steps.py", "phases.py")


def catalogue(machine: str = "x86_64") -> Catalogue:
    locks = [lock("exporter", {"torch": "2.9.1", "iree-turbine": "3.9.0"})]
    for kind in ("compiler", "runtime"):
        locks += [lock(kind, {f"iree-base-{kind}": release}) for release in RELEASES]
        locks.append(lock(kind, {f"iree-base-{kind}": REFUSED}, refusal="no wheel for this Python"))
    given = tuple((name, Path(name), name) for name in ("module.mlir", "input_0.npy", "expected_0.npy"))
    targets = {
        name: Target(name=name, machine=name, flags={"compile": (f"--triple={name}",), "run": ("--device=local-sync",)})
        for name in ("x86_64", "aarch64")
    }
    return Catalogue(
        locks=LockIndex(locks=tuple(locks), pythons=PYTHONS),
        models={
            "linear": Model(name="linear", path=Path("linear.py"), digest="d1"),
            "copy": Model(name="copy", path=Path("linear.py"), digest="d1"),
            "given": Model(name="given", form="mlir", artifacts=given, function="forward"),
        },
        targets=targets,
        flags={
            "default": FlagRow(name="default", flags={}),
            "again": FlagRow(name="again", flags={}),
            "o3": FlagRow(name="o3", flags={"compile": ("-O3",)}),
        },
        machine=machine,
        programs={name: (name, Path(name), name) for name in PROGRAMS_OF_STAGES},
    )


def plan_of(body: str = "", *, machine: str = "x86_64") -> Plan:
    return make_plan(spec_of(body), catalogue(machine))


STAGES = ("export", "compile", "run")
"""What a cell of a Python model goes through."""
OUTPUTS = {
    "export": ("module.mlir", "input_0.npy", "expected_0.npy"),
    "import": ("module.mlir", "input_0.npy", "expected_0.npy"),
    "compile": ("module.vmfb",),
    "phases": ("phases.json",),
    "build": ("iree-run-module", "iree-run-module.debug"),
    "run": ("output_0.npy",),
    "benchmark": ("benchmark.json",),
}


INPUTS = {
    "compile": (("module.mlir", "m1"),),
    "run": (("module.vmfb", "v1"),),
    "benchmark": (("module.vmfb", "v1"),),
}


def result(
    stage: Stage = "run",
    outcome: Outcome = Outcome.PASSED,
    *,
    key: str = "key",
    log: str = "",
    end: str = "exited",
    exit_code: int | None = None,
    signal: int = 0,
    outputs: Sequence[Artifact] | None = None,
    finished_at: str = "2026-01-01T00:00:00Z",
) -> JobResult:
    passed = outcome is Outcome.PASSED
    if outputs is None:
        names = OUTPUTS[stage] if passed else ()
        outputs = [Artifact(name=name, digest=name.replace("output", "expected"), size=1) for name in names]
    if exit_code is None:
        exit_code = 0 if passed else 1
    return JobResult(
        key=key,
        stage=stage,
        outcome=outcome,
        label=f"a {stage}",
        environment=f"environment of {stage}",
        end=JobEnd(
            key=key, end=end, exit_code=exit_code, signal=signal, seconds=0.5, log=log, log_bytes=len(log.encode())
        ),
        outputs=tuple(outputs),
        command=("tool", "--flag"),
        inputs=INPUTS.get(stage, ()),
        finished_at=finished_at,
        machine="x86_64, a CPU, 2 cores",
        engine="venv",
    )
