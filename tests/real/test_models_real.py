"""Models in the newest exporter: the reference models are alive, bad ones have names, options reach the tools."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from pathlib import Path

import numpy
import pytest
from command_line import ROOT, Ran, good, matrix, new_store, quoted, standing
from documents import OWN_MODEL
from own_models import line

from matrix.engines.confinement import confinement_words
from matrix.results.files import parse_run

pytestmark = pytest.mark.real

MODELS = sorted((ROOT / "scripts" / "models").glob("*.py"))

LOOK = """
import importlib.util, json, sys
import export, torch

def answers(module, inputs):
    with torch.no_grad():
        out = module(*inputs)
    return out if isinstance(out, tuple) else (out,)

def other(x):
    return -x if x.is_floating_point() else x // 2

torch.set_num_threads(1)
for path in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("model", path)
    file = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(file)
    module, again = file.model().eval(), file.model().eval()
    state, same = module.state_dict(), again.state_dict()
    first, second = answers(module, file.inputs()), answers(module, [other(x) for x in file.inputs()])
    draw = torch.Generator().manual_seed(2)
    third = answers(module, [export.changed(x, draw) for x in file.inputs()])
    print(json.dumps({
        "parameters": sum(p.numel() for p in module.parameters()),
        "stated": file.PARAMETERS,
        "seeded": all(torch.equal(state[name], same[name]) for name in state),
        "scales": [x.abs().max().item() for x in first],
        "spreads": [x.std().item() for x in first],
        "moved": [(x - y).abs().max().item() / x.abs().max().item() for x, y in zip(first, second)],
        "said": [export.distance(x.numpy(), y.numpy()) for x, y in zip(first, third)],
    }))
"""

HEAD = """import ctypes, os, sys, time
import torch

class Net(torch.nn.Module):
    def forward(self, x):
        return x * 2

def model():
    return Net()

def inputs():
    return (torch.ones(2, 3),)

