"""Connects the parts for a command: spec and catalogue to a plan, store and engine to a run."""

from __future__ import annotations

import contextlib
import difflib
import gc
import platform
import re
import shlex
import tomllib
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from matrix.builds.devices.own_devices import present_devices
from matrix.builds.planning import planned_build
from matrix.core.data import DATA, STORE_LOCKS, data_root, model_files, presets, shipped_models
from matrix.core.errors import PresetUnknown, SpecError, UsageError
from matrix.core.keys import digest, sha256
from matrix.core.machine import machine_identity
from matrix.core.records import Toolchain
from matrix.core.toml_reader import Table
from matrix.environments.user_tools import find_toolchain
from matrix.plan.backends.shared import MODEL_AXIS, TARGET_AXIS
from matrix.plan.catalogue import Catalogue, FlagRow, Model
from matrix.plan.graph import Plan, make_plan
from matrix.plan.locks import NOWHERE, load_locks
from matrix.plan.question import Question, ask, question_from, selectors
from matrix.plan.rounds import with_repeats
from matrix.plan.spec import Spec, parse_spec
from matrix.plan.stages import axes, has_form, is_file, kinds
from matrix.plan.targets import DEVICES, Target, read_targets
from matrix.plan.user_inputs import image_of, model_names, tool_axes
from matrix.run.own.boards import NamedBoard, read_destination, with_board
from matrix.run.own.models import packages_of, user_model
from matrix.run.own.releases import with_own_releases
from matrix.run.store import Store


def question_of(options: Namespace) -> Question:
    """The question of a parsed command line. A model in the place of the preset (`run my.py`) is the model."""
    preset = options.preset or ""
    models = [*([preset] if has_form(preset) else []), *options.model]
    board, config = read_destination(options.board, options.ssh_config)
    return Question(
        preset="" if has_form(preset) else preset,
        only=tuple(options.only),
        torch_variant=options.torch_build,
        axes={
            axis: terms
            for axis in axes()
            if axis != MODEL_AXIS.name and (terms := on_devices(axis, tuple(getattr(options, axis)), options.device))
        },
        models=tuple(_file_of(word, options) for word in models),
        inputs=tuple(options.inputs),
        expected=tuple(options.expected),
        function=options.function,
        opset_version=str(options.opset_version or ""),
        parameters=options.parameters,
        strict=options.strict,
        find_links=tuple(options.find_links),
        indexes=tuple(options.index),
        board=board,
        ssh_config=config,
        **_cover_words(options),
    )


def on_devices(axis: str, terms: tuple[str, ...], names: Sequence[str]) -> tuple[str, ...]:
    """The values of an axis; of targets with a device, that device by each of these names. Raises UsageError."""
    if axis != TARGET_AXIS.name or not names:
        return terms
    if len(terms) != 1 or terms[0] not in DEVICES:
        read = f"it beside --target {' '.join(terms)}" if terms else "it without --target"
        raise UsageError(
            f"--device: read {read}, expected --target with one of {', '.join(DEVICES)}",
            tip="`iree-run-module --list_devices` has the names",
        )
    return tuple(f"{terms[0]}{OF_DEVICE}{name.partition(OF_DEVICE)[2] or name}" for name in names)


def _cover_words(options: Namespace) -> dict[str, str]:
    """What is said of a covering array; verbs without it have no such options."""
    places = {"cover": "cover", "seed": "cover_seed", "densify": "densify"}
    said = {name: getattr(options, place, None) for name, place in places.items()}
    return {name: str(word) for name, word in said.items() if word is not None}


def _file_of(word: str, options: Namespace) -> str:
    """A model as it was named; of a name that neither the preset nor this project has, the file that a run with this
    store measured under it."""
    preset = options.preset or ""
    if is_file(word) or word in shipped_models() or (preset and word in load_spec(preset).models):
        return word
    if not (options.store / "store.sqlite").is_file():
        return word
    with Store(options.store, read_only=True) as store:
        asked = [question_from(text)[0] for text in store.questions()]
    files = [each for question in asked for each in question.models if Path(each).is_file()]
    return next((file for file, name in model_names(files).items() if name == word), word)


