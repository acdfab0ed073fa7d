"""The verbs of the ARM1176: `armv6-smoke` and `armv6-lld`."""

from __future__ import annotations

import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from matrix.builds.board_check import check_board
from matrix.builds.board_programs import CPU
from matrix.builds.bundle import refuse_filled
from matrix.builds.expected import BoardFindings, Outcomes, accept, differences, read_built, read_expected
from matrix.builds.linkage import BoardRuntime, advice, linkage_table, programs_of, row_of
from matrix.builds.linker import LINKER
from matrix.builds.tools import images, released_linker
from matrix.cli.boards.parts import board_spec, board_tools, furnisher, model_words, tell_step
from matrix.core.data import BOARD_PRESET, data_root
from matrix.core.errors import (
    EXIT_INTERRUPTED,
    EXIT_NO,
    EXIT_OK,
)
from matrix.core.records import DEFAULT_ENGINE, Outcome
from matrix.core.text import plain_rows
from matrix.engines.choice import engine_maker
from matrix.plan.backends.iree.environments import COMPILER, RUNTIME
from matrix.plan.backends.iree.names import BUILD, LINK
from matrix.plan.graph import Plan
from matrix.plan.question import Question
from matrix.results.run import FinishedJob, Run
from matrix.run.carry_out import carry_out, report_gaps, resolved
from matrix.run.evidence import judged_cells
from matrix.run.planning import load_spec, plan_for
from matrix.run.store import Store

ARM_EMULATOR = "qemu-arm-static"


def expected_path() -> Path:
    return data_root() / "results" / "armv6" / "expected.json"


def do_armv6_smoke(options: Namespace) -> int:
    """From toolchains to models on the emulated board; exit status 1 if an outcome is not the committed one."""
    expected = read_expected(expected_path()) if expected_path().exists() and not options.accept else None
    spec = board_spec(BOARD_PRESET, options.source, options.model)
    axes = {COMPILER: (options.compiler,)} if options.compiler else {}
    question = Question(preset=BOARD_PRESET, axes=axes, models=(*spec.axes["model"], *model_words(options.model)))
    plan = resolved(lambda: plan_for(spec, question, options.store))
    with Store(options.store) as store, tempfile.TemporaryDirectory() as scratch:
        with _step("toolchains"):
            tools = board_tools(plan, store, emulator=ARM_EMULATOR, cpu=CPU)
        checks = check_board(tools, images() / "smoke" / "hello.c", Path(scratch), say=tell_step)
        with _step(f"IREE's runtime from source, and models by every route, compiled by {', '.join(_compilers(plan))}"):
            summary = carry_out(plan, store, options, words=["armv6-smoke", f"{options.source}"])
            if summary.interrupted:
                return EXIT_INTERRUPTED
            report_gaps(summary)
            run = judged_cells(plan, summary.states, store)
        runners = _runners(run, plan, store)
    return tell(_found(run, plan, checks), runners, expected, options)


def tell(found: BoardFindings, runners: Sequence[BoardRuntime], expected: Outcomes | None, options: Namespace) -> int:
    """Prints the cells, how to link, and the differences from the expectation; accepts these instead if asked to."""
    for row in found.rows:
        tell_step(f"   {row.cell}: {row.outcome.value}{f': {row.detail}' if row.detail else ''}")
    for runner in (runner for runner in runners if runner.whole):
        digest = found.binaries[runner.name].removeprefix("sha256:")[:12]
        tell_step(f"   {runner.name}: {runner.size:,} bytes, {runner.facts.float_abi} float ABI, {digest}")
    linked = linkage_table(found.rows, runners)
    print(f"\n{plain_rows(linked.rows, headers=linked.headings)}\n")
    print("\n".join(advice(found.rows, runners)))
    if options.accept:
        accept(found, expected_path(), images())
        return EXIT_OK
    if expected is None:
        print("\nno outcomes are committed to compare these with: look at the rows, then keep them with --accept")
        return EXIT_OK
    lines = differences(found, expected, read_built(images()), load_spec(BOARD_PRESET).axes["model"])
    if lines:
        print(f"\n{len(lines)} not as expected:\n" + "\n".join(f"  {line}" for line in lines))
        return EXIT_NO
    checks = len(found.checks) + (len(found.binaries) if found.release else 0)
    print(f"\nas expected: {checks} checks and {len(found.rows)} cells")
    return EXIT_OK