"""


def inputs_do(line: str) -> str:
    return f"{HEAD}def inputs():\n    {line}\n    return (torch.ones(2, 3),)\n"


def forward_gives(words: str) -> str:
    return f"{HEAD}class Net(torch.nn.Module):\n    def forward(self, x):\n        return {words}\n"


def model_gives(words: str) -> str:
    return f"{HEAD}def model():\n    return {words}\n"


BAD: dict[str, tuple[str, str]] = {
    "good": (HEAD, "passed"),
    "prints": (inputs_do('print("a"); os.write(1, b"\\xff{}\\n"); sys.__stdout__.write("no end")'), "passed"),
    "raises": (model_gives("1 // 0"), "failed at export: model-raised"),
    "leaves": (inputs_do("sys.exit(5)"), "failed at export: model-raised"),
    "syntax": ("def model(:\n", "failed at export: model-raised"),
    "imports": ("import no_such_package\n", "failed at export: model-import"),
    "empty": ("", "failed at export: model-file"),
    "no-module": (model_gives("{'weights': 1}"), "failed at export: model-file"),
    "no-inputs": (HEAD + "def inputs():\n    return object()\n", "failed at export: model-file"),
    "no-tensor": (forward_gives("(x, 'done')"), "failed at export: model-file"),
    "no-dtype": (forward_gives("x.to(torch.float8_e4m3fn)"), "failed at export: model-dtype"),
    "count": (HEAD + "PARAMETERS = 12\n", "failed at export: model-file"),
    "nan": (model_gives("torch.nn.Linear(3, 2).requires_grad_(False).apply(spoil)").replace(
        "def model", "def spoil(m):\n    m.weight[0, 0] = float('nan')\n\ndef model"), "failed at export: model-file"),
    "shape": (model_gives("torch.nn.Linear(4, 2)"), "failed at export: model-raised"),
    "dtype": (model_gives("torch.nn.Linear(3, 2).double()"), "failed at export: model-raised"),
    "branch": (forward_gives("x * 2 if x.sum() > 0 else x * 3"), "failed at export: data-dependent"),
    "loop": (forward_gives("sum(x for _ in range(int(x.sum())))"), "failed at export: data-dependent"),
    "exit-0": (inputs_do("os._exit(0)"), "failed at export: no-output"),
    "exit-7": (inputs_do("os._exit(7)"), "failed at export: no-output"),
    "crash": (inputs_do("ctypes.string_at(0)"), "crashed at export: model-crashed"),
    "hang": (inputs_do("time.sleep(3600)"), "timed_out at export: time-limit"),
    "memory": (inputs_do("torch.ones(1 << 40)"), "out_of_memory at export: model-allocation"),
}  # fmt: skip
SOME_BAD = ("good", "raises", "syntax", "no-tensor", "nan", "branch", "exit-7", "crash")
"""One of each kind."""
EDGES: dict[str, tuple[str, str]] = {
    "one-tensor": (HEAD + "def inputs():\n    return torch.ones(2, 3)\n", "passed"),
    "a-list": (HEAD + "def inputs():\n    return [torch.ones(2, 3)]\n", "passed"),
    "a-dict": (HEAD + "def inputs():\n    return {'x': torch.ones(2, 3)}\n", "passed"),
    "a-scalar": (forward_gives("torch.arange(5) * x") + "def inputs():\n    return 3\n", "passed"),
    "nested": (forward_gives("x[0] + x[1]['y']") +
        "def inputs():\n    return ([torch.ones(2), {'y': torch.ones(2)}],)\n", "passed"),
    "half-words": (forward_gives("x.to(torch.bfloat16) * 1.1"), "passed"),
    "doubles": (forward_gives("x.double() * 1.1"), "passed"),
    "complex": (forward_gives("torch.complex(x, x) * 2"), "failed at compile: complex-values"),
    "operator": (forward_gives("(x > 0) & (x < 1)"), "failed at compile: bool-operation"),
    "half-weights": (model_gives("torch.nn.Linear(3, 2).bfloat16()") +
        "def inputs():\n    return torch.ones(2, 3, dtype=torch.bfloat16)\n", "failed at compile: constant-converted"),
    "dynamic": (forward_gives("x * 2") + "def inputs():\n    return {'x': torch.ones(2, 3)}\n"
        "def dynamic_shapes():\n    return {'x': {0: torch.export.Dim('n', min=2, max=64)}}\n", "passed"),
}  # fmt: skip
"""What inputs() and the model may give, and what the newest compiler makes of it."""


@pytest.fixture(scope="module")
def exporting(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    """A store in which the exporter is installed once for the tests of this file."""
    store = new_store(tmp_path_factory.mktemp("exporting") / "store", shared)
    good("export", "linear", "-o", store.parent / "m.mlir", "--store", store, timeout=900)
    return store


def write(folder: Path, sources: dict[str, str], *, more: str = "", model: str = "") -> Path:
    """A spec with one model for each source. Returns its path."""
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    head = f'format = 1\nname = "own"\nquestion = "Does it work?"\n[axes]\nmodel = {quoted(sources)}\n'
    tables = "".join(f'[models.{name}]\nfile = "{name}.py"\n{model}' for name in sources)
    spec = folder / "own.toml"
    spec.write_text(head + more + tables, encoding="utf-8")
    return spec


def cells(ran: Ran) -> dict[str, dict[str, str]]:
    return {row["model"]: row for row in csv.DictReader(io.StringIO(ran.out))}


def test_the_reference_models_are_seeded_counted_and_alive(exporting):
    """An output that hardly depends on the input, or is next to nothing, would equal any other one."""
    (environment,) = (folder for folder in standing(exporting) if folder.name.startswith("exporter-"))
    argv = [str(environment / "bin" / "python"), "-c", LOOK, *map(str, MODELS)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    ran = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=600, env=env)
    found = {path.stem: json.loads(line) for path, line in zip(MODELS, ran.stdout.splitlines(), strict=True)}
    assert {name: found[name]["parameters"] for name in found if name != "linear"} == {
        "llama_2l": 17_966_336,
        "mobilenet_v2": 3_504_872,
        "mobilenet_v3_small": 2_542_856,
        "quartznet_5x5": 6_713_181,
        "whisper_tiny_decoder": 29_552_256,
        "whisper_tiny_encoder": 7_632_384,
        "yolox_nano": 912_159,
    }
    for name, one in found.items():
        assert one["parameters"] == one["stated"], name
        assert one["seeded"], name
        assert all(0.1 < scale < 1000 for scale in one["scales"]), (name, one)
        assert all(spread > scale / 100 for scale, spread in zip(one["scales"], one["spreads"], strict=True)), (
            name,
            one,
        )
        assert all(moved > 0.01 for moved in (*one["moved"], *one["said"])), (name, one)


KEEPS = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("cache", torch.zeros(4, 8))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        self.cache.add_(x)
        return x + 2 * self.cache * self.calls

def model():
    return Net()

def inputs():
    return (torch.randn(4, 8, generator=torch.Generator().manual_seed(0)),)
"""
"""Like a KV cache: every call sees what the calls before it left."""
STILL = model_gives("Still()").replace(
    "def model",
    "class Still(torch.nn.Module):\n    def forward(self, x):\n        return 1 + 1e-9 * x\n\ndef model",
)
PICKY = """
import torch

class Net(torch.nn.Module):
    def forward(self, x):
        assert x[0, 0] == 1
        return x * 2

def model():
    return Net()

def inputs():
    return (torch.ones(2, 3),)
"""
"""It fails on any other input."""


