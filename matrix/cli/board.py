"""The verbs of boards: `armv6-smoke`, `bundle` and `armv6-lld`."""

from __future__ import annotations

import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from glob import escape
from pathlib import Path

from matrix.artifacts.program_audit import audit_program, names_of_this_machine
from matrix.builds.board_check import check_board
from matrix.builds.board_programs import CPU, BoardTools
from matrix.builds.bundle import BundledModel, BundleFacts, measured_peak, refuse_filled, write_bundle
from matrix.builds.expected import BoardFindings, Outcomes, accept, differences, read_built, read_expected
from matrix.builds.linkage import BoardRuntime, advice, linkage_table, programs_of, row_of
from matrix.builds.linker import LINKER
from matrix.builds.sources import source_version
from matrix.builds.tools import BuildTools, images, released_linker, toolchains
from matrix.core.data import BOARD_PRESET, data_root
from matrix.core.errors import (
    EXIT_INTERRUPTED,
    EXIT_NO,
    EXIT_OK,
    BundleRefused,
    ModelMissing,
    UsageError,
)
from matrix.core.records import DEFAULT_ENGINE, Outcome
from matrix.core.text import plain_rows
from matrix.core.versions import did_you_mean
from matrix.engines.choice import engine_maker
from matrix.engines.kind import workshop
from matrix.images.debian.unpacked import Tree
from matrix.plan.backends.backend import EXPECTED, INPUT, matching
from matrix.plan.backends.iree import BUILD, LINK, VMFB
from matrix.plan.backends.iree_environments import COMPILER, FLAGS, RUNTIME, TORCH, TURBINE
from matrix.plan.backends.source_builds import RUNNER, TREES, UNSTRIPPED
from matrix.plan.graph import Plan
from matrix.plan.question import Question
from matrix.plan.spec import Spec
from matrix.plan.user_inputs import UserModel
from matrix.results.judge import Comparison
from matrix.results.run import FinishedJob, Run
from matrix.run.carry_out import carry_out, report_gaps, resolved
from matrix.run.evidence import judged_cells
from matrix.run.planning import load_spec, plan_for
from matrix.run.store import Store

WHOLE = 1 << 20
"""From this number of bytes of MLIR on, a model is a whole one, which VMVX interprets for minutes."""


def expected_path() -> Path:
    return data_root() / "results" / "armv6" / "expected.json"


def do_armv6_smoke(options: Namespace) -> int:
    """From toolchains to models on the emulated board; exit status 1 if an outcome is not the committed one."""
    expected = read_expected(expected_path()) if expected_path().exists() and not options.accept else None
    spec = board_spec(options.source, options.model)
    axes = {COMPILER: (options.compiler,)} if options.compiler else {}
    question = Question(preset=BOARD_PRESET, axes=axes, models=(*spec.axes["model"], *model_words(options.model)))
    plan = resolved(lambda: plan_for(spec, question, options.store))
    with Store(options.store) as store, tempfile.TemporaryDirectory() as scratch:
        with _step("toolchains"):
            tools = board_tools(plan, store)
        checks = check_board(tools, images() / "smoke" / "hello.c", Path(scratch), say=_say)
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
        _say(f"   {row.cell}: {row.outcome.value}{f': {row.detail}' if row.detail else ''}")
    for runner in (runner for runner in runners if runner.whole):
        digest = found.binaries[runner.name].removeprefix("sha256:")[:12]
        _say(f"   {runner.name}: {runner.size:,} bytes, {runner.facts.float_abi} float ABI, {digest}")
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


