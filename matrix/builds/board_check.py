"""`armv6-smoke`: from toolchains and a hello world to models on the emulated ARM1176, each step timed and shown.

Every step is a task of the store, so a second call shows the same page from the cache.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from matrix.builds import tools as places
from matrix.builds.board_cells import Board, measure
from matrix.builds.board_models import SmokeModel, smoke_models
from matrix.builds.linker import helpers_task
from matrix.builds.program import ProgramFacts, program_facts
from matrix.builds.routes import ROUTES, STATIC_LIBRARY, Row, Runner
from matrix.builds.sources import source_version
from matrix.builds.tasks import TaskEnd, Tasks, Tree
from matrix.builds.toolchain_tasks import (
    CPU,
    EVERYTHING,
    emulated_task,
    host_tools_task,
    look_task,
    program_task,
    runtime_task,
)
from matrix.core.errors import LockFault
from matrix.core.keys import sha256
from matrix.core.records import Outcome
from matrix.plan.source_builds import NATIVE, RUNNER, CrossToolchain

HELLO = "1.4142135623730951 2.71828175"
"""sqrt(2) in double and expf(1) in float (the float nearest to e, to nine digits)."""
BINARY = "binary "
"""The start of the names of those checks that only the pinned sources can pass: of the runtimes' bytes. What is
expected of them stands in `images/armv6/built.toml`."""
ORACLE = ("-march=armv7-a", "-marm", "-mfpu=vfpv3-d16")
"""Code with movw and movt, which an ARM1176 does not have. Not Thumb-2: an ARM1176 takes the halves of its instructions
for other ones and goes on, to a SIGSEGV later."""


@dataclass(slots=True)
class Smoke:
    """What the steps found, as they go. `rows` is the matrix, `checks` what is right or not beside it."""

    tasks: Tasks
    say: Callable[[str], None]
    trees: dict[str, Tree] = field(default_factory=dict)
    toolchains: Mapping[str, CrossToolchain] = field(default_factory=dict)
    runners: list[Runner] = field(default_factory=list)
    binaries: dict[str, Path] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)
    release: str = ""
    """What IREE's sources say of themselves."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        self.say(f"== {name}")
        yield
        self.say(f"   {time.monotonic() - started:.1f} s")

    def do(self, end: TaskEnd) -> TaskEnd:
        """Says what a task came to; a log's end where it failed."""
        source = "from the store" if end.cached else f"{end.seconds:.1f} s"
        self.say(f"   {end.label}: {end.ending} ({source})")
        return end


def smoke(
    store: Path, *, compiler: str, source: Path | None, say: Callable[[str], None], models: Sequence[SmokeModel] = ()
) -> Smoke:
    """All steps in order. Raises what fetching raises; what fails on the board is a row, never an error."""
    state = Smoke(tasks=Tasks(store), say=say)
    with state.step("toolchains"):
        state.trees = places.tool_trees(store)
        state.toolchains = places.board_toolchains()
        for name, tree in state.trees.items():
            if tree.digest:
                say(f"   {name}: {tree.digest.removeprefix('sha256:')[:12]}")
    with state.step("hello world with libm, on arm1176"):
        for toolchain in state.toolchains.values():
            _hello(state, toolchain)
    with state.step("the oracle: code for ARMv7 on arm1176, and on max"):
        _oracle(state)
    with state.step("IREE's runtime from source"):
        _runtimes(state, places.source_tree(source))
    with tempfile.TemporaryDirectory() as scratch, state.step(f"models by every route, compiled by {compiler}"):
        trees = _with_linker(state, compiler, store)
        _cells(state, (*smoke_models(places.images() / "smoke", Path(scratch)), *models), trees, Path(scratch))
    return state


def _hello(state: Smoke, toolchain: CrossToolchain) -> None:
    name = f"hello {toolchain.name}"
    made = state.do(state.tasks.run(program_task(toolchain, places.images() / "smoke" / "hello.c", state.trees)))
    if not made.passed:
        state.checks[name] = made.ending
        return
    program = made.output("program")
    facts = _facts(state, program)
    ran = state.tasks.run(emulated_task(f"run {name}", program, ("2",), toolchain, state.trees, cpu=CPU))
    right = ran.passed and HELLO in ran.log
    state.checks[name] = "right" if right else "wrong" if ran.passed else ran.ending
    size = program.stat().st_size
    needs = ", ".join(facts.needs) or "nothing"
    state.say(
        f"   {name}: {state.checks[name]}; {size:,} bytes, {facts.architecture}, {facts.floating_point}, "
        f"{facts.float_abi} float ABI, needs {needs}"
    )


def _facts(state: Smoke, program: Path) -> ProgramFacts:
    return program_facts(state.tasks.run(look_task(program, state.trees)).log)


