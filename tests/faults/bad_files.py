"""Files that are damaged, empty, of another kind or of hostile content."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_input import Row, rows_of

RESULTS_COMMANDS = ("show run.json", "compare run.json other.json", "diff run.json other.json")


def write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda desk: (desk / name).write_bytes(content)


def cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda desk: (desk / name).write_bytes((desk / name).read_bytes()[:size])


def replaced(name: str, old: bytes, new: bytes) -> Callable[[Path], object]:
    def spoil(desk: Path) -> None:
        content = (desk / name).read_bytes()
        assert old in content, old
        (desk / name).write_bytes(content.replace(old, new, 1))

    return spoil


def folder_in_place(name: str) -> Callable[[Path], object]:
    def spoil(desk: Path) -> None:
        (desk / name).unlink(missing_ok=True)
        (desk / name).mkdir()

    return spoil


def spoil_run(change: str) -> Callable[[Path], object]:
    """`a.b[0] = JSON` sets a value of the run, `a.b -` removes one."""

    def spoil(desk: Path) -> None:
        run = json.loads((desk / "run.json").read_text())
        place, equals, value = change.partition(" = ")
        steps: list[Any] = place.removesuffix(" -").replace("[", ".[").split(".")
        keys = [int(step[1:-1]) if step.startswith("[") else step for step in steps]
        holder = run
        for key in keys[:-1]:
            key = next(iter(holder)) if key == "*" else key  # noqa: PLW2901
            holder = holder[key]
        if equals:
            holder[keys[-1]] = json.loads(value)
        else:
            del holder[keys[-1]]
        (desk / "run.json").write_text(json.dumps(run))

    return spoil


RUN = """
format = "2"                               | run.json | '2' | expected
format = 99                                | run.json | read format 99 | expected at most
format = 0                                 | run.json | read format 0 | expected
format = -1                                | run.json | read format -1 | expected
format = null                              | run.json | `format` | expected a run
format = true                              | run.json | True | expected
format -                                   | run.json | `format` | expected a run
cells = {}                                 | run.json | `cells` | expected a run
cells = null                               | run.json | `cells` | expected a run
cells -                                    | run.json | `cells` | expected a run
cells[0] = 7                               | cells[0] | read 7 | expected a table
cells[0] = "linear"                        | cells[0] | read 'linear' | expected a table
cells[0].axes = []                         | cells[0].axes | read [] | expected a table
cells[0].axes = {}                         | cells[0].axes | empty | expected a value for each axis
cells[0].axes -                            | cells[0].axes | is missing | expected
cells[0].axes.compiler = 3                 | cells[0].axes.compiler | read 3 | expected a text
cells[0].outcome = "pased"                 | cells[0].outcome | 'pased' | did you mean 'passed'?
cells[0].outcome = 3                       | cells[0].outcome | read 3 | expected one of passed
cells[0].outcome = []                      | cells[0].outcome | read [] | expected one of passed
cells[0].outcome -                         | cells[0].outcome | is missing | expected
cells[0].stage = "fly"                     | cells[0].stage | 'fly' | expected one of export
cells[0].stage = 5                         | cells[0].stage | read 5 | expected a text
cells[0].evidence = 5                      | cells[0].evidence | read 5 | expected a table
cells[0].evidence.jobs = "x"               | cells[0].evidence.jobs | read 'x' | expected a list
cells[0].evidence.jobs = ["nosuch"]        | cells[0].evidence.jobs[0] | 'nosuch' | expected a key of `jobs`
cells[0].evidence.jobs = [5]               | cells[0].evidence.jobs[0] | read 5 | expected a text
cells[0].evidence.message = 5              | cells[0].evidence.message | read 5 | expected a text
cells[0].evidence.compared = "yes"         | cells[0].evidence.compared | read 'yes' | expected true or false
cells[0].evidence.comparison = {}          | cells[0].evidence.comparison | is missing | expected
cells[0].evidence.comparison = "equal"     | cells[0].evidence.comparison | read 'equal' | expected a table
jobs = []                                  | jobs | read [] | expected a table
jobs.* = 3                                 | jobs. | read 3 | expected a table
jobs.*.seconds = "1"                       | .seconds | read '1' | expected a number
jobs.*.log_bytes = "1"                     | .log_bytes | read '1' | expected a whole number
jobs.*.seconds -                           | .seconds | is missing | expected
jobs.*.exit_code = 1.5                     | .exit_code | read 1.5 | expected a whole number
jobs.*.outcome = "red"                     | .outcome | 'red' | expected one of passed
jobs.*.command = "iree-compile"            | .command | read 'iree-compile' | expected a list
jobs.*.artifacts = {"x": {"sha256": 3}}    | .artifacts.x | read 3 | expected a text
jobs.*.finished_at = 20260101              | .finished_at | read 20260101 | expected a text
axes = {}                                  | axes | read {} | expected a list
axes[0].name = 3                           | axes[0].name | read 3 | expected a text
axes[0].values = "all"                     | axes[0].values | read 'all' | expected a list
axes[0].values[0].label = null             | axes[0].values[0].label | is missing | expected
stages = "export"                          | stages | read 'export' | expected a list
stages = [1]                               | stages[0] | read 1 | expected a text
environments = [1]                         | environments | read [1] | expected a table
signatures = 3                             | signatures | read 3 | expected a table
tolerance = {"float32": "x"}               | tolerance.float32 | read 'x' | expected a number
tables = [{"rows": "compiler"}]            | tables[0].columns | is missing | expected
times = 5                                  | times | read 5 | expected a list
preset = 5                                 | preset | read 5 | expected a text
question = ["?"]                           | question | read ['?'] | expected a text
"""


def table_of(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


DEEP = b"[" * 100_000
NAMED: list[tuple[str, Callable[[Path], object], str]] = [
    # the command, how the file is spoilt, the parts of the message
    ("show run.json", write("run.json", b""), "run.json | nothing more | expected JSON"),
    ("show run.json", write("run.json", b"\0" * 1000), "run.json | line 1 | expected"),
    ("show run.json", write("run.json", b"\xff\xfe{}"), "run.json | bytes | expected"),
    ("show run.json", write("run.json", b"{}"), "run.json | `format` | expected a run"),
    ("show run.json", write("run.json", b"[]"), "run.json | `format` | expected a run"),
    ("show run.json", write("run.json", b"7"), "run.json | `format` | expected a run"),
    ("show run.json", write("run.json", b'{"format": 2'), "run.json | line 1 | expected"),
    ("show run.json", write("run.json", b"format = 2"), "run.json | line 1 | expected"),
    ("show run.json", write("run.json", b"PK\x03\x04" * 99), "run.json | line 1 | expected"),
    ("show run.json", write("run.json", DEEP), "run.json | levels of lists | expected fewer"),
    ("show run.json", write("run.json", b'{"format": 2, "cells": [NaN]}'), "run.json | NaN | expected a finite"),
    ("show run.json", write("run.json", b'{"format": 2, "cells": [1e999]}'), "run.json | 1e999 | expected a finite"),
    ("show run.json", write("run.json", b'{"format": 1' + b"0" * 5000 + b"}"), "run.json | 1000 | expected a finite"),
    ("show run.json", write("run.json", b'{"format": 2, "cells": ["\\ud800"]}'), "run.json | U+D800 | expected whole"),
    ("show run.json", cut("run.json", 5000), "run.json | line 1 | expected"),
    ("show run.json", folder_in_place("run.json"), "run.json | directory | expected a results file"),
    ("compare run.json other.json", cut("other.json", 5000), "other.json | line 1 | expected"),
    ("compare run.json other.json", write("other.json", b"{}"), "other.json | `format` | expected a run"),
    ("compare run.json none.json", None, "none.json | nothing | expected a results file"),
    ("diff run.json none.json", None, "none.json | nothing | expected a results file"),
    ("diff run.json other.json", write("other.json", b"x"), "other.json | line 1 | expected"),
    ("picture none.json -o x.svg", None, "none.json | nothing | expected a results file"),
    ("report taken -o x.html", None, "taken | line 1 | expected"),
    ("site taken -o site", None, "taken | line 1 | expected"),
    ("site run.json -o folder", None, "folder | mine.txt | expected a new folder"),
    ("site run.json -o taken", None, "taken | a file | expected a new folder"),
    ("site run.json other.json -o site", None, "other.json | preset | expected"),
    ("report run.json -o folder", None, "folder | directory | expected a file"),
    ("picture run.json -o folder", None, "folder | directory | expected a file"),
    ("picture run.json -o none/deep/x.svg", write("none", b""), "none/deep/x.svg | Not a directory | expected a file"),
    ("show run.json --output folder", None, "folder | directory | expected a file"),
    ("why --results none.json compiler=3.8.0", None, "none.json | nothing | expected a results file"),
    ("advise --model linear --results empty", None, "empty | nothing more | expected JSON"),
    ("candidates --results binary", None, "binary | bytes | expected"),
    ("badge --model linear --results run.json -o folder", None, "folder | directory | expected a file"),
    # modules
    ("whatis none.vmfb", None, "none.vmfb | no file | expected"),
    ("whatis folder", None, "folder | no file | expected"),
    ("whatis empty", None, "empty | first bytes | expected a .vmfb"),
    ("whatis taken", None, "taken | b'mine' | expected a .vmfb"),
    ("whatis binary", None, "binary | first bytes | expected a .vmfb"),
    ("whatis model.py", None, "model.py | first bytes | expected a .vmfb"),
    ("whatis model.onnx", None, "model.onnx | first bytes | expected a .vmfb"),
    ("whatis input.npy", None, "input.npy | NUMPY | expected a .vmfb"),
    ("whatis model.vmfb", cut("model.vmfb", 100), "model.vmfb | zip | expected a whole file"),
    ("whatis model.vmfb", cut("model.vmfb", 4000), "model.vmfb | zip | expected a whole file"),
    ("whatis model.vmfb", cut("model.vmfb", 3), "model.vmfb | first bytes | expected a .vmfb"),
    ("whatis model.vmfb", replaced("model.vmfb", b"IREE", b"EERI"), "model.vmfb | checksum | expected whole"),
    ("whatis model.vmfb", write("model.vmfb", b"\x7fELF" + bytes(60)), "model.vmfb | ELF | expected a .vmfb"),
    ("whatis model.vmfb", write("model.vmfb", bytes(8) + b"IREE"), "model.vmfb | 0 bytes | expected 8 to"),
    (
        "whatis model.vmfb",
        write("model.vmfb", struct.pack("<II", 0xFFFFFFF0, 8) + b"IREE"),
        "model.vmfb | 4294967280 bytes | expected 8 to",
    ),
    ("whatis model.mlir", write("model.mlir", b""), "model.mlir | 0 bytes | expected MLIR"),
    ("whatis model.mlir", write("model.mlir", b"hello\n"), "model.mlir | 6 bytes | expected MLIR"),
    ("whatis model.mlir", write("model.mlir", b"ML\xefR"), "model.mlir | cut off | expected MLIR"),
    ("whatis model.mlirbc", cut("model.mlirbc", 300), "model.mlirbc | bytes | expected MLIR"),
    ("whatis model.mlirbc", write("model.mlirbc", b"ML\xefR" + b"\xff" * 99), "model.mlirbc | bytes | expected MLIR"),
    ("whatis folder --gates", None, "folder | no | expected"),
    ("whatis model.vmfb --gates", None, "model.vmfb | Not a directory | expected a folder"),
    # models of one's own
    (
        "plan spec.toml --model model.py",
        write("model.py", b"PACKAGES = 3"),
        "model.py: PACKAGES | read 3 | expected a tuple",
    ),
    (
        "plan spec.toml --model model.py",
        write("model.py", b"PACKAGES = ('a b',)"),
        "model.py: PACKAGES | 'a b' | expected a requirement",
    ),
    (
        "plan spec.toml --model model.py",
        write("model.py", b"PACKAGES = [x for x in y]"),
        "model.py: PACKAGES | x for x | expected a tuple",
    ),
    (
        "plan spec.toml --model model.py",
        write("model.py", b"PACKAGES = ('numpy @ http://x/y',)"),
        "model.py: PACKAGES | numpy @ | expected a package of the index",
    ),
    (
        "plan spec.toml --model model.py",
        write("model.py", b"PACKAGES = ('torch',)"),
        "model.py: PACKAGES | 'torch' | expected another package",
    ),
    ("plan spec.toml --model model.py", folder_in_place("model.py"), "models.model | model.py' | expected a file"),
    (
        "plan spec.toml --model model.mlir --inputs input.npy",
        write("input.npy", b""),
        "input.npy | b'' | expected an .npy",
    ),
    (
        "plan spec.toml --model model.mlir --inputs input.npy",
        write("input.npy", b"1 2 3"),
        "input.npy | b'1 2 3' | expected an .npy",
    ),
    (
        "plan spec.toml --model model.mlir --expected expected.npy",
        write("expected.npy", b"PK\x03\x04"),
        "expected.npy | b'PK | expected an .npy",
    ),
    (
        "plan spec.toml --model model.mlir --expected expected.npy",
        write("expected.npy", table_of(b"(" * 4000)),
        "expected.npy | header | expected an .npy",
    ),
    (
        "plan spec.toml --model model.mlir --expected expected.npy",
        write("expected.npy", table_of(b"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }\n")),
        "expected.npy | object | expected an .npy",
    ),
    ("plan spec.toml", cut("input.npy", 20), "input.npy | header | expected an .npy"),
]


def named_rows() -> list[Row]:
    rows = []
    for number, (words, spoil, parts) in enumerate(NAMED):
        place, read, expected = parts.split(" | ")
        name = f"{words} (file {number})"
        rows.append(Row(name=name, words=words, place=place, read=read, expected=expected, spoil=spoil))
    return rows


FILES = [*rows_of(RUN, "show run.json", spoil_run), *named_rows()]
