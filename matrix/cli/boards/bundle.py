"""The verb `bundle`: a folder for a real board."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from matrix.artifacts.program_audit import audit_program, names_of_this_machine
from matrix.builds.bundle import BundledModel, BundleFacts, measured_peak, refuse_filled, write_bundle
from matrix.builds.firmware.archive_bundle import FirmwareFacts, FirmwareParts, write_firmware
from matrix.builds.sources import source_version
from matrix.builds.tools import images, toolchains
from matrix.cli.boards.parts import board_spec, board_tools, model_words, tell_step
from matrix.core.data import BOARD_PRESET
from matrix.core.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    BundleRefused,
    UsageError,
)
from matrix.core.versions import did_you_mean
from matrix.images.debian.unpacked import Tree
from matrix.plan.backends.backend import EXPECTED, INPUT, matching
from matrix.plan.backends.iree.boards import ShippedBoard, boards, newest_builds
from matrix.plan.backends.iree.environments import COMPILER, FLAGS, TORCH, TURBINE
from matrix.plan.backends.iree.firmware import LIBRARY
from matrix.plan.backends.iree.names import FIRMWARE, LINK, VMFB
from matrix.plan.backends.iree.source_builds import HEADER_FILE, OBJECT, RUNNER, UNSTRIPPED
from matrix.plan.graph import Plan
from matrix.plan.question import Question
from matrix.results.judge import Comparison
from matrix.results.run import Run
from matrix.run.carry_out import carry_out, report_gaps, resolved
from matrix.run.evidence import judged_cells
from matrix.run.planning import load_catalogue, load_spec, plan_for
from matrix.run.store import Store


def check_bundle(options: Namespace) -> None:
    """Checks the request before minutes of work, and fills in what it leaves open. Raises UsageError, BundleRefused."""
    board = boards()[options.target]
    options.toolchain = options.toolchain or board.toolchains[0]
    options.route = options.route or board.route
    routes = load_spec(board.preset).own_axes["route"]
    linked = tuple(name for name, value in routes.items() if not value.flags.get(LINK))
    for option, name, known in (
        ("--toolchain", options.toolchain, board.toolchains),
        ("--route", options.route, linked),
    ):
        if name not in known:
            raise UsageError(
                f"{option}: read {name!r}, expected one of {', '.join(known)}{did_you_mean(name, known)}",
                tip=f"`{_shown_by(board)}` shows which of them go together",
            )
    refuse_filled(options.output)


def _shown_by(board: ShippedBoard) -> str:
    return board.preset if board.preset == BOARD_PRESET else f"run {board.preset}"


def do_bundle(options: Namespace) -> int:
    """Runs one cell of the board's preset, and writes a folder for a real board from its files."""
    check_bundle(options)
    board = boards()[options.target]
    spec = replace(board_spec(board.preset, options.source, [options.model]), exclude=())
    runtime = newest_builds(spec.builds)[options.toolchain]
    only: tuple[str, ...] = (f"runtime={runtime}", f"route={options.route}")
    if board.target in spec.axes["target"]:  # else the preset has a target for each way of linking
        spec, only = replace(spec, tables=(replace(spec.tables[0], where={}),)), (*only, f"target={board.target}")
    asked = {axis: getattr(options, axis) for axis in ("python", TORCH, TURBINE)}
    asked[COMPILER] = options.compiler or spec.axes[COMPILER][-1]
    question = Question(
        preset=board.preset,
        only=only,
        axes={axis: (term,) for axis, term in (*asked.items(), (FLAGS, "release")) if term},
        models=model_words([options.model]),
        torch_variant=options.torch_build,
    )
    plan = resolved(lambda: plan_for(spec, question, options.store))
    tell_step(f"== {options.model} by {options.route}, runtime {runtime}: built, compiled and run")
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
                tip=f"another --route or --toolchain may do: `{_shown_by(board)}` shows which",
            )
        bare = toolchains()[options.toolchain].bare
        (_write_firmware if bare else _write_bundle)(run, cell.comparison, plan, store, options)
    print(
        f"{options.output}: {'its README.md says how to link it' if bare else 'copy it to the board and start run.sh'}"
    )
    return EXIT_OK