def _compilers(plan: Plan) -> tuple[str, ...]:
    return tuple(value.label for value in plan.axes[COMPILER])


def _found(run: Run, plan: Plan, checks: Mapping[str, str]) -> BoardFindings:
    """The results of a run, with those of the checks before it."""
    builds = {request.build.name: request.build for request in plan.environments() if request.build}
    ends = {f"runtime {name}": "not built" for name in builds}
    cells = [cell for cell in run.cells if cell.outcome is not Outcome.EXCLUDED]
    for cell in cells:
        ends |= {f"runtime {cell.axes[RUNTIME]}": _ending(job) for job in run.jobs_of(cell) if job.stage == BUILD}
    made = programs_of(run, BUILD)
    rank = {(axis, value.label): index for axis, values in plan.axes.items() for index, value in enumerate(values)}
    axes = ("model", "route", RUNTIME)
    ordered = sorted(cells, key=lambda cell: [rank[axis, cell.axes[axis]] for axis in axes])
    return BoardFindings(
        release=next(iter(builds.values())).release,
        checks={**checks, **ends},
        binaries={name: f"sha256:{made[name].sha256}" if name in made else "" for name in builds},
        rows=tuple(row_of(run, cell) for cell in ordered),
    )


def _ending(job: FinishedJob) -> str:
    return f"exit code {job.exit_code}" if job.outcome is Outcome.FAILED else job.outcome.value.replace("_", " ")


def _runners(run: Run, plan: Plan, store: Store) -> list[BoardRuntime]:
    """IREE's runtimes, then the programs with a model in them."""
    routes, tools = plan.spec.own_axes["route"], board_tools(plan, store, emulator=ARM_EMULATOR, cpu=CPU)
    runners = []
    for stage in (BUILD, LINK):
        made = programs_of(run, stage)
        runners += [
            BoardRuntime(
                name=name,
                size=made[name].bytes,
                facts=tools[name].facts(store.blob(made[name].sha256)),
                routes=tuple(
                    route for route, value in routes.items() if bool(value.flags.get(LINK)) == (stage == LINK)
                ),
                whole=stage == BUILD,
            )
            for name in tools
            if name in made
        ]
    return runners


def do_armv6_lld(options: Namespace) -> int:
    """Makes a folder with the repaired linker for one compiler release, and prints how to use it."""
    folder: Path = options.folder
    refuse_filled(folder)
    with Store(options.store) as store:
        lld = options.iree_lld or _released_linker(options.compiler, store)
        folder.mkdir(parents=True, exist_ok=True)
        furnisher(store).linker(folder, lld)
    print(f"iree-compile … --iree-llvmcpu-embedded-linker-path={folder.resolve()}/{LINKER}")
    return EXIT_OK


def _released_linker(compiler: str, store: Store) -> Path:
    """The linker of a compiler release. Raises SpecError for one without a lock."""
    axes = {COMPILER: (compiler,)} if compiler else {}
    plan = plan_for(load_spec(BOARD_PRESET), Question(preset=BOARD_PRESET, axes=axes), store.folder)
    engine = engine_maker(DEFAULT_ENGINE, store.places, cores=1)(lambda _: None)
    try:
        environment = engine.realise(next(each for each in plan.environments() if each.kind == COMPILER))
    finally:
        engine.close()
    return environment.root / released_linker(environment)


@contextmanager
def _step(name: str) -> Iterator[None]:
    started = time.monotonic()
    tell_step(f"== {name}")
    yield
    tell_step(f"   {time.monotonic() - started:.1f} s")
