"""A user's own models and toolchains, each by the command line that the documents have, on real releases; and what is
wrong with such files: the cell or the message says it, and the other cells are measured all the same."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy
import pytest
from command_line import DATA, good, matrix, new_store, standing
from documents import OWN_LINES
from own_models import ask, cells, line, outcomes

from matrix.environments.interpreters import uv_binary
from matrix.results.files import parse_run

pytestmark = pytest.mark.real

ONE = ("3.13.0",)
AT_3_13 = ("--compiler", "3.13.0", "--runtime", "3.13.0")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    """A folder with a user's files under the documents' names, and a store beside them."""
    folder = tmp_path_factory.mktemp("desk")
    new_store(folder / "store", shared)
    shutil.copy(DATA / "linear.mlir", folder / "my.mlir")
    shutil.copy(DATA / "linear_input.npy", folder / "x.npy")
    shutil.copy(DATA / "linear_expected.npy", folder / "y.npy")
    return folder


@pytest.fixture(scope="module")
def importer(desk: Path) -> Path:
    """The Python of an importer's environment: it has `onnx`, with which the tests make models."""
    empty = desk / "empty.onnx"
    empty.touch()
    ask(desk, "--model", empty, *AT_3_13)
    folder = next(path for path in standing(desk / "store") if path.name.startswith("importer-3.13.0"))
    return folder / "bin" / "python"


MAKE_ONNX = """
import sys
import numpy, onnx
from onnx import TensorProto, helper, numpy_helper
path, opset = sys.argv[1], int(sys.argv[2])
draw = numpy.random.default_rng(0)
weights = [numpy_helper.from_array(draw.standard_normal(shape).astype("float32"), name)
           for name, shape in (("w", (8, 4)), ("b", (4,)))]
nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", [2, 8]), ("y", [2, 4]))]
graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
"""


def make_onnx(importer: Path, path: Path, opset: int) -> Path:
    subprocess.run([importer, "-c", MAKE_ONNX, path, str(opset)], check=True, timeout=60)
    return path


# -- the documents' command lines


def test_the_documents_have_a_line_for_each_form():
    for form in (".mlir", ".onnx", ".py", ".tflite", ".vmfb", "--runtime"):
        assert any(form in words for words in OWN_LINES), form


def test_an_mlir_made_by_hand(desk):
    ran = ask(desk, *line("--model my.mlir"), *AT_3_13)
    assert outcomes(ran) == [("passed", "run", "")], ran.err
    (cell,) = cells(ran)
    assert (cell["model"], cell["torch"], cell["turbine"]) == ("my", "-", "-")
    assert float(cell["error"]) < 1e-6


def test_the_printed_line_measures_the_same_cell_again(desk):
    first = ask(desk, "--model", "my.mlir", "--inputs", "x.npy", "--expected", "y.npy", *AT_3_13)
    (cell,) = cells(first)
    words = shlex.split(cell["reproduce"])
    assert words[:4] == ["python", "-m", "matrix", "run"]
    again = ask(desk, *words[4:])
    assert (again.jobs_run, again.out) == (0, first.out)


def test_without_expected_outputs_nothing_is_compared_and_the_cell_says_so(desk):
    ran = ask(desk, "--model", "my.mlir", "--inputs", "x.npy", *AT_3_13)
    (cell,) = cells(ran)
    assert (cell["outcome"], cell["error"]) == ("passed", "")
    assert "no expected outputs" in cell["message"]
    table = good("show", "--model", "my.mlir", "--inputs", "x.npy", *AT_3_13, "--store", desk / "store", cwd=desk).out
    assert re.search(r"^ ran +1 +ran to its end; its outputs are not compared", table, re.MULTILINE)
    assert "1 of the passed ones are not compared" in table


