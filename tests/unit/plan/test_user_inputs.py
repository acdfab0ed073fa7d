"""A user's models and toolchains: names, forms, what a command line means, what files say of themselves."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
import zipfile
from pathlib import Path

import numpy
import pytest
from samples import spec_of

from matrix.artifacts.onnx import OnnxFacts, onnx_facts
from matrix.artifacts.vmfb import entry_points
from matrix.core.errors import ModelMissing, ModelUnusable, ToolchainFault, UsageError
from matrix.environments.user_tools import find_toolchain
from matrix.plan.catalogue import Catalogue
from matrix.plan.graph import make_plan
from matrix.plan.question import Question, ask
from matrix.plan.spec import Spec, parse_spec
from matrix.plan.stages import make_job
from matrix.plan.user_inputs import is_toolchain, model_names, toolchain_name
from matrix.run.planning import load_catalogue

SHIPPED = ("linear",)


def asked(spec: Spec | None = None, **question: object) -> Spec:
    return ask(spec or spec_of(), Question(**question), shipped=SHIPPED)


# -- the command line


def test_files_get_names_of_their_own():
    names = model_names(["/a/v1/model.vmfb", "/a/v2/model.vmfb", "/a/linear.mlir", "/b/my net!.onnx"], ["linear"])
    assert list(names.values()) == ["v1-model", "v2-model", "a-linear", "my-net"]
    assert list(model_names(["/a/x/m.mlir", "/b/x/m.mlir"]).values()) == ["x-m", "x-m-2"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/opt/iree-build/tools", "iree-build"),
        ("/opt/iree/bin", "iree"),
        ("/x/.venv", "x"),
        ("/x/3.13.0", "own-3.13.0"),
        ("/x/iree_base_runtime-3.13.0-cp311-cp311-manylinux_2_28_x86_64.whl", "wheel-3.13.0"),
    ],
)
def test_toolchains_are_named_by_what_says_something(path, name):
    assert toolchain_name(path, ()) == name
    assert toolchain_name(path, (name,)) == f"{name}-2"


def test_a_path_on_an_axis_of_tools_is_a_toolchain_and_a_version_is_none():
    assert is_toolchain("runtime", "./build")
    assert is_toolchain("compiler", "x.whl")
    assert not is_toolchain("runtime", ">=3.6")
    assert not is_toolchain("torch", "./build")


def test_an_option_replaces_its_axis_and_only_its():
    spec = asked(spec_of("[axes]\ncompiler = 'all'\nruntime = '3.0.0'\n"), axes={"compiler": (">=3.6",)})
    assert (spec.axes["compiler"], spec.axes["runtime"]) == ((">=3.6",), ("3.0.0",))
    assert spec.options == ("--compiler", ">=3.6")


def test_models_of_the_command_line():
    spec = asked(models=("linear", "a/my.onnx", "b.py"), inputs=("x.npy",), opset_version="17")
    assert spec.axes["model"] == ("linear", "my", "b")
    assert (spec.models["my"].form, spec.models["my"].opset_version) == ("onnx", "17")
    assert spec.models["my"].path == str(Path("a/my.onnx").absolute())
    assert spec.models["my"].inputs == (str(Path("x.npy").absolute()),)
    assert (spec.models["b"].form, spec.models["b"].inputs) == ("file", ())
    assert spec.options[:6] == ("--model", "linear", "--model", "a/my.onnx", "--model", "b.py")


def test_a_toolchain_of_the_command_line_is_a_value_with_a_name():
    spec = asked(axes={"runtime": ("3.0.0", "./build")})
    assert spec.axes["runtime"] == ("3.0.0", "build")
    assert spec.toolchains == {"build": str(Path("build").absolute())}


def test_vmfb_files_alone_ask_the_question_of_the_field():
    assert Question(models=("a.vmfb",)).spec_name == "field"
    assert Question(models=("a.vmfb", "b.mlir")).spec_name == "portability"
    assert Question(models=("a.vmfb",), preset="quick").spec_name == "quick"
    assert Question().spec_name == "portability"


@pytest.mark.parametrize(
    ("question", "kind", "said"),
    [
        ({"inputs": ("x.npy",)}, UsageError, "--inputs"),
        ({"models": ("linear",), "function": "f"}, UsageError, "--function"),
        ({"models": ("a.mlir",), "opset_version": "17"}, UsageError, "--opset-version"),
        ({"models": ("a.pt",)}, ModelUnusable, "'a.pt'"),
    ],
)
def test_what_does_not_go_together_is_refused(question, kind, said):
    with pytest.raises(kind, match=said) as caught:
        asked(**question)
    assert caught.value.tip


# -- what files say of themselves


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def onnx_bytes() -> bytes:
    """An .onnx as onnx.proto has it: a graph of a node, a name and a weight, and two opsets."""
    graph = field(1, b"a node") + field(2, b"main_graph") + field(5, b"\0" * 100_000)
    return field(1, 8) + field(7, graph) + field(8, field(2, 17)) + field(8, field(1, b"ai.onnx.ml") + field(2, 3))


def test_an_onnx_says_its_opset_and_its_graph(tmp_path):
    (tmp_path / "m.onnx").write_bytes(onnx_bytes())
    assert onnx_facts(tmp_path / "m.onnx") == OnnxFacts(graph="main_graph", opset="17, ai.onnx.ml 3")


def with_weights(*places: str) -> bytes:
    """An .onnx whose weights lie elsewhere, as torch's exporter leaves it."""
    entries = (field(13, field(1, b"location") + field(2, place.encode())) for place in places)
    weights = b"".join(field(5, field(13, field(1, b"offset") + field(2, b"0")) + entry) for entry in entries)
    return field(7, field(2, b"main_graph") + field(5, field(9, b"12345678")) + weights) + field(8, field(2, 20))


