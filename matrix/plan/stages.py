"""From a node of the plan and the artifacts that it needs to a job with its key. Pure.

A stage is one `Recipe`: what it reads, what it leaves, and how its command line is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from matrix.artifacts.benchmark import publishable
from matrix.core.keys import job_key
from matrix.core.records import Job, Stage
from matrix.plan.catalogue import IMPORTER
from matrix.plan.graph import Node
from matrix.plan.source_builds import BENCHMARKER, RUNNER, STEPS, UNSTRIPPED

MLIR, VMFB, ONNX, PARAMETERS = "module.mlir", "module.vmfb", "model.onnx", "parameters.irpa"
INPUT, EXPECTED, OUTPUT = "input_*.npy", "expected_*.npy", "output_*.npy"
TIMES = "benchmark.json"
PROGRAMS = (RUNNER, BENCHMARKER)
"""Inputs that a job starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A stage: the artifacts that it reads and leaves (patterns) and its command line, or the script it runs.

    Without one of the `needed` artifacts it has not passed, whatever its exit code says.

    The command line names files relative to the job's folder: locations in a module's debug information then do not
    depend on where the store lies, and neither does its digest.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    needed: tuple[str, ...]
    command: Callable[[Node, Mapping[str, str]], tuple[str, ...]]
    script: str = ""
    strip: Callable[[bytes], bytes] | None = None
    """Takes host names and paths out of an output before it is stored."""


def matching(names: Mapping[str, str], pattern: str) -> list[str]:
    """The names that fit, `input_2` before `input_10`."""
    return sorted((name for name in names if fnmatchcase(name, pattern)), key=lambda name: (len(name), name))


def _export(_node: Node, _artifacts: Mapping[str, str]) -> tuple[str, ...]:
    return ("export.py",)


def _import(node: Node, artifacts: Mapping[str, str]) -> tuple[str, ...]:
    """The program is an input like the model: laid into the job's folder, and in the key by its content."""
    opset = dict(node.parameters).get("opset_version", "")
    raised = ("--opset-version", opset) if opset else ()
    reference = () if matching(artifacts, EXPECTED) else ("--reference",)
    return ("python", IMPORTER, ONNX, *raised, *reference)


def _compile(node: Node, _artifacts: Mapping[str, str]) -> tuple[str, ...]:
    return ("iree-compile", MLIR, "-o", VMFB, *node.flags)


def _build(node: Node, _artifacts: Mapping[str, str]) -> tuple[str, ...]:
    return ("python", STEPS, *node.flags)


def _run(node: Node, artifacts: Mapping[str, str]) -> tuple[str, ...]:
    function = dict(node.parameters)["function"]
    parameters = [f"--parameters=model={PARAMETERS}"] if PARAMETERS in artifacts else []
    inputs = [f"--input=@{name}" for name in matching(artifacts, INPUT)]
    outputs = [f"--output=@{name.replace('expected', 'output')}" for name in matching(artifacts, EXPECTED)]
    module = (f"--module={VMFB}", *parameters, f"--function={function}")
    tool = f"./{RUNNER}" if RUNNER in artifacts else RUNNER
    return (tool, *module, *inputs, *outputs, *node.flags)


def run_outputs(artifacts: Mapping[str, str]) -> tuple[str, ...]:
    """Nobody knows how many outputs there are where none are expected: the run then leaves none."""
    return (OUTPUT,) if matching(artifacts, EXPECTED) else ()


def _benchmark(node: Node, artifacts: Mapping[str, str]) -> tuple[str, ...]:
    """One round: five samples of at least 0.2 s each after a warm-up. The JSON goes to a file, as its context names
    the host, and a log is kept as it is."""
    function = dict(node.parameters)["function"]
    parameters = [f"--parameters=model={PARAMETERS}"] if PARAMETERS in artifacts else []
    inputs = [f"--input=@{name}" for name in matching(artifacts, INPUT)]
    module = (f"--module={VMFB}", *parameters, f"--function={function}")
    how = ("--benchmark_repetitions=5", "--benchmark_min_time=0.2s", "--benchmark_min_warmup_time=0.1")
    out = (f"--benchmark_out={TIMES}", "--benchmark_out_format=json", "--print_statistics")
    tool = f"./{BENCHMARKER}" if BENCHMARKER in artifacts else BENCHMARKER
    return (tool, *module, *inputs, *how, *out, *node.flags)


RECIPES: Mapping[Stage, Recipe] = {
    Stage.EXPORT: Recipe(
        inputs=(),
        outputs=(MLIR, "export.json", INPUT, EXPECTED, PARAMETERS),
        needed=(MLIR, "export.json", EXPECTED),
        command=_export,
        script="export.py",
    ),
    Stage.IMPORT: Recipe(
        inputs=(IMPORTER, ONNX, INPUT),
        outputs=(MLIR, "import.json", INPUT, EXPECTED),
        needed=(MLIR, "import.json"),
        command=_import,
    ),
    Stage.COMPILE: Recipe(inputs=(MLIR,), outputs=(VMFB,), needed=(VMFB,), command=_compile),
    Stage.BUILD: Recipe(
        inputs=(STEPS,),
        outputs=(RUNNER, UNSTRIPPED, BENCHMARKER),
        needed=(RUNNER, UNSTRIPPED),
        command=_build,
    ),
    Stage.RUN: Recipe(inputs=(RUNNER, VMFB, INPUT, PARAMETERS), outputs=(OUTPUT,), needed=(OUTPUT,), command=_run),
    Stage.BENCHMARK: Recipe(
        inputs=(BENCHMARKER, VMFB, INPUT, PARAMETERS),
        outputs=(TIMES,),
        needed=(TIMES,),
        command=_benchmark,
        strip=publishable,
    ),
}


def make_job(node: Node, *, environment: str, artifacts: Mapping[str, str], export_digest: str) -> Job:
    """The job of a node. `environment` is the digest of its realised environment, `artifacts` maps the names of all
    upstream artifacts to their sha256, `export_digest` is that of the export script."""
    recipe = RECIPES[node.stage]
    wanted = [name for pattern in recipe.inputs for name in matching(artifacts, pattern)]
    wanted += [value for name, value in node.parameters if name == "weights"]
    inputs = tuple((name, artifacts[name]) for name in wanted)
    launcher = node.request.platform.emulator if node.request and node.request.platform else ()
    command = (*launcher, *recipe.command(node, artifacts))
    facts = tuple((name, value) for name, value in node.parameters if not name.endswith("_file"))
    key = job_key(
        stage=node.stage,
        environment=environment,
        script=export_digest if recipe.script else "",
        inputs=inputs,
        command=command,
        arguments=facts if recipe.script else (),
        limits=node.limits,
        repeat=node.repeat,
        machine=node.machine,
        beside=node.beside,
    )
    return Job(
        key=key,
        stage=node.stage,
        label=node.label,
        environment=environment,
        inputs=inputs,
        outputs=recipe.outputs if node.stage is not Stage.RUN else run_outputs(artifacts),
        argv=() if recipe.script else command,
        script=recipe.script,
        arguments=node.parameters if recipe.script else (),
        limits=node.limits,
    )


def complete(job: Job, names: Iterable[str]) -> bool:
    """Whether a job left all that its stage has to leave. A model that ends the process leaves a part, or nothing.

    A run of which no outputs are expected has nothing to leave.
    """
    left = dict.fromkeys(names, "")
    return not job.outputs or all(matching(left, pattern) for pattern in RECIPES[job.stage].needed)
