"""Puts the parts together for a command: spec and catalogue to a plan, store and engine to a run."""

from __future__ import annotations

import contextlib
import difflib
import gc
import hashlib
import os
import platform
import shlex
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matrix.asked import Question, ask
from matrix.axes import ordered_axes
from matrix.catalogue import PACKAGE, asked_toolchains, data_root, load_catalogue, presets, shipped_models
from matrix.engines.base import Engine
from matrix.engines.venv import VenvEngine
from matrix.errors import CellUnknown, EngineMissing, PresetUnknown, UsageError
from matrix.footprint import WheelCache
from matrix.locks import NOWHERE
from matrix.own import TOOL_AXES, image_of
from matrix.plan import Plan, make_plan
from matrix.records import AXES, Toolchain
from matrix.repeats import with_repeats
from matrix.report import CellReport, Judge, Report
from matrix.schedule import NodeState
from matrix.spec import Spec, parse_spec
from matrix.store import LOCKS, Store
from matrix.versions import in_order
from matrix.worker import WorkerEvent

if TYPE_CHECKING:
    from matrix.assembler import Workshop
    from matrix.nixmaking import Maker
    from matrix.vmfbaudit import VmfbAudit

ENGINES = ("venv", "docker", "nix", "auto")
"""The engines by name; `auto` is docker where a daemon answers, and venv elsewhere. A new one is a name here, a class
that passes the contract test, and a branch of `engine_maker`."""


def question_of(options: Namespace) -> Question:
    """The question of a parsed command line."""
    return Question(
        preset=options.preset or "",
        only=tuple(options.only),
        torch_variant=options.torch_build,
        axes={axis: tuple(terms) for axis in AXES if axis != "model" and (terms := getattr(options, axis))},
        models=tuple(options.model),
        inputs=tuple(options.inputs),
        expected=tuple(options.expected),
        function=options.function,
        opset_version=str(options.opset_version or ""),
    )