def test_an_onnx_is_imported_by_the_release_that_compiles_it(desk, importer):
    make_onnx(importer, desk / "my.onnx", 13)
    ran = ask(desk, *line("--model my.onnx"), *AT_3_13, "--format", "json")
    report = json.loads(ran.out)
    (cell,) = report["cells"]
    assert cell["outcome"] == "passed", ran.err
    assert cell["evidence"]["comparison"]["error"] < 1e-5
    stages = [(report["jobs"][key]["stage"], report["jobs"][key]["lock"]) for key in cell["evidence"]["jobs"]]
    assert stages == [("import", "importer/3.13.0"), ("compile", "compiler/3.13.0"), ("run", "runtime/3.13.0")]
    assert parse_run(report, source="mine").notes("model") == {"my": "ONNX opset 13, imported as 17"}
    assert "--function=net" in report["jobs"][cell["evidence"]["jobs"][-1]]["command"]  # the graph's name


def compile_my_mlir(desk: Path, release: str, path: Path) -> Path:
    """The module that a release makes of the user's MLIR, as a file of his."""
    spec = ["--model", "my.mlir", "--compiler", release, "--runtime", release, "--inputs", "x.npy"]
    run = json.loads(ask(desk, *spec, "--format", "json").out)
    (job,) = [job for job in run["jobs"].values() if job["stage"] == "compile"]
    digest = job["artifacts"]["module.vmfb"]["sha256"]
    shutil.copy(desk / "store" / "blobs" / digest[:2] / digest, path)
    return path


def test_a_vmfb_of_another_release_meets_the_runtimes(desk):
    compile_my_mlir(desk, "3.8.0", desk / "old.vmfb")
    compile_my_mlir(desk, "3.13.0", desk / "new.vmfb")
    given = ["--expected", "y.npy", "--runtime", "3.8.0", "--runtime", "3.13.0"]
    ran = ask(desk, *line("--model old.vmfb"), *given)
    found = {(cell["model"], cell["runtime"]): cell["signature"] or cell["outcome"] for cell in cells(ran)}
    assert found == {
        ("old", "3.8.0"): "passed",
        ("old", "3.13.0"): "vm-bytecode-version",
        ("new", "3.8.0"): "vm-features",
        ("new", "3.13.0"): "passed",
    }
    assert {cell["compiler"] for cell in cells(ran)} == {"-"}


def test_an_own_build_of_the_runtime_tools(desk):
    """A folder with a wheel's binaries: real tools, as a cmake build's `tools` holds them."""
    runtime = next(path for path in standing(desk / "store") if path.name.startswith("runtime-3.13.0"))
    tool = next(runtime.glob("lib/*/site-packages/iree/_runtime_libs/iree-run-module"))
    (desk / "build" / "tools").mkdir(parents=True)
    shutil.copy(tool, desk / "build" / "tools" / "iree-run-module")
    words = [*line("--model my.mlir --inputs x.npy --expected y.npy --runtime ./build"), "--compiler", "3.13.0"]
    assert outcomes(ask(desk, *words)) == [("passed", "run", "")]
    assert ask(desk, *words).jobs_run == 0
    why = ask(desk, *words, verb="why")
    assert "lock         own/build sha256" in why.out
    with (desk / "build" / "tools" / "iree-run-module").open("ab") as file:
        file.write(b"\0")  # the same program, built anew
    assert ask(desk, *words).jobs_run == 1
    docker = ask(desk, *words, "--engine", "docker")
    assert outcomes(docker)[0][0] in ("untested", "blocked")
    assert "--engine venv" in docker.err


def test_a_wheel_and_a_virtual_environment_are_toolchains(desk):
    compiler = next(path for path in standing(desk / "store") if path.name.startswith("compiler-3.13.0")).resolve()
    wheels = desk / "wheels"
    fetch = [uv_binary(), "tool", "run", "--quiet", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*fetch, "--dest", wheels, "iree-base-runtime==3.13.0"], check=True, timeout=120)
    (wheel,) = wheels.glob("*.whl")
    ran = ask(desk, *line("--model my.mlir")[:6], "--compiler", compiler, "--runtime", wheel)
    assert outcomes(ran) == [("passed", "run", "")], ran.err
    assert cells(ran)[0]["runtime"] == "wheel-3.13.0"