def test_what_a_model_keeps_and_whether_it_depends_on_its_inputs(tmp_path, exporting):
    """A model is exported in the state in which it was made, and passes on each compiler; outputs that any input gives
    are no pass."""
    axes = 'compiler = ["3.8.0", "3.13.0"]\nruntime = "= compiler"\n'
    spec = write(tmp_path, {"keeps": KEEPS, "still": STILL, "picky": PICKY}, more=axes)
    document = json.loads(good("run", spec, "--store", exporting, "--format", "json", timeout=900).out)
    run = parse_run(document, source="own")
    words = {(cell.axes["model"], cell.axes["compiler"]): cell.words for cell in run.cells}
    for compiler in ("3.8.0", "3.13.0"):
        assert words["keeps", compiler] == "passed"
        assert words["still", compiler] == "passed, degenerate"
        assert words["picky", compiler] == "passed"
    movements = {cell.axes["model"]: cell.movement for cell in run.cells}
    assert movements["keeps"].moved[0] > 0.1
    assert "expected_0.npy" in movements["still"].degenerate
    assert "the model on other inputs raised AssertionError" in movements["picky"].unknown
    why = good("why", "--preset", spec, "model=still", "compiler=3.13.0", "--store", exporting).out
    assert "outcome    passed, degenerate" in why and "hardly depends on the inputs" in why


READS = """
import os, pathlib, sys
import torch
{head}
FILES = {files}

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weights", torch.load({path}))

    def forward(self, x):
        return {forward}

def model():
    return Net()

def inputs():
    return (torch.ones(2, 3),)
"""


def reads(files: object, path: str, *, head: str = "", forward: str = "x * self.weights") -> str:
    return READS.format(files=files, path=path, head=head, forward=forward)