def onnx_model(folder: Path, *places: str) -> tuple[Catalogue, Spec]:
    (folder / "m.onnx").write_bytes(with_weights(*places))
    spec = parse_spec(
        'format = 1\nname = "o"\nquestion = "?"\n[axes]\nmodel = "m"\ncompiler = "3.13.0"\nruntime = "3.13.0"\n'
        '[models.m]\nonnx = "m.onnx"\n',
        source="o.toml",
        base=folder,
    )
    return load_catalogue(spec), spec


def test_weights_beside_an_onnx_go_along_under_their_own_name(tmp_path):
    (tmp_path / "m.onnx.data").write_bytes(b"12345678")
    catalogue, spec = onnx_model(tmp_path, "m.onnx.data", "m.onnx.data")
    plan = make_plan(spec, catalogue)
    imported = plan.nodes[0]
    digests = {name: digest for name, _, digest in imported.given}
    job = make_job(imported, environment="e", artifacts=digests)
    assert [name for name, _ in job.inputs] == ["import_onnx.py", "other_inputs.py", "model.onnx", "m.onnx.data"]
    assert digests["m.onnx.data"] == hashlib.sha256(b"12345678").hexdigest()


@pytest.mark.parametrize(
    ("place", "kind", "said"),
    [
        ("gone.data", ModelMissing, "gone.data', expected a file"),
        ("sub/m.data", ModelUnusable, "weights in 'sub/m.data'"),
        ("/etc/hostname", ModelUnusable, "weights in '/etc/hostname'"),
        ("..", ModelUnusable, "expected a file beside it"),
        ("", ModelUnusable, "expected a file beside it"),
        ("model.onnx", ModelUnusable, "expected a file beside it"),
        ("input_0.npy", ModelUnusable, "expected a file beside it"),
    ],
)
def test_weights_that_are_not_beside_an_onnx_are_named(tmp_path, place, kind, said):
    with pytest.raises(kind, match=said) as caught:
        onnx_model(tmp_path, place)
    assert caught.value.tip


@pytest.mark.parametrize("length", [0, 1, 2, 3, 20, 90_000])
def test_a_cut_off_onnx_has_no_facts(tmp_path, length):
    (tmp_path / "m.onnx").write_bytes(onnx_bytes()[:length])
    assert onnx_facts(tmp_path / "m.onnx") == OnnxFacts()


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"no zip at all", b"\0" * 3000])
def test_a_damaged_vmfb_has_no_entry_points(tmp_path, content):
    (tmp_path / "m.vmfb").write_bytes(content)
    assert entry_points(tmp_path / "m.vmfb") == ()


@pytest.mark.parametrize("module", [b"", b"1234", struct.pack("<II4s", 20, 4, b"IREE"), b"\xff" * 64])
def test_a_damaged_module_has_no_entry_points(tmp_path, module):
    with zipfile.ZipFile(tmp_path / "m.vmfb", "w") as archive:
        archive.writestr("module.fb", module)
    assert entry_points(tmp_path / "m.vmfb") == ()


@pytest.mark.parametrize("content", [b"", b"PK\3\4cut"])
def test_a_damaged_wheel_is_refused(tmp_path, content):
    (tmp_path / "x.whl").write_bytes(content)
    with pytest.raises(ToolchainFault, match="a whole wheel") as caught:
        find_toolchain("mine", tmp_path / "x.whl", "runtime")
    assert caught.value.tip


def test_a_compiler_in_a_path_with_a_space_is_refused(tmp_path):
    (tmp_path / "my tools").mkdir()
    (tmp_path / "my tools" / "iree-compile").write_bytes(b"x")
    with pytest.raises(ToolchainFault, match="hands it to a shell unquoted; it has ' '"):
        find_toolchain("mine", tmp_path / "my tools", "compiler")


def test_what_replaces_a_tied_axis_replaces_the_one_that_it_follows():
    tied = spec_of("[axes]\ncompiler = '= runtime'\nruntime = 'all'\n")
    follows = asked(tied, axes={"compiler": ("3.8.0",)})
    assert (follows.axes["runtime"], follows.ties) == (("3.8.0",), {"compiler": "runtime"})
    both = asked(tied, axes={"compiler": ("3.8.0",), "runtime": ("3.0.0",)})
    assert (both.axes["compiler"], both.axes["runtime"], both.ties) == (("3.8.0",), ("3.0.0",), {})
    tools = asked(tied, axes={"compiler": ("./build/tools",)})
    assert (tools.axes["runtime"], tools.ties) == (("all",), {})


def test_expected_outputs_with_nan_are_refused(tmp_path):
    """Their cells were red, as if the release were at fault."""
    (tmp_path / "my.mlir").write_text("")
    numpy.save(tmp_path / "y.npy", numpy.asarray([1.0, float("nan")], "float32"))
    body = "[axes]\nmodel = 'my'\n[models.my]\nmlir = 'my.mlir'\nexpected = 'y.npy'\n"
    spec = dataclasses.replace(spec_of(body), base=tmp_path)
    with pytest.raises(ModelUnusable, match=r"models\.my: y\.npy holds 1 NaN, expected numbers"):
        load_catalogue(spec)
    numpy.save(tmp_path / "y.npy", numpy.asarray([1.0, float("inf")], "float32"))
    assert load_catalogue(spec).models["my"].artifacts[1][0] == "expected_0.npy"