def test_a_spec_names_them_too(desk):
    (desk / "mine.toml").write_text(
        'format = 1\nname = "mine"\nquestion = "Does mine work?"\n'
        '[axes]\nmodel = "hand"\ncompiler = "3.13.0"\nruntime = ["3.13.0", "mine"]\n'
        '[models.hand]\nmlir = "my.mlir"\ninputs = "x.npy"\nexpected = "y.npy"\n'
        '[toolchains.mine]\npath = "build"\n'
    )
    ran = ask(desk, "mine.toml")
    assert [(cell["runtime"], cell["outcome"]) for cell in cells(ran)] == [("3.13.0", "passed"), ("mine", "passed")]


# -- what is wrong with such files


@pytest.mark.parametrize(
    ("form", "cut", "ending"),
    [
        ("my.mlir", 0, ("failed", "compile", "module-empty")),
        ("my.mlir", 100, ("failed", "compile", "compile-error")),
        ("new.vmfb", 0, ("failed", "run", "module-damaged")),
        ("new.vmfb", 3000, ("failed", "run", "module-damaged")),
        ("my.onnx", 0, ("failed", "import", "onnx-damaged")),
        ("my.onnx", 100, ("failed", "import", "onnx-damaged")),
    ],
)
def test_an_empty_or_cut_off_file(desk, form, cut, ending, request):
    """Beside a good one: its cell says what is wrong, and the other one is measured."""
    suffix = form.partition(".")[2]
    if suffix == "vmfb" and not (desk / form).exists():
        compile_my_mlir(desk, "3.13.0", desk / form)
    if suffix == "onnx" and not (desk / form).exists():
        make_onnx(request.getfixturevalue("importer"), desk / form, 13)
    spoilt = desk / f"cut{cut}.{suffix}"
    spoilt.write_bytes((desk / form).read_bytes()[:cut])
    inputs = () if suffix == "onnx" else ("--inputs", "x.npy")
    ran = ask(desk, "--model", spoilt, "--model", form, *inputs, *AT_3_13)
    assert ran.status == 0, ran.err
    spoilt_cell, good_cell = outcomes(ran)
    assert spoilt_cell == ending
    assert good_cell == ("passed", "run", "")


@pytest.mark.parametrize("array", [numpy.zeros((3, 3), "float32"), numpy.zeros((4, 64), "int32")])
def test_inputs_that_do_not_fit(desk, array):
    numpy.save(desk / "bad.npy", array)
    ran = ask(desk, "--model", "my.mlir", "--inputs", desk / "bad.npy", *AT_3_13)
    assert outcomes(ran) == [("failed", "run", "input-mismatch")], ran.out


@pytest.mark.parametrize("content", [b"not an array", b""])
def test_inputs_that_are_no_arrays_are_refused_before_anything_runs(desk, content):
    (desk / "bad.npy").write_bytes(content)
    ran = ask(desk, "--model", "my.mlir", "--inputs", desk / "bad.npy", *AT_3_13)
    assert (ran.status, ran.out) == (2, "")
    assert "bad.npy: read" in ran.err and "expected an .npy file" in ran.err


