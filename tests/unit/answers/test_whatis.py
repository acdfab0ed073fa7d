"""`python -m matrix whatis` by the command line, on real files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from modules import RELEASES, linear_modules, module

from matrix.artifacts.mlir import read_mlir
from matrix.cli.main import main
from matrix.core.errors import FileFault
from matrix.core.text import escape_controls
from matrix.core.versions import minor

DATA = Path(__file__).parents[2] / "data"


def said(capsys, *words: object) -> str:
    assert main(["whatis", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_a_module_in_words(capsys):
    text = said(capsys, module("linear-3.8.0"))
    rows = {line.split("  ")[0]: line for line in text.splitlines()}
    assert "likely compilers   3.8, 3.9" in text
    assert "hal from version 6" in rows["modules"]
    assert "main$async (0rrr_r), main (0r_r)" in rows["entry points"]
    assert rows["3.9"].split() == ["3.9", "loads", "passed"]
    refused = "runtime reads 16.0, module has 15.0"
    assert rows["3.10"].split(maxsplit=3) == ["3.10", "vm-bytecode-version", "vm-bytecode-version", refused]
    assert "module.mlir" in text


def test_a_module_as_json(capsys):
    content = json.loads(said(capsys, module("arm-3.5.0"), "--format", "json"))
    assert content["kind"] == "vmfb"
    assert content["executables"][0]["float_abi"] == "hard"
    assert content["likely_compilers"] == ["3.4", "3.5", "3.6", "3.7"]
    assert sum(content["parts"].values()) == content["size"] == module("arm-3.5.0").stat().st_size
    loads = [row["release"] for row in content["runtimes"] if row["loads"]]
    assert loads == ["3.4", "3.5", "3.6", "3.7"]


@pytest.mark.parametrize("release", RELEASES)
def test_a_module_of_each_compiler_and_the_runtimes_that_load_it(capsys, release):
    """What stands in the file, and for each runtime what is predicted and was observed, against the raw results."""
    content = json.loads(said(capsys, module(f"linear-{release}"), "--format", "json"))
    assert minor(release) in content["likely_compilers"]
    assert sum(content["parts"].values()) == content["size"] == module(f"linear-{release}").stat().st_size
    assert {each["machine"] or each["architecture"] for each in content["executables"]} == {"x86_64"}
    assert "hal" in content["modules"] and any(each["name"] == "main" for each in content["exports"])
    cells = json.loads((DATA.parents[1] / "results" / "portability.json").read_text())["cells"]
    passed = {
        minor(cell["axes"]["runtime"])
        for cell in cells
        if cell["axes"]["compiler"] == release and cell["outcome"] == "passed"
    }
    assert {row["release"] for row in content["runtimes"] if row["loads"]} == passed
    assert {row["release"] for row in content["runtimes"] if row["observed"] == "passed"} == passed
    text = said(capsys, module(f"linear-{release}"))
    assert len([line for line in text.splitlines() if line.split()[1:2] == ["loads"]]) == len(passed)


def test_mlir_as_text_and_as_bytecode(capsys):
    text = said(capsys, DATA / "linear.mlir")
    assert "arith, func, linalg, tensor" in text and "entry points  main" in text
    content = json.loads(said(capsys, DATA / "linear.mlirbc", "--format", "json"))
    assert content["producer"].startswith("MLIR")
    assert content["dialects"] == ["arith", "builtin", "func", "linalg", "tensor"]
    assert content["entry_points"] is None


def test_who_wrote_it_and_long_lines(tmp_path):
    path = tmp_path / "model.mlir"
    weight = "0x" + "00" * 3_000_000
    path.write_text(
        "module @module {\n"
        f'  util.global private @w = dense<"{weight}"> : tensor<1500000xf32>\n'
        "  func.func @main(%arg0: !torch.vtensor<[4,64],f32>) -> !torch.vtensor<[4,32],f32> "
        "attributes {torch.assume_strict_symbolic_shapes} {\n"
        "    %0 = torch.aten.relu %arg0 : !torch.vtensor<[4,64],f32> -> !torch.vtensor<[4,64],f32>\n"
        "  }\n  func.func private @helper() {\n  }\n}\n"
        '{-#\n dialect_resources: {\n builtin: {\n torch_tensor_torch.float32: "0x00"\n }}\n#-}\n'
    )
    found = read_mlir(path)
    assert found.entry_points == ("main",)
    assert found.dialects == ("func", "torch", "util")
    assert found.hints == ("torch.export, through iree-turbine or torch-mlir",)
    assert found.complete


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("a.txt", b"hello", "as its first bytes"),
        ("a.mlir", b"hello", "a text of 5 bytes without an operation"),
        ("a.mlirbc", b"ML\xefR", "bytecode that is cut off"),
        ("a.vmfb", b"PK\x03\x04" + bytes(100), "a zip without a readable directory"),
    ],
)
def test_what_is_neither_is_named(name, content, read, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(content)
    assert main(["whatis", str(path)]) == FileFault.exit_code
    error = capsys.readouterr().err
    assert f"{path}: read" in error and read in error and "TIP" in error


def test_a_file_that_is_not_there(tmp_path, capsys):
    assert main(["whatis", str(tmp_path / "none.vmfb")]) == FileFault.exit_code
    assert "read no file" in capsys.readouterr().err


def test_the_gates_of_a_folder(tmp_path, capsys):
    (tmp_path / "3.8.0").mkdir()
    (tmp_path / "3.8.0" / "m.vmfb").write_bytes((linear_modules() / "linear-3.8.0.vmfb").read_bytes())
    content = json.loads(said(capsys, tmp_path, "--gates"))
    assert content["releases"] == {
        "3.8": {"bytecode_version": [15, 0], "features": 0, "modules": {"hal": 6}, "library_abi": 6}
    }
    assert content["imports"]["hal.fence.await"] == {"0iICrD_i": ["3.8"]}


def test_names_cannot_move_the_terminal():
    assert escape_controls("a\x1b[31mb\u202ec\nd") == "a\\u001b[31mb\\u202ec\nd"