@pytest.mark.full
def test_files_beside_a_model_are_declared_and_in_the_key(tmp_path, exporting):
    """Weights and a Python file: what changes is exported again, and `export` writes the new weights."""
    (environment,) = (folder for folder in standing(exporting) if folder.name.startswith("exporter-"))
    write_weights = "import sys, torch; torch.save(torch.full((3,), float(sys.argv[2])), sys.argv[1])"
    beside = "pathlib.Path(__file__).resolve().parent / 'data' / 'weights.pt'"
    source = reads(("blocks.py", "data/"), beside, head="import blocks", forward="blocks.scaled(x) * self.weights")
    axes = 'compiler = "3.13.0"\nruntime = "3.13.0"\n'
    spec = write(tmp_path, {"mine": source}, more=axes)
    (tmp_path / "data").mkdir()

    def measured(weight: str, scale: str) -> int:
        (tmp_path / "blocks.py").write_text(f"def scaled(x):\n    return x * {scale}\n")
        made = [environment / "bin" / "python", "-c", write_weights, tmp_path / "data" / "weights.pt", weight]
        subprocess.run(made, check=True, timeout=120)
        ran = good("run", spec, "--store", exporting, "--format", "csv", timeout=900)
        assert cells(ran)["mine"]["outcome"] == "passed", ran.out
        return ran.jobs_run

    assert (measured("2", "3.0"), measured("2", "3.0")) == (3, 0)
    assert measured("5", "3.0") == 3
    assert measured("5", "7.0") == 3
    good("export", tmp_path / "mine.py", "-o", tmp_path / "m.mlir", "--arrays", "--store", exporting, timeout=900)
    assert (numpy.load(tmp_path / "m.expected_0.npy") == 35).all()


@pytest.mark.full
def test_a_file_that_is_not_declared_is_not_found_and_the_message_says_what_to_do(tmp_path, exporting):
    (tmp_path / "weights.pt").write_bytes(b"x")
    (tmp_path / "blocks.py").write_text("ONE = 1\n")
    sources = {
        "beside": reads((), "os.path.join(os.path.dirname(__file__), 'weights.pt')"),
        "absolute": reads((), f"{str(tmp_path / 'weights.pt')!r}"),
        "imports": reads((), "''", head="import blocks"),
        "finds": reads((), "''", head=f"sys.path.insert(0, {str(tmp_path)!r})\nimport blocks"),
    }
    spec = write(tmp_path, sources)
    spec.write_text(spec.read_text().replace("[axes]", 'stages = ["export"]\n[axes]'))
    found = cells(good("run", spec, "--store", exporting, "--format", "csv", timeout=900))
    assert {row["outcome"] for row in found.values()} == {"failed"}
    for name, said in {
        "beside": "a model sees those that its FILES name",
        "absolute": 'write FILES = ("weights.pt",)',
        "imports": "a model sees those that its FILES name",
        "finds": 'write FILES = ("blocks.py",)',
    }.items():
        assert said in found[name]["message"], found[name]
    assert all(str(tmp_path) not in row["message"] for row in found.values())


@pytest.mark.full
def test_the_expected_outputs_do_not_depend_on_the_free_cores(tmp_path, exporting):
    """With two threads, torch computes other last digits of MobileNetV2 than with one."""
    (environment,) = (folder for folder in standing(exporting) if folder.name.startswith("exporter-"))
    model = ROOT / "scripts" / "models" / "mobilenet_v2.py"
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import export; "
    code += f"export.run({{'model_file': {str(model)!r}}})"
    every = os.sched_getaffinity(0)
    if len(every) < 2:
        pytest.skip("needs two cores")
    written = []
    for cores in (sorted(every)[:1], every):
        folder = tmp_path / str(len(cores))
        folder.mkdir()
        argv = ["taskset", "-c", ",".join(map(str, cores)), environment / "bin" / "python", "-c", code]
        subprocess.run(argv, cwd=folder, check=True, timeout=600, capture_output=True)
        written.append((folder / "expected_0.npy").read_bytes())
    assert written[0] == written[1]