def board_spec(source: Path | None, models: Sequence[str]) -> Spec:
    """The preset with IREE's sources from a user's folder, and with the models that are MLIR as `export --arrays`
    writes it. Raises ModelMissing."""
    spec = load_spec(BOARD_PRESET)
    builds = {
        name: replace(build, source=str(source.absolute()) if source else build.source)
        for name, build in spec.builds.items()
    }
    files = {Path(word).stem: exported_model(Path(word)) for word in models if word.endswith(".mlir")}
    large = tuple(name for name, model in files.items() if Path(model.path).stat().st_size > WHOLE)
    exclude = tuple(
        replace(rule, when={**rule.when, "model": (*dict.fromkeys((*rule.when["model"], *large)),)})
        for rule in spec.exclude
    )
    return replace(spec, models={**spec.models, **files}, builds=builds, exclude=exclude)


def model_words(models: Sequence[str]) -> tuple[str, ...]:
    """The names of the models in the plan: MLIR by its name in the spec, other files by their paths."""
    return tuple(Path(word).stem if word.endswith(".mlir") else word for word in models)


def exported_model(mlir: Path) -> UserModel:
    """A model as `python -m matrix export --arrays` writes it: FILE.mlir, FILE.input_0.npy …, FILE.expected_0.npy.

    Raises ModelMissing.
    """
    inputs, expected = (_numbered(mlir.absolute(), kind) for kind in ("input", "expected"))
    if not mlir.is_file() or not expected:
        missing = mlir if not mlir.is_file() else mlir.with_name(f"{mlir.stem}.expected_0.npy")
        raise ModelMissing(
            f"MODEL: read {str(missing)!r}, expected a file, and there is none",
            tip=f"make it: python -m matrix export MODEL -o {mlir} --arrays",
        )
    return UserModel(name=mlir.stem, form="mlir", path=str(mlir.absolute()), inputs=inputs, expected=expected)


def _numbered(mlir: Path, kind: str) -> tuple[str, ...]:
    """FILE.KIND_0.npy …, in the order of their numbers."""
    found = mlir.parent.glob(f"{escape(mlir.stem)}.{kind}_*.npy")
    return tuple(map(str, sorted(found, key=lambda path: int(path.stem.rpartition("_")[2]))))


def _compilers(plan: Plan) -> tuple[str, ...]:
    return tuple(value.label for value in plan.axes[COMPILER])


def board_tools(plan: Plan, store: Store) -> dict[str, BoardTools]:
    """Makes the environments that build runtimes, by the runtime's name. Raises the errors of making them."""
    engine = engine_maker(DEFAULT_ENGINE, store.places, cores=1)(lambda _: None)
    qemu = _furnisher(store).packages("qemu").path / "usr" / "bin" / "qemu-arm-static"
    try:
        return {
            request.build.name: BoardTools(
                toolchain=toolchains()[request.build.toolchain],
                trees=engine.realise(request).root / TREES,
                qemu=qemu,
            )
            for request in plan.environments()
            if request.build
        }
    finally:
        engine.close()


def _furnisher(store: Store) -> BuildTools:
    return BuildTools(shop=workshop(store.places), store=store.folder)


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
    routes, tools = plan.spec.own_axes["route"], board_tools(plan, store)
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


def check_bundle(options: Namespace) -> None:
    """Checks the request before minutes of work. Raises UsageError, BundleRefused."""
    spec = load_spec(BOARD_PRESET)
    routes = tuple(name for name, value in spec.own_axes["route"].items() if not value.flags.get(LINK))
    for option, name, known in (
        ("--toolchain", options.toolchain, tuple(spec.builds)),
        ("--route", options.route, routes),
    ):
        if name not in known:
            raise UsageError(
                f"{option}: read {name!r}, expected one of {', '.join(known)}{did_you_mean(name, known)}",
                tip="`armv6-smoke` shows which of them go together",
            )
    refuse_filled(options.output)