def load_spec(name: str) -> Spec:
    """Reads a shipped preset by name, or a spec by path. Raises PresetUnknown, SpecSyntax, SpecError."""
    path = DATA / "presets" / f"{name}.toml" if name in presets() else Path(name)
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


def plan_of(question: Question, store: Path = NOWHERE, *, first: Iterable[tuple[str, ...]] = ()) -> Plan:
    """The plan of a question, with the locks in the store at a path. A covering array begins with the cells `first`."""
    return plan_for(load_spec(question.spec_name), question, store, first=first)


def plan_for(spec: Spec, question: Question, store: Path = NOWHERE, *, first: Iterable[tuple[str, ...]] = ()) -> Plan:
    """The plan of a spec."""
    spec = ask(spec, question, shipped=shipped_models())
    if question.board:
        named = NamedBoard(destination=question.board, config=question.ssh_config, here=platform.machine())
        spec = with_board(spec, named, _shipped_targets())
    catalogue = load_catalogue(
        spec,
        torch_variant=question.torch_variant,
        machine_class=machine_identity(),
        place=store / STORE_LOCKS,
        images=_toolchain_images(spec),
    )
    with uncollected():
        planned = make_plan(spec, catalogue, only=selectors(question.only, spec), first=first)
        return with_repeats(planned, catalogue)


