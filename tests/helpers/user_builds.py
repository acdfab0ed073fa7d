"""A spec with a build of its own, for a board and by compilers of its own."""

from __future__ import annotations

from pathlib import Path

from matrix.plan.graph import Plan, make_plan
from matrix.plan.spec import parse_spec
from matrix.run.planning import load_catalogue

USER_BUILD = """
[axes]
model = "linear"
runtime = "mine"
target = "board"
[targets.board]
triple = "riscv64-linux-gnu"
emulator = ["qemu-riscv64-static"]
[targets.board.toolchain]
path = "cross"
cc = ["{toolchain}/bin/rv-gcc", "-mabi=lp64d"]
cxx = ["{toolchain}/bin/rv-g++"]
binutils = "{toolchain}/bin/rv-"
link = ["-static"]
tool_libraries = "lib"
[builds.mine]
source = "3.13.0"
toolchain = "board"
options = ["-DCMAKE_SYSTEM_PROCESSOR="]
"""


def plan_of_user_build(folder: Path, body: str = USER_BUILD) -> Plan:
    spec = parse_spec('format = 1\nname = "own"\nquestion = "Does it run?"\n' + body, source="own.toml", base=folder)
    return make_plan(spec, load_catalogue(spec))