def do_bundle(options: Namespace) -> int:
    """Runs one cell of the preset, and writes a folder for a real board from its files."""
    check_bundle(options)
    spec = replace(board_spec(options.source, [options.model]), exclude=())
    asked = {axis: getattr(options, axis) for axis in (COMPILER, "python", TORCH, TURBINE)}
    question = Question(
        preset=BOARD_PRESET,
        only=(f"runtime={options.toolchain}", f"route={options.route}"),
        axes={axis: (term,) for axis, term in (*asked.items(), (FLAGS, "release")) if term},
        models=model_words([options.model]),
        torch_variant=options.torch_build,
    )
    plan = resolved(lambda: plan_for(spec, question, options.store))
    _say(f"== {options.model} by {options.route}, runtime {options.toolchain}: built, compiled and run")
    with Store(options.store) as store:
        summary = carry_out(plan, store, options, words=["bundle", f"{options.source}", *question.only])
        if summary.interrupted:
            return EXIT_INTERRUPTED
        report_gaps(summary)
        run = judged_cells(plan, summary.states, store)
        (cell,) = run.cells
        if not cell.passed or not cell.comparison:
            raise BundleRefused(
                f"{options.model} by {options.route} on the emulated board: {cell.words}\n{cell.said}",
                tip="another --route or --toolchain may do: `armv6-smoke` shows which",
            )
        _write_bundle(run, cell.comparison, plan, store, options)
    print(f"{options.output}: copy it to the board and start run.sh")
    return EXIT_OK


def _write_bundle(run: Run, compared: Comparison, plan: Plan, store: Store, options: Namespace) -> None:
    (cell,), (planned,) = run.cells, plan.cells
    given = {name: path for node in planned.nodes for name, path, _ in plan.nodes[node].given}
    made = {name: store.blob(file.sha256) for job in run.jobs_of(cell) for name, file in job.artifacts.items()}
    files = {**given, **made}
    names = dict.fromkeys(files, "")
    model = BundledModel(
        name=cell.axes["model"],
        function=dict(plan.nodes[planned.nodes[-1]].parameters)["function"],
        inputs=tuple(files[name] for name in matching(names, INPUT)),
        expected=tuple(files[name] for name in matching(names, EXPECTED)),
        tolerance=plan.spec.tolerance["float32"].atol,
    )
    _say(
        f"== {model.name} passes on the emulated board ({compared.words.partition(';')[0]}); memory of an idle program"
    )
    (tools,) = board_tools(plan, store).values()
    with tempfile.TemporaryDirectory() as scratch:
        hello = Path(scratch) / "hello"
        tools.compile(images() / "smoke" / "hello.c", hello)
        idle = measured_peak((str(tools.qemu), "-cpu", CPU, str(hello)), tools, Path(scratch))
    facts = BundleFacts(
        model=model.name,
        compiler=cell.axes[COMPILER],
        runtime=source_version(Tree(path=tools.trees / "source", digest="")),
        toolchain=options.toolchain,
        route=options.route,
        qemu=f"qemu-user, QEMU_CPU={CPU}",
        facts=tools.facts(files[RUNNER]),
        runner=audit_program(files[RUNNER].read_bytes(), RUNNER),
        unstripped=files[UNSTRIPPED].stat().st_size,
        module_bytes=files[VMFB].stat().st_size,
        idle_bytes=idle,
        compared=compared,
    )
    _say(f"== {options.output}: files, checksums, and its run.sh on the emulated board")
    write_bundle(
        options.output,
        model,
        runner=files[RUNNER],
        module=files[VMFB],
        facts=facts,
        words=names_of_this_machine(options.store),
        peak=lambda folder: measured_peak(("./run.sh",), tools, folder),
    )


def do_armv6_lld(options: Namespace) -> int:
    """Makes a folder with the repaired linker for one compiler release, and prints how to use it."""
    folder: Path = options.folder
    refuse_filled(folder)
    with Store(options.store) as store:
        lld = options.iree_lld or _released_linker(options.compiler, store)
        folder.mkdir(parents=True, exist_ok=True)
        _furnisher(store).linker(folder, lld)
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
    _say(f"== {name}")
    yield
    _say(f"   {time.monotonic() - started:.1f} s")


def _say(line: str) -> None:
    print(line, flush=True)