def _toolchain_images(spec: Spec) -> dict[str, Toolchain]:
    """The toolchains of a spec that are images, by name. Raises EngineMissing, ToolchainFault."""
    asked = {name: image_of(where) for axis in tool_axes() for name, where in asked_toolchains(spec, axis).items()}
    if not any(asked.values()):
        return {}
    from matrix.engines.choice import toolchain_images

    return toolchain_images({name: image for name, image in asked.items() if image}, platform.machine())


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """What is made inside has no cycles and lives to the end, as a plan does, but the garbage collector would scan all
    of it again and again, for a quarter of the time. So it is excluded."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def load_catalogue(
    spec: Spec,
    *,
    torch_variant: str = "cuda",
    machine_class: str = "",
    place: Path = NOWHERE,
    images: Mapping[str, Toolchain] | None = None,
) -> Catalogue:
    """Reads the shipped data, the locks of the store at `place`, and the models and toolchains of a spec.

    `images` are the toolchains of the spec that are images, by name: only a daemon knows them. Raises ModelMissing for
    a missing model file, ModelUnusable, ToolchainFault, LockFault for a damaged lock, SpecError for a target with the
    name of a shipped one.
    """
    scripts = data_root() / "scripts"
    models: dict[str, Model] = {}
    for name, path in model_files().items():
        models[name] = Model(name=name, path=path, digest=sha256(path), packages=packages_of(path))
    for model in spec.models.values():
        models[model.name] = user_model(model, spec.base)
    called_on = partial(_called_on, spec)
    own = {kind.script for kind in spec.stage_kinds if kind.script}
    programs = {file for kind in spec.stage_kinds for file in kind.programs}
    return Catalogue(
        locks=with_own_releases(load_locks(data_root() / "images" / "locks", place), spec),
        models=models,
        targets=_targets(spec),
        flags={**_rows(DATA / "flags.toml"), **_literal_flags(spec)},
        machine=platform.machine(),
        devices=present_devices(),
        torch_variant=torch_variant,
        special=frozenset(model_files("*")) - spec.models.keys(),
        toolchains={
            (axis, name): (images or {}).get(name) or find_toolchain(name, spec.base / path, axis)
            for axis in tool_axes()
            for name, path in asked_toolchains(spec, axis).items()
        },
        builds={
            name: planned_build(
                build, spec.base, data_root() / "images" / "armv6", spec.own_toolchains, called_on=called_on
            )
            for name, build in spec.builds.items()
            if any(name in spec.terms(axis) for axis, row in spec.axis_rows.items() if row.built)
        },
        programs={
            **{file: (Path(file).name, scripts / file, sha256(scripts / file)) for file in programs},
            **{file: (Path(file).name, scripts / file, _script_digest(scripts / file)) for file in own},
        },
        machine_class=machine_class,
    )


def _called_on(spec: Spec, machine: str) -> bool:
    """Whether a stage calls a module more than once on that machine: times are of this machine and of boards."""
    counted = any(kind.counted for kind in spec.stage_kinds if kind.name in spec.stages)
    boards = {target.machine for target in spec.targets.values() if target.ssh}
    return counted or (spec.timed and machine in {platform.machine(), *boards})


def _script_digest(script: Path) -> str:
    """The digest of a script and of the scripts beside it that it imports, and that these import."""
    found = [script]
    for path in found:
        words = re.findall(r"^(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        beside = (script.with_name(f"{word}.py") for word in words)
        found += [each for each in dict.fromkeys(beside) if each.is_file() and each not in found]
    return digest([sha256(path) for path in found]) if len(found) > 1 else sha256(script)


def asked_toolchains(spec: Spec, axis: str) -> dict[str, str]:
    """The toolchains that the axes of a spec name: name -> path."""
    terms = spec.terms(axis) if axis in spec.axes else ()
    return {name: where for name, where in spec.toolchains.items() if name in terms}


def _rows(path: Path) -> dict[str, FlagRow]:
    content: dict[str, Any] = tomllib.loads(path.read_text())
    return {
        name: FlagRow(
            name=name,
            flags={stage: tuple(row[stage]) for stage, kind in kinds().items() if kind.flags and stage in row},
            machine_bound=row.get("machine_bound", False),
        )
        for name, row in content.items()
    }


def _literal_flags(spec: Spec) -> dict[str, FlagRow]:
    """The values of axes that are flags themselves. Raises SpecError."""
    found, faults = {}, []
    for axis, row in spec.axis_rows.items():
        for term in (term for term in spec.terms(axis) if row.literal and term.startswith("-")):
            try:
                words = tuple(shlex.split(term))
            except ValueError:
                words = ()
            if not words or not all(
                word.startswith("-") and word not in ("-", "--") and not word.startswith("-o") for word in words
            ):
                faults.append(f"axes.{axis}: read {term!r}, expected flags such as '--iree-opt-level=O3 --NAME=VALUE'")
            bound = any(word.endswith("=host") for word in words)
            found[term] = FlagRow(name=term, flags={row.literal: words}, machine_bound=bound)
    if faults:
        raise SpecError(spec.source, faults, tip="each flag begins with a dash, and its value follows `=`")
    return found


def _targets(spec: Spec) -> dict[str, Target]:
    """The shipped targets and those of a spec. Raises SpecError where one would hide another."""
    shipped = _shipped_targets()
    if taken := sorted(shipped.keys() & spec.targets.keys()):
        faults = [f"targets.{name}: {name!r} is shipped, expected a name of its own" for name in taken]
        raise SpecError(spec.source, faults, tip="copy the shipped table of targets.toml under another name")
    known = {**shipped, **spec.targets}
    asked = spec.terms(TARGET_AXIS.name) if TARGET_AXIS.name in spec.axes else ()
    return known | {term: _named_device(shipped, term) for term in asked if term.partition(OF_DEVICE)[0] in DEVICES}


def _shipped_targets() -> dict[str, Target]:
    return read_targets(Table(tomllib.loads((DATA / "targets.toml").read_text(encoding="utf-8")), "", []))


OF_DEVICE = "://"
"""Between a device and its name, as IREE's runtime has it."""


def _named_device(shipped: Mapping[str, Target], term: str) -> Target:
    """The shipped target of a device, on the one that the runtime lists by a name."""
    row, name = shipped[term.partition(OF_DEVICE)[0]], term.partition(OF_DEVICE)[2]
    if not name:
        return row

    def on(word: str) -> str:
        return f"{word}{OF_DEVICE}{name}" if word.startswith("--device=") else word

    flags = {stage: tuple(map(on, words)) for stage, words in row.flags.items()}
    return replace(row, name=term, flags=flags)
