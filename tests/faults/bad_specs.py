"""Specs that are no TOML, or say what has no meaning.

A row spoils `spec.toml`: `old => new`, or `+ lines` at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bad_input import rows_of


def spoil_spec(change: str) -> Callable[[Path], object]:
    def spoil(desk: Path) -> None:
        path = desk / "spec.toml"
        text = path.read_text(encoding="utf-8")
        if change.startswith("+ "):
            changed = text + "\n" + change[2:].replace("\\n", "\n") + "\n"
        else:
            old, new = change.replace("\\n", "\n").split(" => ")
            assert old in text, old
            changed = text.replace(old, "" if new == "nothing" else new, 1)
        path.write_text(changed, encoding="utf-8")

    return spoil


NO_TOML = """
[axes] => [axes                            | line 7 | read | expected
"run"] => "run"                            | line | read | expected
turbine = "3.9.0" => turbine = 3.9.0       | line | read | expected
name = "spec" => name = spec               | line 3 | read | expected
name = "spec" => name = "spec              | line 3 | read | expected
name = "spec" => name = "sp\\qec"          | line 3 | read | expected
name = "spec" => name                      | line 3 | read | expected
name = "spec" => = "spec"                  | line 3 | read | expected
format = 1 => format = 01                  | line | read | expected
format = 1 => format = 1\\nformat = 1      | line | read | expected
+ [axes]\\nmodel = "x"                     | line | read | expected
+ [models.linear1]                         | line | read | expected
+ this is no TOML                          | line | read | expected
+ {"a": 1}                                 | line | read | expected
+ name: spec                               | line | read | expected
+ <xml/>                                   | line | read | expected
"""

KEYS = """
format = 1 => format = 7                   | format | read 7 | expected 1
format = 1 => format = "1"                 | format | read '1' | expected 1
format = 1 => format = 1.0                 | format | read 1.0 | expected 1
format = 1 => format = true                | format | read True | expected 1
format = 1 => nothing                      | format | is missing | expected 1
name = => nmae =                           | nmae | 'nmae' | did you mean 'name'?
name = "spec" => name = 5                  | name | read 5 | expected a text
name = "spec" => name = ""                 | name | read '' | expected a text
name = "spec" => name = ["spec"]           | name | read ['spec'] | expected a text
name = "spec" => nothing                   | name | is missing | expected a text
question = => questions =                  | questions | 'questions' | did you mean 'question'?
"Which of these runtimes load what these compilers wrote?" => 7  | question | read 7 | expected a text
"export", "compile", "run" => "exprot"     | stages[0] | 'exprot' | did you mean 'export'?
"export", "compile", "run" => "export", "run"  | stages | read export, run | expected no gap
"export", "compile", "run" => nothing      | stages | read none | expected at least one of
["export", "compile", "run"] => 3          | stages | read the number 3 | expected a text
["export", "compile", "run"] => {}         | stages | read {} | expected a text
"export", "compile", "run" => "export", 2  | stages[1] | read the number 2 | expected a text
[axes] => axes = 3\\n[axis.x.y]            | axes | read 3 | expected a table
[axes] => [axis]                           | axis.model | 'model' | expected a new name
compiler = => compilers =                  | axes.compilers | 'compilers' | did you mean 'compiler'?
compiler = => COMPILER =                   | axes.COMPILER | 'COMPILER' | expected one of
compiler = ["3.8.0"] => compiler = 3.10    | axes.compiler | the number 3.1 | in quotes
compiler = ["3.8.0"] => compiler = [3.8]   | axes.compiler[0] | the number 3.8 | in quotes
compiler = ["3.8.0"] => compiler = true    | axes.compiler | read True | expected a text
compiler = ["3.8.0"] => compiler = {}      | axes.compiler | read {} | expected a text
compiler = ["3.8.0"] => compiler = []      | axes.compiler | nothing | expected at least one of
compiler = ["3.8.0"] => compiler = [""]    | axes.compiler | read '' | expected a text
compiler = ["3.8.0"] => compiler = [["3.8.0"]]  | axes.compiler[0] | read ['3.8.0'] | expected a text
compiler = ["3.8.0"] => compiler = 2026-01-01  | axes.compiler | 2026 | expected a text
compiler = ["3.8.0"] => compiler = "3.88.0"    | axes.compiler | '3.88.0' | the locks know
compiler = ["3.8.0"] => compiler = "newest"    | axes.compiler | 'newest' | expected an exact version
compiler = ["3.8.0"] => compiler = "<1"        | axes.compiler | '<1' | expected at least one of
compiler = ["3.8.0"] => compiler = "> =3"      | axes.compiler | '> =3' | expected an exact version
compiler = ["3.8.0"] => compiler = "latest >=x"  | axes.compiler | 'latest >=x' | expected an exact version
compiler = ["3.8.0"] => compiler = "= runtme"  | axes.compiler | 'runtme' | did you mean 'runtime'?
compiler = ["3.8.0"] => compiler = "= compiler"  | axes.compiler | 'compiler' | expected one of
compiler = ["3.8.0"] => compiler = "="         | axes.compiler | '' | expected one of
compiler = ["3.8.0"] => compiler = ["= runtime", "3.8.0"]  | axes.compiler | '= runtime' | expected a tie
torch = "2.9.1" => torch = "9.9"               | axes.torch | '9.9' | the locks know
torch = "2.9.1" => torch = "2.9.1+cu118"       | axes.torch | '2.9.1+cu118' | the locks know
torch = "2.9.1" => python = "4.0"              | axes.python | '4.0' | the locks know
torch = "2.9.1" => device = "gpu"              | axes.device | 'device' | expected one of
torch = "2.9.1" => flags = "O9"                | axes.flags | 'O9' | did you mean 'O
torch = "2.9.1" => target = "vax"              | axes.target | 'vax' | expected one of
torch = "2.9.1" => backend = "tvm"             | axes.backend | 'tvm' | expected one of
model = ["linear1"] => model = ["linaer1"]     | axes.model | 'linaer1' | did you mean 'linear1'?
model = ["linear1"] => model = []              | axes.model | none | expected
+ colour = "red"                           | models.linear1.colour | 'colour' | expected one of
+ [colour]                                 | colour | 'colour' | expected one of
+ [exclude]                                | exclude | read {} | expected an array of tables
+ [[exclude]]                              | exclude[0].when | is missing | expected conditions
+ [[exclude]]\\nwhen = {compiler = "<4"}    | exclude[0].reason | is missing | expected a text
+ [[exclude]]\\nwhen = 3\\nreason = "r"     | exclude[0].when | read 3 | expected a table
+ [[exclude]]\\nwhen = {x = "y"}\\nreason = "r"  | exclude[0].when.x | 'x' | expected one of
+ [[exclude]]\\nwhen = {compiler = "all"}\\nreason = "r"  | exclude[0] | all 1 cells | expected at least one cell
+ [[exclude]]\\nwhen = {compiler = 3}\\nreason = "r"  | exclude[0].when.compiler | the number 3 | in quotes
+ [[exclude]]\\nwhen = {compiler = "9.9"}\\nreason = "r"  | exclude[0] | '9.9' | the locks know
+ [[exclude]]\\nwhen = {compiler = "all"}\\nreason = 3  | exclude[0].reason | read 3 | expected a text
+ [[exclude]]\\nif = {}\\nreason = "r"      | exclude[0].if | 'if' | expected one of
+ [[include]]\\nwhen = {target = "mars"}\\nreason = "r"  | include[0] | 'mars' | expected one of
+ [[include]]                              | include[0].when | is missing | expected conditions
+ [limits.fly]                             | limits.fly | 'fly' | expected one of
+ [limits.run]\\nseconds = 0               | limits.run.seconds | read 0 | expected a number above 0
+ [limits.run]\\nseconds = -1              | limits.run.seconds | read -1 | expected a number above 0
+ [limits.run]\\nseconds = "60"            | limits.run.seconds | read '60' | expected a number above 0
+ [limits.run]\\nseconds = inf             | limits.run.seconds | read inf | expected a number above 0
+ [limits.run]\\nseconds = nan             | limits.run.seconds | read nan | expected a number above 0
+ [limits.run]\\nseconds = true            | limits.run.seconds | read True | expected a number above 0
+ [limits.run]\\nmemory = 5                | limits.run.memory | 'memory' | did you mean 'memory_mib'?
+ [limits.run]\\nmemory_mib = 1e300        | limits.run.memory_mib | read 1e+300 | expected
+ [tolerance]\\nfloat31 = 1e-3             | tolerance.float31 | 'float31' | did you mean 'float32'?
+ [tolerance]\\nfloat32 = -1               | tolerance.float32 | read -1 | expected a number above 0
+ [tolerance]\\nfloat32 = "small"          | tolerance.float32 | read 'small' | expected a number above 0
+ [table]\\nrows = "compielr"              | table.rows | 'compielr' | did you mean 'compiler'?
+ [table]\\nrows = "compiler"\\ncolumns = "compiler"  | table.columns | 'compiler' | expected another axis
+ [table]\\ncolumn = "runtime"             | table.column | 'column' | did you mean 'columns'?
+ [table.where]\\nx = "y"                  | table.where.x | 'x' | expected one of
+ [table.where]\\ncompiler = "9.9"         | where.compiler | '9.9' | the locks know
+ [benchmark]\\nrounds = 0                 | benchmark.rounds | read 0 | expected a whole number from 1
+ [benchmark]\\nrounds = 2.5               | benchmark.rounds | read 2.5 | expected a whole number from 1
+ [benchmark]\\npasses = "two"             | benchmark.passes | read 'two' | expected a whole number from 1
+ [benchmark.baseline]\\nx = "y"           | benchmark.baseline.x | 'x' | expected one of
"run"] => "run", "benchmark"]              | benchmark.baseline | is missing | expected the release
+ [repeat]\\ncompile = 0                   | repeat.compile | read 0 | expected a whole number from 1
+ [repeat]\\nfly = 2                       | repeat.fly | 'fly' | expected one of
name = "spec" => name = "spec"\\ntools_python = 3.11  | tools_python | read 3.11 | expected a text
name = "spec" => name = "spec"\\ntools_python = "2"   | tools_python | '2' | expected
"""

OWN = """
"linear1.mlir" => "linear9.mlir"           | models.linear1 | linear9.mlir' | expected a file
"linear1.mlir" => "folder"                 | models.linear1 | folder' | expected a file
"linear1.mlir" => ""                       | models.linear1 | none | expected one of `file`
"linear1.mlir" => 7                        | models.linear1.mlir | read 7 | expected a text
"input.npy" => "none.npy"                  | models.linear1 | none.npy' | expected a file
"expected1.npy" => "none.npy"              | models.linear1 | none.npy' | expected a file
"expected1.npy" => 1                       | models.linear1.expected[0] | the number 1 | expected a text
+ file = "model.py"                        | models.linear1 | mlir | expected one of `file`
+ functon = "main"                         | models.linear1.functon | 'functon' | did you mean 'function'?
+ function = 1                             | models.linear1.function | read 1 | expected a text
+ opset_version = "17"                     | models.linear1.opset_version | '17' | only with `onnx`
+ opset_version = 17                       | models.linear1.opset_version | read 17 | expected a text
+ parameters = "external"                  | models.linear1.parameters | 'external' | expected it beside `file`
+ [models."a b"]\\nfile = "model.py"       | models.a b | 'a b' | expected a name
+ [models.""]\\nfile = "model.py"          | models | '' | expected a name
+ [models.x]                               | models.x | none | expected one of `file`
+ [models.x]\\nfile = "model.py"\\ninputs = ["input.npy"]  | models.x.inputs | 'input.npy' | expected nothing beside
+ [models.x]\\nfile = "model.py"\\nparameters = "outside"  | models.x.parameters | 'outside' | expected one of inline
+ [models]\\nx = 3                         | models.x | read 3 | expected a table
+ [toolchains.mine]                        | toolchains.mine.path | is missing | expected a text
+ [toolchains.mine]\\npath = "x"\\nimage = "y"  | toolchains.mine.image | 'y' | expected one of them
+ [toolchains.latest]\\npath = "x"         | toolchains.latest | 'latest' | expected a name
+ [toolchains.3x]\\npath = "x"             | toolchains.3x | '3x' | expected a name
+ [toolchains.mine]\\npaths = "x"          | toolchains.mine.paths | 'paths' | did you mean 'path'?
+ [builds.mine]                            | builds.mine.source | is missing | expected a text
+ [builds.mine]\\nsource = "3.13.0"        | builds.mine.toolchain | is missing | expected a text
+ [builds.mine]\\nsource = "s"\\ntoolchain = "t"\\noptions = ["x"]  | options[0] | 'x' | expected an option
+ [builds.all]\\nsource = "s"\\ntoolchain = "t"  | builds.all | 'all' | expected a name
+ [targets.host]                           | targets.host | 'host' | expected another name
+ [targets.x86_64]                         | targets.x86_64 | 'x86_64' | expected a name of its own
+ [targets.mine]\\nemulatr = ["q"]         | targets.mine.emulatr | 'emulatr' | did you mean 'emulator'?
+ [targets.mine]\\nemulator = ["q"]        | targets.mine.emulator | 'q' | expected one of them
+ [targets.mine]\\nmachine = "m"\\nsysroot = "s"  | targets.mine.sysroot | 's' | expected {sysroot}
+ [targets.mine]\\nmachine = "m"\\nemulator = ["{x}"]  | targets.mine.emulator[0] | '{x}' | expected no other place
+ [targets."../x"]                         | targets.../x | '../x' | expected a name
+ [axis.compiler.x]                        | axis.compiler | 'compiler' | expected a new name
+ [axis.mine.x]\\ncompil = []              | axis.mine.x.compil | 'compil' | did you mean 'compile'?
+ [axis.mine.x]\\npackages = ["a b c"]     | axis.mine.x.packages[0] | 'a b c' | expected a requirement
+ [axis.mine.x]\\npackages = ["torch==2.9.1"]  | axis.mine.x.packages[0] | 'torch==2.9.1' | expected another package
+ [axis.mine.x]\\npackages = ["a @ file:///x"]  | axis.mine.x | 'a @ file:///x' | expected a package of
+ [axis.mine."x y"]                        | axis.mine.x y | 'x y' | expected a name
+ [axis]\\nmine = 3                        | axis.mine | read 3 | expected a table
"""

SPECS = [row for table in (NO_TOML, KEYS, OWN) for row in rows_of(table, "plan spec.toml", spoil_spec)]
