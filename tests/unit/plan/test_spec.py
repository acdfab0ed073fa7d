"""Reading a spec: what it may hold, and that every fault is named with its place."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from samples import spec_of

from matrix.core.errors import SpecError, SpecSyntax
from matrix.plan.backends.iree.record import IREE
from matrix.plan.spec import SPEC_KEYS, parse_spec
from matrix.plan.user_inputs import DEFAULT_TOLERANCE, Tolerance


def faults(body: str, **more: str) -> tuple[str, ...]:
    with pytest.raises(SpecError) as caught:
        spec_of(body, **more)
    assert caught.value.tip
    return caught.value.faults


def test_a_spec_with_nothing_but_its_head_has_all_defaults():
    spec = spec_of()
    assert spec.axes == {axis.name: axis.default for axis in IREE.axes if not axis.optional}
    assert tuple(spec.axes) == tuple(axis.name for axis in IREE.axes if not axis.optional)
    assert spec.stages == ("export", "compile", "run")
    assert (spec.tables[0].rows, spec.tables[0].columns, spec.tools_python) == ("compiler", "runtime", "3.11")


def test_everything_at_once():
    spec = spec_of("""
        stages = ["compile", "export"]
        tools_python = "3.12"
        [axes]
        compiler = "3.8.0"
        runtime = ["3.8.0", ">=3.9"]
        size = "small"
        [axis.size.small]
        compile = "-Os"
        [axis.size.large]
        run = ["--a", "--b"]
        [[exclude]]
        when = { compiler = "<3.0", size = ["small"] }
        reason = "too old"
        [[include]]
        when = { compiler = "2.9.0" }
        reason = "still asked for"
        [limits.run]
        seconds = 5
        memory_mib = 512
        [tolerance]
        float32 = 0.5
        float16 = { rtol = 0.25, atol = 3 }
        [table]
        rows = "size"
        columns = "compiler"
        [models.mine]
        file = "mine.py"
        [models.theirs]
        mlir = "a.mlir"
        inputs = "x.npy"
        expected = ["y.npy"]
        function = "forward"
    """)
    assert spec.stages == ("export", "compile")
    assert spec.axes["runtime"] == ("3.8.0", ">=3.9")
    assert spec.axes["size"] == ("small",)
    assert spec.own_axes["size"]["small"].flags["compile"] == ("-Os",)
    assert spec.own_axes["size"]["large"].flags["run"] == ("--a", "--b")
    assert spec.exclude[0].when == {"compiler": ("<3.0",), "size": ("small",)}
    assert (spec.exclude[0].place, spec.include[0].reason) == ("exclude[0]", "still asked for")
    assert (spec.limits["run"].seconds, spec.limits["run"].memory_bytes) == (5, 512 << 20)
    assert spec.limits["compile"].seconds == 900
    assert spec.tolerance == {
        **DEFAULT_TOLERANCE,
        "float32": Tolerance(rtol=0.5, atol=0.5 * 2e-5 / 1e-4),
        "float16": Tolerance(rtol=0.25, atol=3, absolute=True),
    }
    assert (spec.tables[0].rows, spec.tables[0].columns) == ("size", "compiler")
    assert (spec.models["mine"].form, spec.models["mine"].path) == ("file", "mine.py")
    assert spec.models["theirs"].expected == ("y.npy",)


def test_an_own_axis_has_all_its_values_by_default():
    assert spec_of("[axis.size.small]\n[axis.size.large]").axes["size"] == ("small", "large")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("tols = 1", "tols: unknown key 'tols', expected one of format, name, question"),
        ("limit = 1", "limit: unknown key 'limit', expected one of format, name"),
        ("limit = 1", "; did you mean 'limits'?"),
        ("[axes]\ncompilr = '3.8.0'", "axes.compilr: unknown axis 'compilr'"),
        ("[axes]\ncompilr = '3.8.0'", "; did you mean 'compiler'?"),
        ("[axes]\nmodels = 'linear'", "axes.models: unknown axis 'models'"),
        ("[axes]\nmodels = 'linear'", "; did you mean 'model'?"),
        ("[axes]\ncompiler = 3.10", 'axes.compiler: read the number 3.1, expected a text: write "3.1" in quotes'),
        ("[axes]\ncompiler = ['3.8.0', 3.9]", "axes.compiler[1]: read the number 3.9, expected a text"),
        ("[axes]\ncompiler = true", "axes.compiler: read True, expected a text"),
        ("[axes]\ncompiler = ['']", "axes.compiler[0]: read '', expected a text"),
        ("axes = 3", "axes: read 3, expected a table"),
        ("exclude = 3", "exclude: read 3, expected an array of tables ([[exclude]])"),
        ("exclude = [3]", "exclude: read [3], expected an array of tables ([[exclude]])"),
        ("[[exclude]]\nreason = 'x'", "exclude[0].when: is missing or empty, expected conditions"),
        ("[[exclude]]\nwhen = {compiler='3'}", "exclude[0].reason: is missing, expected a text"),
        ("[[exclude]]\nwhen = {compiler='3'}\nreason = ' '", "exclude[0].reason: read ' ', expected a text"),
        ("[[exclude]]\nwhen = {compilr='3'}\nreason = 'x'", "exclude[0].when.compilr: unknown axis 'compilr'"),
        ("[[include]]\nwen = {compiler='3'}\nreason = 'x'", "include[0].wen: unknown key 'wen'"),
        (
            "stages = ['export', 'runn']",
            "stages[1]: unknown stage 'runn', expected one of export, compile, phases, pass-times, run, cut",
        ),
        ("stages = ['export', 'run']", "stages: read export, run, expected no gap: a stage needs all before it"),
        ("stages = ['run']", "stages: read run, expected no gap"),
        ("stages = []", "stages: read none, expected at least one of export, compile, phases, pass-times, run"),
        ("[limits.run]\nseconds = -1", "limits.run.seconds: read -1, expected a number above 0"),
        ("[limits.run]\nseconds = inf", "limits.run.seconds: read inf, expected a number above 0"),
        ("[limits.run]\nseconds = nan", "limits.run.seconds: read nan, expected a number above 0"),
        ("[limits.run]\nmemory_mib = '8'", "limits.run.memory_mib: read '8', expected a number above 0"),
        ("[limits.run]\nmemory_mib = true", "limits.run.memory_mib: read True, expected a number above 0"),
        (
            "[limits.rum]\nseconds = 1",
            "limits.rum: unknown key 'rum', expected one of export, onnx-export, save-tflite, import, tosa-import",
        ),
        ("[tolerance]\nfloat31 = 1", "tolerance.float31: unknown dtype 'float31'"),
        ("[tolerance]\nfloat32 = -1", "tolerance.float32: read -1, expected a number above 0"),
        ("[tolerance]\nfloat32 = { rtol = 'a' }", "tolerance.float32.rtol: read 'a', expected a number above 0"),
        (
            "[tolerance]\nfloat32 = { rotl = 1 }",
            "tolerance.float32.rotl: unknown key 'rotl', expected one of rtol, atol",
        ),
        ("[table]\nrows = 'compilers'", "table.rows: read 'compilers', expected one of model"),
        ("[[table]]\n[[table]]\nrow = 'torch'", "table[1].row: unknown key 'row'"),
        ("[table]\nwhere = { torches = '2.9' }", "table.where.torches: unknown axis"),
        (
            "[axes]\nruntime = '= compiler'\n[table]\nwhere = { runtime = '2.9.0' }",
            "table.where.runtime: runtime is tied",
        ),
        ("[table]\nrows = 'runtime'", "table.columns: read 'runtime' twice, expected another axis than rows"),
        ("[axis.compiler.a]", "axis.compiler: 'compiler' is an axis already, expected a new name"),
        (
            "[axis.size.small]\ncompil = ''",
            "axis.size.small.compil: unknown key 'compil', expected one of compile, link, firmware, run",
        ),
        ("[axis.size]\nsmall = 3", "axis.size.small: read 3, expected a table"),
        ('[axis.size."a b"]', "axis.size.a b: read 'a b', expected a name of letters, digits and . _ + -"),
        ('[axis.size."\\u0001"]', "expected a name of letters, digits and . _ + -"),
        ('[models."a=b"]\nfile = "x.py"', "models.a=b: read 'a=b', expected a name of letters"),
        (
            "[models.m]",
            "models.m: read none, expected one of `file` (Python), `mlir`, `onnx`, `tflite`, `vmfb`, `pte`, `pt2` and",
        ),
        (
            "[models.m]\nfile = 'a'\nmlir = 'b'",
            "models.m: read file and mlir, expected one of `file`",
        ),
        ("[models.m]\nfile = 'b'\ninputs = 'x.npy'", "models.m.inputs: read 'x.npy', expected nothing beside `file`"),
        ("[models.m]\nmlir = 'b'\nopset_version = '17'", "models.m.opset_version: read '17', expected a number"),
        ("[toolchains.latest]\npath = 'build'", "toolchains.latest: read 'latest', a release or a keyword"),
        ("[toolchains.mine]", "toolchains.mine.path: is missing, expected a text"),
        (
            "[toolchains.mine]\npath = 'a'\nimage = 'b'",
            "toolchains.mine.image: read 'b' beside `path`",
        ),
        ("[models.m]\nfil = 'b'", "models.m.fil: unknown key 'fil', expected one of file, mlir"),
        ("tools_python = 3.11", "tools_python: read 3.11, expected a text"),
    ],
)
def test_a_fault_names_its_place_and_what_was_expected(body, fault):
    assert any(fault in line for line in faults(body)), faults(body)


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        ('name = "a"\nquestion = "b"', "format: is missing, expected 1, the format that this version reads"),
        ('format = 2\nname = "a"\nquestion = "b"', "format: read 2, expected 1"),
        ('format = "1"\nname = "a"\nquestion = "b"', "format: read '1', expected 1"),
        ('format = 1\nname = "a"', "question: is missing, expected a text"),
        ('format = 1\nquestion = "a"', "name: is missing, expected a text"),
        ('format = 1\nname = "a"\nquestion = ""', "question: read '', expected a text"),
        ('format = 1\nname = 3\nquestion = "a"', "name: read 3, expected a text"),
    ],
)
def test_the_head_of_a_spec(head, fault):
    assert any(line.startswith(fault) for line in faults("", head=head))


def test_what_was_read_is_shown_up_to_a_length():
    """A whole table where a text belongs: one fault, which still says what was expected."""
    rows = ",\n".join(f'"row {number}"' for number in range(20_000))
    found = next(fault for fault in faults(f"stages = [[\n{rows}\n]]") if fault.startswith("stages[0]: read ['row 0'"))
    assert len(found) < 2100
    assert "expected" in found[-200:]


def test_all_faults_are_reported_together_each_with_its_place():
    found = faults(
        "[axes]\nruntimes = 'all'\ncompiler = 3.8\n[limits.run]\nseconds = 0\n[[exclude]]\nreason = 'x'\n",
        head='format = 7\nname = "a"\n',
    )
    places = [line.partition(":")[0] for line in found]
    assert sorted(places) == [
        "axes.compiler",
        "axes.runtimes",
        "exclude[0].when",
        "format",
        "limits.run.seconds",
        "question",
    ]


def test_the_message_counts_and_names_the_file():
    with pytest.raises(SpecError) as caught:
        spec_of("a = 1\nb = 2")
    assert str(caught.value).splitlines()[0] == "small.toml: 2 faults"
    with pytest.raises(SpecError, match=r"small\.toml: 1 fault\n"):
        spec_of("a = 1")


@pytest.mark.parametrize("body", ["[axes", "a = ", 'a = "\n"', "a = 1\na = 2", "a = 3.10.0"])
def test_what_is_not_toml_names_its_line(body):
    with pytest.raises(SpecSyntax) as caught:
        spec_of(body)
    assert re.search(r"small\.toml: line [45]: read '.*', not TOML: .*; expected KEY = VALUE", str(caught.value))
    assert caught.value.tip


def test_the_spec_of_the_documents_has_no_fault_and_every_key():
    text = (Path(__file__).parents[3] / "docs" / "spec.md").read_text(encoding="utf-8")
    example = "\n".join(re.findall(r"```toml\n(.*?)```", text, re.DOTALL))
    assert tomllib.loads(example).keys() == set(SPEC_KEYS)
    spec = parse_spec(example, source="docs/spec.md", base=Path())
    assert (spec.targets.keys(), spec.own_toolchains.keys()) == (
        {"my_board", "gpu", "in_software", "on_my_desk"},
        {"my_board"},
    )
    assert spec.builds["board"].toolchain == "zig-static"