def _files_of(run: Run, plan: Plan, store: Store) -> dict[str, Path]:
    """The files of the one cell: those that came with the model, and those that its jobs made."""
    (cell,), (planned,) = run.cells, plan.cells
    given = {name: path for node in planned.nodes for name, path, _ in plan.nodes[node].given}
    made = {name: store.blob(file.sha256) for job in run.jobs_of(cell) for name, file in job.artifacts.items()}
    return {**given, **made}


def _model_of(run: Run, plan: Plan, files: Mapping[str, Path]) -> BundledModel:
    (cell,), (planned,) = run.cells, plan.cells
    names = dict.fromkeys(files, "")
    return BundledModel(
        name=cell.axes["model"],
        function=dict(plan.nodes[planned.nodes[-1]].parameters)["function"],
        inputs=tuple(files[name] for name in matching(names, INPUT)),
        expected=tuple(files[name] for name in matching(names, EXPECTED)),
        tolerance=plan.spec.tolerance["float32"].atol,
    )


def _write_firmware(run: Run, compared: Comparison, plan: Plan, store: Store, options: Namespace) -> None:
    (cell,), files = run.cells, _files_of(run, plan, store)
    model, spec = _model_of(run, plan, files), plan.spec
    target = load_catalogue(spec).targets[options.target]
    tell_step(f"== {model.name} passes on the emulated board ({compared.words.partition(';')[0]})")
    (tools,) = board_tools(plan, store, emulator=target.emulator[0], cpu="").values()
    parts = FirmwareParts(
        files={name: files[name] for name in (LIBRARY, VMFB, OBJECT, HEADER_FILE) if name in files},
        memory=target.flags.get(FIRMWARE, ()),
        route=spec.own_axes["route"][options.route].flags.get(FIRMWARE, ()),
        emulator=target.emulator,
        tools=tools,
    )
    facts = FirmwareFacts(
        compiler=cell.axes[COMPILER],
        runtime=source_version(Tree(path=tools.trees / "source", digest="")),
        toolchain=options.toolchain,
        route=options.route,
        figures=run.measurements_of(cell),
        compared=compared.text,
        words=tuple(word for word in tools.toolchain.cc[1:] if word.startswith("-m")),
    )
    tell_step(f"== {options.output}: header, archive and example, linked and run on the emulated board")
    write_firmware(options.output, model, parts, facts, names_of_this_machine(options.store))


def _write_bundle(run: Run, compared: Comparison, plan: Plan, store: Store, options: Namespace) -> None:
    (cell,), files = run.cells, _files_of(run, plan, store)
    model = _model_of(run, plan, files)
    tell_step(
        f"== {model.name} passes on the emulated board ({compared.words.partition(';')[0]}); memory of an idle program"
    )
    emulator, cpu = _emulator(plan)
    (tools,) = board_tools(plan, store, emulator=emulator, cpu=cpu).values()
    with tempfile.TemporaryDirectory() as scratch:
        hello = Path(scratch) / "hello"
        tools.compile(images() / "smoke" / "hello.c", hello)
        idle = measured_peak((str(tools.qemu), "-cpu", cpu, str(hello)), tools, Path(scratch))
    facts = BundleFacts(
        board=boards()[options.target],
        model=model.name,
        compiler=cell.axes[COMPILER],
        runtime=source_version(Tree(path=tools.trees / "source", digest="")),
        toolchain=options.toolchain,
        route=options.route,
        qemu=f"{emulator} -cpu {cpu}",
        facts=tools.facts(files[RUNNER]),
        runner=audit_program(files[RUNNER].read_bytes(), RUNNER),
        unstripped=files[UNSTRIPPED].stat().st_size,
        module_bytes=files[VMFB].stat().st_size,
        idle_bytes=idle,
        compared=compared,
    )
    tell_step(f"== {options.output}: files, checksums, and its run.sh on the emulated board")
    write_bundle(
        options.output,
        model,
        runner=files[RUNNER],
        module=files[VMFB],
        facts=facts,
        words=names_of_this_machine(options.store),
        peak=lambda folder: measured_peak(("./run.sh",), tools, folder),
    )


def _emulator(plan: Plan) -> tuple[str, str]:
    """The emulator of the one planned run, and its CPU."""
    (planned,) = plan.cells
    request = plan.nodes[planned.nodes[-1]].request
    assert request and request.platform  # the targets of all boards have an emulator
    words = request.platform.emulator
    return words[0], words[words.index("-cpu") + 1]
