"""A user's own compilers are started to be known."""

from __future__ import annotations

from pathlib import Path

from matrix.plan.graph import Plan, make_plan
from matrix.plan.spec import parse_spec
from matrix.run.planning import load_catalogue

OWN = """
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


def of_ones_own(folder: Path, body: str = OWN) -> Plan:
    spec = parse_spec('format = 1\nname = "own"\nquestion = "Does it run?"\n' + body, source="own.toml", base=folder)
    return make_plan(spec, load_catalogue(spec))


def program(path: Path, version: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)


def test_ones_own_compilers_are_known_by_their_content(tmp_path: Path) -> None:
    digests = []
    for version in ("", "12.2", "12.2", "13.1"):
        if version:
            for name in ("gcc", "g++", "ar", "strip"):
                program(tmp_path / "cross" / "bin" / f"rv-{name}", version)
        (node,) = (node for node in of_ones_own(tmp_path).nodes if node.stage == "build")
        assert node.request is not None
        digests.append(node.request.lock.digest)
    assert digests[1] == digests[2]
    assert len(set(digests)) == 3