def test_tools_that_do_not_run(desk):
    folder = desk / "broken" / "bin"
    folder.mkdir(parents=True)
    (folder / "iree-run-module").write_text("this is no program")
    (folder / "iree-run-module").chmod(0o755)
    words = ["--model", "my.mlir", "--inputs", "x.npy", "--compiler", "3.13.0", "--runtime", "3.13.0"]
    ran = ask(desk, *words, "--runtime", "./broken")
    assert [cell["outcome"] for cell in cells(ran)] == ["passed", "not_installable"]
    assert "iree-run-module of the toolchain does not run here" in cells(ran)[1]["message"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "none.mlir"], ["none.mlir'", "expected a file"]),
        (["--model", "x.npy"], ["'x.npy'", ".onnx"]),
        (["--model", "linaer"], ["unknown model 'linaer'", "did you mean 'linear'?"]),
        (["--model", "linear", "--inputs", "x.npy"], ["--inputs", "a model that is a file"]),
        (["--model", "my.mlir", "--inputs", "none.npy"], ["none.npy'", "expected a file"]),
        (["--model", "my.mlir", "--opset-version", "17"], ["--opset-version", ".onnx"]),
        (["--model", "my.mlir", "--runtime", "./empty"], ["toolchain empty", "iree-run-module"]),
        (["--model", "my.mlir", "--compiler", "./empty"], ["toolchain empty", "iree-compile"]),
        (["--model", "my.mlir", "--runtime", "./none"], ["toolchain none", "there is none"]),
        (["--model", "my.mlir", "--runtime", "cut.whl"], ["a whole wheel file"]),
        (["--compiler", "3.99.0"], ["unknown version '3.99.0'"]),
        (["field"], ["axes.model: read none", "still load the .vmfb"]),
    ],
)
def test_words_that_mean_nothing(desk, words, said):
    (desk / "empty").mkdir(exist_ok=True)
    (desk / "cut.whl").write_bytes(b"PK\3\4 and no more")
    ran = ask(desk, *words)
    assert ran.status == 2, ran.err
    message, _, tip = ran.err.partition("\nTIP ")
    for word in said:
        assert word in message, ran.err
    assert len(tip) > 10


def test_a_flag_that_no_release_knows(desk):
    (desk / "flag.toml").write_text(
        'format = 1\nname = "flag"\nquestion = "Is it known?"\n'
        '[axes]\nmodel = "hand"\ncompiler = "3.13.0"\nruntime = "3.13.0"\n'
        '[axis.kind.compile]\ncompile = ["--iree-no-such-flag"]\n[axis.kind.run]\nrun = ["--no_such_flag=1"]\n'
        "[axis.kind.usual]\n"
        '[models.hand]\nmlir = "my.mlir"\ninputs = "x.npy"\nexpected = "y.npy"\n'
    )
    ran = ask(desk, "flag.toml")
    assert outcomes(ran) == [("failed", stage, "unknown-flag") for stage in ("compile", "run")] + [
        ("passed", "run", "")
    ]
    why = matrix("why", "--preset", "flag.toml", "kind=run", "--store", desk / "store", cwd=desk).out
    assert re.search(r"^message .*no_such_flag.*\nmeans .*\nnext +\S.{20}", why, re.MULTILINE), why


VMFB_OF_TWO = """
func.func @first(%x: tensor<4xf32>) -> tensor<4xf32> { return %x : tensor<4xf32> }
func.func @second(%x: tensor<4xf32>) -> tensor<4xf32> { return %x : tensor<4xf32> }
"""


def test_a_vmfb_of_two_entry_points_asks_which(desk):
    (desk / "two.mlir").write_text(VMFB_OF_TWO)
    numpy.save(desk / "four.npy", numpy.ones(4, "float32"))
    given = ["--inputs", "four.npy", "--expected", "four.npy", "--function", "second"]
    made = json.loads(ask(desk, "--model", "two.mlir", *given, *AT_3_13, "--format", "json").out)
    assert [cell["outcome"] for cell in made["cells"]] == ["passed"]
    (job,) = [job for job in made["jobs"].values() if job["stage"] == "compile"]
    digest = job["artifacts"]["module.vmfb"]["sha256"]
    shutil.copy(desk / "store" / "blobs" / digest[:2] / digest, desk / "two.vmfb")
    unclear = ask(desk, "--model", "two.vmfb", "--inputs", "four.npy", "--runtime", "3.13.0")
    assert unclear.status == 2
    assert "first, second" in unclear.err
    assert outcomes(ask(desk, "--model", "two.vmfb", *given, "--runtime", "3.13.0")) == [("passed", "run", "")]