@pytest.mark.full
def test_what_a_model_may_take_and_give(tmp_path, exporting):
    more = 'torch = "2.9.1"\nturbine = "3.9.0"\ncompiler = "3.13.0"\nruntime = "3.13.0"\n'
    spec = write(tmp_path, {name: source for name, (source, _) in EDGES.items()}, more=more)
    document = json.loads(good("run", spec, "--store", exporting, "--format", "json", timeout=900).out)
    assert {cell["axes"]["model"]: words_of(cell) for cell in document["cells"]} == {
        name: expected for name, (_, expected) in EDGES.items()
    }
    allowed = {
        cell["axes"]["model"]: cell["evidence"]["comparison"]["allowed"]
        for cell in document["cells"]
        if "comparison" in cell["evidence"] and "allowed" in cell["evidence"]["comparison"]
    }
    assert allowed.get("doubles", "rtol 1e-06").startswith("rtol 1e-06")
    compiled = [job["command"] for job in document["jobs"].values() if job["stage"] == "compile"]
    kept = [command for command in compiled if "--iree-input-demote-f64-to-f32=false" in command]
    assert len(kept) == 1


def words_of(cell: dict) -> str:
    words = f"{cell['outcome']} at {cell['stage']}" if cell["outcome"] != "passed" else "passed"
    return words + (f": {cell['signature']}" if cell["signature"] else "")


@pytest.mark.parametrize("names", [SOME_BAD, pytest.param((*BAD,), marks=pytest.mark.full)], ids=["some", "all"])
def test_bad_models_end_by_name_and_the_run_goes_on(tmp_path, exporting, names):
    limits = "[limits.export]\nseconds = 15\nmemory_mib = 8192\n"
    spec = write(tmp_path, {name: BAD[name][0] for name in names}, more=limits)
    spec.write_text(spec.read_text().replace("[axes]", 'stages = ["export"]\n[axes]'))
    ran = good("run", spec, "--store", exporting, "--format", "json", timeout=900)
    document = json.loads(ran.out)
    ended = {cell["axes"]["model"]: words_of(cell) for cell in document["cells"]}
    assert ended == {name: BAD[name][1] for name in names}
    assert all(len(signature["next"]) > 20 for signature in document["signatures"].values())
    messages = {cell["axes"]["model"]: cell["evidence"].get("message", "") for cell in document["cells"]}
    expected = {
        "raises": "model() raised ZeroDivisionError",
        "leaves": "inputs() raised SystemExit: 5",
        "syntax": "the import of syntax.py raised SyntaxError",
        "empty": "no function model()",
        "no-tensor": "type str at place 1",
        "no-dtype": "torch.float8_e4m3fn at place 0",
        "count": "0 parameters, PARAMETERS says 12",
        "nan": "2 NaN of 4 at place 0",
        "shape": "mat1 and mat2 shapes cannot be multiplied",
        "exit-7": "exit code 7",
    }
    for name in expected.keys() & messages.keys():
        assert expected[name] in messages[name], messages[name]


@pytest.mark.full
def test_a_model_has_none_of_the_users_variables_and_writes_in_its_own_folder(tmp_path, exporting):
    kept = tmp_path / "kept"
    kept.write_text("as it was")
    tell = "raise RuntimeError(f'variables {sorted(os.environ)}, kernels {torch.backends.cpu.get_cpu_capability()}')"
    models = {"tells": inputs_do(tell), "writes": inputs_do(f"open({str(kept)!r}, 'w')")}
    spec = write(tmp_path, models)
    spec.write_text(spec.read_text().replace("[axes]", 'stages = ["export"]\n[axes]'))
    given = {"SECRET_TOKEN": "s3cret", "ATEN_CPU_CAPABILITY": "default", "LD_LIBRARY_PATH": "/nowhere"}
    ran = good("run", spec, "--store", exporting, "--format", "json", timeout=900, **given)
    said = {cell["axes"]["model"]: cell["evidence"]["message"] for cell in json.loads(ran.out)["cells"]}
    assert "'HOME'" in said["tells"] and "kernels " in said["tells"]
    assert not [name for name in given if name in said["tells"]]
    assert "kernels DEFAULT" not in said["tells"]
    if landlock_here():
        assert "the model writes outside of its folder" in said["writes"]
        assert kept.read_text() == "as it was"