def _oracle(state: Smoke) -> None:
    """The emulator must refuse what the board cannot run, or nothing here proves anything."""
    gcc = state.toolchains["armel-static"]
    newer = replace(
        gcc,
        name="armv7",
        cc=(*(word for word in gcc.cc if not word.startswith("-m")), *ORACLE, "-mfloat-abi=softfp"),
    )
    made = state.do(state.tasks.run(program_task(newer, places.images() / "smoke" / "hello.c", state.trees)))
    for cpu in (CPU, EVERYTHING):
        name = f"ARMv7 code on {cpu}"
        if not made.passed:
            state.checks[name] = made.ending
            continue
        ran = state.tasks.run(emulated_task(name, made.output("program"), ("2",), newer, state.trees, cpu=cpu))
        state.checks[name] = "right" if ran.passed and HELLO in ran.log else ran.ending
        state.say(f"   QEMU_CPU={cpu}: {state.checks[name]}")


def _runtimes(state: Smoke, source: Tree) -> None:
    state.release = source_version(source)
    state.say(f"   IREE {state.release}, sources {source.digest[:12]}")
    state.trees["source"] = source
    tools = state.do(state.tasks.run(host_tools_task(places.toolchains()[NATIVE], state.trees)))
    if not tools.passed:
        _tail(state, tools)
        return
    state.trees["host"] = tools.tree
    for toolchain in state.toolchains.values():
        built = state.do(state.tasks.run(runtime_task(toolchain, state.trees)))
        state.checks[f"runtime {toolchain.name}"] = built.ending
        if not built.passed:
            _tail(state, built)
            continue
        binary = built.output(RUNNER)
        runner = _runner(state, toolchain, binary, tuple(ROUTES))
        state.runners.append(runner)
        state.binaries[toolchain.name] = binary
        state.checks[f"{BINARY}{toolchain.name}"] = f"sha256:{sha256(binary)}"
        state.say(f"   {runner.name}: {runner.size:,} bytes, {runner.float_abi} float ABI, {sha256(binary)[:12]}")


def _tail(state: Smoke, end: TaskEnd) -> None:
    state.say(f"   the failing command: {end.failed_command[:300]}")
    for line in end.log.splitlines()[-12:]:
        state.say(f"   | {line[:200]}")


def _with_linker(state: Smoke, compiler: str, store: Path) -> dict[str, Tree]:
    environment = places.compiler_environment(compiler, store)
    helpers = state.do(state.tasks.run(helpers_task(places.images() / "link", state.trees)))
    link = places.link_tree(state.tasks, helpers.folder, environment, state.trees["armel"])
    return places.with_compiler(state.trees | {"helpers": helpers.tree}, environment, link)


def _cells(state: Smoke, models: Sequence[SmokeModel], trees: Mapping[str, Tree], scratch: Path) -> None:
    board = Board(
        tasks=state.tasks,
        trees=trees,
        toolchains=state.toolchains,
        binaries=state.binaries,
        support=(places.images() / "static" / "main.c", trees["helpers"].path / "libgcc.a"),
        scratch=scratch,
    )
    programs: dict[str, Path] = {}
    for measured in measure(board, models):
        row = measured.row
        state.rows.append(row)
        state.say(f"   {row.cell}: {row.outcome.value}{f': {row.detail}' if row.detail else ''}")
        if measured.program and row.outcome is Outcome.PASSED:
            programs[row.runner] = max(
                programs.get(row.runner, measured.program), measured.program, key=lambda path: path.stat().st_size
            )
    for name, program in programs.items():
        state.runners.append(_runner(state, state.toolchains[name], program, (STATIC_LIBRARY,)))


def _runner(state: Smoke, toolchain: CrossToolchain, program: Path, routes: tuple[str, ...]) -> Runner:
    facts = _facts(state, program)
    return Runner(
        name=toolchain.name,
        float_abi=facts.float_abi,
        dynamic=toolchain.dynamic,
        size=program.stat().st_size,
        needs=facts.needs,
        routes=routes,
    )


def expectation(state: Smoke) -> dict[str, dict[str, str]]:
    """What is committed in results/armv6 and compared with: checks by name, outcomes by cell."""
    return {
        "checks": {name: text for name, text in sorted(state.checks.items()) if not name.startswith(BINARY)},
        "cells": {row.cell: row.verdict for row in state.rows},
    }


def read_expectation(path: Path) -> dict[str, dict[str, str]]:
    try:
        read = json.loads(path.read_bytes())
        return {"checks": dict(read["checks"]), "cells": dict(read["cells"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LockFault(f"{path.name} cannot be read: {error}", tip="write it anew: armv6-smoke --accept") from error