def load_spec(name: str) -> Spec:
    """A shipped preset by name, or a spec by path. Raises PresetUnknown, SpecSyntax, SpecError."""
    path = PACKAGE / "presets" / f"{name}.toml" if name in presets() else Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        close = difflib.get_close_matches(name, presets(), n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise PresetUnknown(
            f"no preset {name!r} and no readable file at that path, expected one of {', '.join(presets())} "
            f"or a .toml file{meant}",
            tip="`python -m matrix plan portability` shows what a preset would run",
        ) from None
    return parse_spec(text, source=name, base=path.parent)


def selectors(only: Sequence[str], spec: Spec) -> dict[str, tuple[str, ...]]:
    """Axis -> selectors, of AXIS=SELECTOR words. Raises UsageError."""
    chosen: dict[str, tuple[str, ...]] = {}
    for word in only:
        axis, selector = split_choice(word, ordered_axes(spec))
        chosen[axis] = (*chosen.get(axis, ()), selector)
    return chosen


def split_choice(word: str, axes: Sequence[str]) -> tuple[str, str]:
    """AXIS and SELECTOR of AXIS=SELECTOR. Raises UsageError."""
    axis, equals, selector = word.partition("=")
    if not equals or axis not in axes or not selector:
        close = difflib.get_close_matches(axis, axes, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(
            f"read {word!r}, expected AXIS=VALUE with an axis of {', '.join(axes)}{meant}",
            tip="for example: compiler=3.8.0 runtime=3.11.0",
        )
    return axis, selector


def plan_of(question: Question, store: Path = NOWHERE) -> Plan:
    """The plan of a question, with the locks that the store at a path keeps."""
    spec = ask(load_spec(question.spec_name), question, shipped=shipped_models())
    catalogue = load_catalogue(
        spec,
        torch_variant=question.torch_variant,
        machine_class=machine_identity(),
        place=store / LOCKS,
        images=_toolchain_images(spec),
    )
    with _uncollected():
        return with_repeats(make_plan(spec, catalogue, only=selectors(question.only, spec)), catalogue)


def _toolchain_images(spec: Spec) -> dict[str, Toolchain]:
    """Those of a spec's toolchains that are images, by name. Raises EngineMissing, ToolchainFault."""
    asked = {name: image_of(where) for axis in TOOL_AXES for name, where in asked_toolchains(spec, axis).items()}
    if not any(asked.values()):
        return {}
    from matrix.ownimages import find_images

    return find_images({name: image for name, image in asked.items() if image}, platform.machine())


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """A plan holds no cycles and stays to the end: the collector would look at all its cells again and again, a quarter
    of the time, and does not look at them later either."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def engine_maker(
    name: str, store: Store, *, cores: int, offline: bool = False, own_cache: bool = False
) -> Callable[[Callable[[WorkerEvent], None]], Engine]:
    """A function that makes the engine, once there is something to tell events to.

    `own_cache`: environments will have to go in mid-run, so their wheels are kept in the store and go with them. A
    store that has such a cache goes on with it.
    """
    if name == "auto":
        name = "docker" if _daemon_answers() else "venv"

    def make(on_event: Callable[[WorkerEvent], None]) -> Engine:
        place = {"folder": store.environments, "scratch": store.scratch, "scripts": data_root() / "scripts"}
        if name == "docker":
            from matrix.engines.docker import DockerEngine

            return DockerEngine(
                **place,
                slots=cores,
                on_event=on_event,
                offline=offline,
                workshop=workshop(store),
                machine=platform.machine(),
            )
        if name == "nix":
            from matrix.engines.nix import NixEngine

            return NixEngine(
                roots=store.roots,
                scratch=store.scratch,
                scripts=data_root() / "scripts",
                slots=cores,
                on_event=on_event,
                maker=nix_maker(store),
                offline=offline,
            )
        cache = WheelCache(store.wheels) if own_cache or store.wheels.is_dir() else None
        return VenvEngine(
            **place,
            slots=cores,
            on_event=on_event,
            workshop=lambda: workshop(store),
            offline=offline,
            cache=cache,
        )

    return make


def _daemon_answers() -> bool:
    from matrix.daemon import Daemon

    try:
        Daemon().close()
    except EngineMissing:
        return False
    return True


def workshop(store: Store) -> Workshop:
    """Where this store's images are made: the committed data, the fetched files, the machine's index and mirror."""
    from matrix import mirror
    from matrix.assembler import Workshop
    from matrix.index import configured
    from matrix.wheels import Files

    return Workshop(
        images=data_root() / "images",
        files=Files(store.folder / "files"),
        scratch=store.scratch,
        index=configured(),
        sources=mirror.sources(),
    )


def nix_maker(store: Store) -> Maker:
    """What makes environments stand in the machine's Nix store."""
    from matrix.nixmaking import Maker

    return Maker(workshop(store), platform.machine(), code=PACKAGE.parent)


def judged(plan: Plan, states: Sequence[NodeState], store: Store) -> Report:
    """The cells of a plan, judged with the artifacts of the store."""
    given = {digest: path for node in plan.nodes for _, path, digest in node.given}
    environments = store.environment_records()

    def place(digest: str) -> Path:
        return given.get(digest, store.blob(digest))

    def audit(digest: str) -> VmfbAudit:
        from matrix import vmfbaudit  # numpy comes with it, which few commands need

        return vmfbaudit.audit(place(digest))

    return Judge(
        plan,
        states,
        lambda digest: place(digest).read_bytes(),
        environments,
        size=lambda digest: place(digest).stat().st_size,
        audit=audit,
    ).report()


def one_cell(report: Report, choices: Sequence[str]) -> CellReport:
    """The one cell that AXIS=VALUE words name. Raises CellUnknown if there is none, or more than one."""
    spec = report.plan.spec
    labels = [cell.labels for cell in report.cells]
    return report.cells[one_of(labels, choices, axes=ordered_axes(spec), name=spec.name)]


def one_of(labels: Sequence[Mapping[str, str]], choices: Sequence[str], *, axes: Sequence[str], name: str) -> int:
    """The index of the one cell that AXIS=VALUE words name; `3.8` is 3.8.0 where no value is just that. Raises
    CellUnknown, UsageError."""
    wanted = dict(split_choice(word, axes) for word in choices)
    found = [index for index, cell in enumerate(labels) if wanted.items() <= cell.items()]
    if not found:
        found = [index for index, cell in enumerate(labels) if _begin_with(cell, wanted)]
    if len(found) == 1:
        return found[0]
    among = [labels[index] for index in found] or labels
    open_axes = {axis: in_order(cell[axis] for cell in among if axis in cell) for axis in axes}
    listed = "\n".join(f"  {axis}: {', '.join(values)}" for axis, values in open_axes.items() if len(values) > 1)
    count = f"{len(found)} cells fit" if found else "no cell fits"
    first = among[0] if found else {}
    named = [axis for axis in axes if axis in first and (axis in wanted or len(open_axes[axis]) > 1)]
    example = " ".join(shlex.quote(f"{axis}={first[axis]}") for axis in named) or "compiler=3.8.0 runtime=3.11.0"
    raise CellUnknown(
        f"{count} {' '.join(choices) or 'no choice'}, expected exactly one; the values of {name}:\n{listed}",
        tip=f"for example: why {example}",
        several=bool(found),
    )


def _begin_with(cell: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(cell.get(axis) == term or cell.get(axis, "").startswith(f"{term}.") for axis, term in wanted.items())


def cores_of_machine() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def machine_identity() -> str:
    """The machine class as keys hold it: with the CPU's features, of which a virtual machine may hide some."""
    features = _cpuinfo("flags") or _cpuinfo("Features")
    return f"{machine_class()}, features {hashlib.sha256(features.encode()).hexdigest()[:12]}"


def _cpuinfo(field: str) -> str:
    """The first value of a field of /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def machine_class() -> str:
    """The machine as results name it: architecture, CPU, cores; never a host name."""
    model = _cpuinfo("model name")
    return ", ".join(part for part in (platform.machine(), model, f"{cores_of_machine()} cores") if part)