def landlock_here() -> bool:
    return confinement_words().startswith("Landlock")


@pytest.mark.full
def test_the_documents_model_by_the_documents_line(tmp_path, exporting):
    """Of its compilers one, with the exporter that stands. The tests beside it hold the parts."""
    (tmp_path / "my_model.py").write_text(OWN_MODEL)
    words = [*line("--model my_model.py"), "--only", "compiler=3.13.0", "--runtime", "3.13.0", "--torch", "latest"]
    ran = good("run", *words, "--store", exporting, "--format", "csv", cwd=tmp_path, timeout=900)
    assert [(row["model"], row["outcome"]) for row in cells(ran).values()] == [("my_model", "passed")], ran.err


DYNAMIC = model_gives("torch.nn.Linear(3, 2)") + (
    "def dynamic_shapes():\n    return ({0: torch.export.Dim('batch', min=1, max=64)},)\n"
)


@pytest.mark.full
def test_a_dynamic_batch_reaches_the_module(tmp_path, exporting):
    spec = write(tmp_path, {"dynamic": DYNAMIC}, more='compiler = "3.13.0"\nruntime = "3.13.0"\n')
    assert (
        cells(good("run", spec, "--store", exporting, "--format", "csv", timeout=900))["dynamic"]["outcome"] == "passed"
    )
    good("export", tmp_path / "dynamic.py", "-o", tmp_path / "d.mlir", "--store", exporting, timeout=900)
    assert "[?,3],f32" in (tmp_path / "d.mlir").read_text()


@pytest.mark.full
def test_external_parameters_are_found_by_the_run(tmp_path, exporting):
    """A small MLIR beside an archive; without the archive's flag the run would fail, with other weights be wrong."""
    linear = (ROOT / "scripts" / "models" / "linear.py").read_text()
    axes = 'compiler = "3.13.0"\nruntime = "3.13.0"\n'
    spec = write(tmp_path, {"outside": linear}, more=axes, model='parameters = "external"\n')
    (cell,) = json.loads(good("run", spec, "--store", exporting, "--format", "json", timeout=900).out)["cells"]
    assert cell["outcome"] == "passed", cell
    why = good("why", "--preset", spec, "--store", exporting).out
    assert "--parameters=model=parameters.irpa" in why
    pasted = subprocess.run(
        ["sh", "-c", why.partition("\nreproduce\n")[2].splitlines()[0]], capture_output=True, check=False, timeout=60
    )
    assert pasted.returncode == 0, pasted.stderr


def test_one_command_exports_a_model(tmp_path, exporting):
    out = tmp_path / "l.mlir"
    words = ["export", "linear", "-o", out, "--store", exporting]
    ran = good(*words, "--arrays", timeout=900)
    assert ran.jobs_run == 0  # the fixture made it: only copied
    assert "func.func @main" in out.read_text()
    expected = numpy.load(tmp_path / "l.expected_0.npy")
    assert expected.shape == (4, 32)
    assert numpy.abs(expected).max() > 0.1
    good(*words, "--parameters", tmp_path / "l.irpa", timeout=900)
    assert (tmp_path / "l.irpa").stat().st_size > 4 * 2080
    assert "dense_resource" not in out.read_text()
    (tmp_path / "bad.py").write_text(BAD["raises"][0])
    refused = matrix("export", tmp_path / "bad.py", "-o", tmp_path / "b.mlir", "--store", exporting, timeout=900)
    assert refused.status == 1
    assert "model-raised" in refused.err and "TIP correct the model file" in refused.err
    assert not (tmp_path / "b.mlir").exists()
