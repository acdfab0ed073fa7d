"""Connects the parts for a command: spec and catalogue to a plan, store and engine to a run."""

from __future__ import annotations

import ast
import contextlib
import difflib
import gc
import platform
import tomllib
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from matrix.artifacts.onnx import onnx_facts
from matrix.artifacts.vmfb import entry_points
from matrix.builds.planning import planned_build
from matrix.core.data import DATA, STORE_LOCKS, data_root, model_files, presets, shipped_models
from matrix.core.errors import ModelMissing, ModelUnusable, PresetUnknown, SpecError
from matrix.core.keys import sha256
from matrix.core.machine import machine_identity
from matrix.core.records import Toolchain
from matrix.core.toml_reader import Table
from matrix.environments.user_tools import find_toolchain
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.plan.catalogue import Catalogue, FlagRow, Model
from matrix.plan.graph import Plan, make_plan
from matrix.plan.locks import NOWHERE, load_locks
from matrix.plan.question import Question, ask, selectors
from matrix.plan.rounds import with_repeats
from matrix.plan.spec import Spec, parse_spec
from matrix.plan.stages import axes, forms, kinds
from matrix.plan.targets import Target, read_targets
from matrix.plan.user_inputs import UserModel, fault_of, image_of, tool_axes


def question_of(options: Namespace) -> Question:
    """The question of a parsed command line."""
    return Question(
        preset=options.preset or "",
        only=tuple(options.only),
        torch_variant=options.torch_build,
        axes={axis: tuple(terms) for axis in axes() if axis != MODEL_AXIS.name and (terms := getattr(options, axis))},
        models=tuple(options.model),
        inputs=tuple(options.inputs),
        expected=tuple(options.expected),
        function=options.function,
        opset_version=str(options.opset_version or ""),
    )


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


def plan_of(question: Question, store: Path = NOWHERE) -> Plan:
    """The plan of a question, with the locks in the store at a path."""
    return plan_for(load_spec(question.spec_name), question, store)


def plan_for(spec: Spec, question: Question, store: Path = NOWHERE) -> Plan:
    """The plan of a spec."""
    spec = ask(spec, question, shipped=shipped_models())
    catalogue = load_catalogue(
        spec,
        torch_variant=question.torch_variant,
        machine_class=machine_identity(),
        place=store / STORE_LOCKS,
        images=_toolchain_images(spec),
    )
    with _uncollected():
        return with_repeats(make_plan(spec, catalogue, only=selectors(question.only, spec)), catalogue)


def _toolchain_images(spec: Spec) -> dict[str, Toolchain]:
    """The toolchains of a spec that are images, by name. Raises EngineMissing, ToolchainFault."""
    asked = {name: image_of(where) for axis in tool_axes() for name, where in asked_toolchains(spec, axis).items()}
    if not any(asked.values()):
        return {}
    from matrix.engines.choice import toolchain_images

    return toolchain_images({name: image for name, image in asked.items() if image}, platform.machine())


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """A plan has no cycles and lives to the end, but the garbage collector would scan all its cells again and again,
    for a quarter of the time. So they are excluded from it."""
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
        models[model.name] = _user_model(model, spec.base)
    timed = platform.machine() if spec.timed else ""
    return Catalogue(
        locks=load_locks(data_root() / "images" / "locks", place),
        models=models,
        targets=_targets(spec),
        flags=_rows(DATA / "flags.toml"),
        machine=platform.machine(),
        torch_variant=torch_variant,
        special=frozenset(model_files("*")) - spec.models.keys(),
        toolchains={
            (axis, name): (images or {}).get(name) or find_toolchain(name, spec.base / path, axis)
            for axis in tool_axes()
            for name, path in asked_toolchains(spec, axis).items()
        },
        builds={
            name: planned_build(build, spec.base, data_root() / "images" / "armv6", spec.own_toolchains, timed_on=timed)
            for name, build in spec.builds.items()
            if any(name in spec.terms(axis) for axis, row in spec.axis_rows.items() if row.built)
        },
        programs={
            file: (Path(file).name, scripts / file, sha256(scripts / file))
            for file in {file for kind in spec.stage_kinds for file in (kind.script, *kind.programs) if file}
        },
        machine_class=machine_class,
    )


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


def _targets(spec: Spec) -> dict[str, Target]:
    """The shipped targets and those of a spec. Raises SpecError where one would hide another."""
    shipped = read_targets(Table(tomllib.loads((DATA / "targets.toml").read_text(encoding="utf-8")), "", []))
    if taken := sorted(shipped.keys() & spec.targets.keys()):
        faults = [f"targets.{name}: {name!r} is shipped, expected a name of its own" for name in taken]
        raise SpecError(spec.source, faults, tip="copy the shipped table of targets.toml under another name")
    return {**shipped, **spec.targets}


def _user_model(model: UserModel, base: Path) -> Model:
    path = _existing(model, base / model.path)
    if model.form == "file":
        external = model.parameters == "external"
        return Model(
            name=model.name,
            path=path,
            digest=sha256(path),
            external_parameters=external,
            packages=packages_of(path),
        )
    files = [(forms()[model.form].artifact, path)]
    files += [(f"input_{index}.npy", _existing(model, base / name)) for index, name in enumerate(model.inputs)]
    files += [(f"expected_{index}.npy", _existing(model, base / name)) for index, name in enumerate(model.expected)]
    function, note = model.function or "main", ""
    weights: tuple[str, ...] = ()
    if model.form == "onnx":
        facts = onnx_facts(path)
        weights = facts.weight_files
        files += [(name, _beside(model, path, name)) for name in weights]
        function = model.function or facts.graph or "main_graph"
        raised = f", imported as {model.opset_version}" if model.opset_version else ""
        note = f"ONNX opset {facts.opset}{raised}" if facts.opset else ""
    elif model.form == "vmfb" and not model.function:
        function = _only_entry_point(model, path)
    return Model(
        name=model.name,
        form=model.form,
        artifacts=tuple((name, file, sha256(file)) for name, file in files),
        function=function,
        opset_version=model.opset_version,
        note=note,
        weights=weights,
    )


def _beside(model: UserModel, path: Path, name: str) -> Path:
    """A file with weights of an `.onnx`. A job has all its files in one folder, so each needs its own name."""
    taken = {
        "",
        "..",
        *(form.artifact for form in forms().values()),
        *(Path(program).name for kind in kinds().values() for program in kind.programs),
    }
    if Path(name).name != name or name in taken or name.endswith(".npy"):
        raise ModelUnusable(
            f"model {model.name}: {path.name} has weights in {name!r}, expected a file beside it, as {path.name}.data",
            tip="save it again: onnx.save(model, path, save_as_external_data=True, location='model.data')",
        )
    return _existing(model, path.with_name(name))


def _only_entry_point(model: UserModel, path: Path) -> str:
    """The function of a `.vmfb`. For a damaged file there is none: running it reports the fault."""
    names = entry_points(path)
    if len(names) > 1:
        raise ModelUnusable(
            f"model {model.name}: {path.name} has the entry points {', '.join(names)}, expected one of them",
            tip="name it: --function NAME on the command line, `function` in the spec",
        )
    return names[0] if names else "main"


def _existing(model: UserModel, path: Path) -> Path:
    if not path.is_file():
        raise ModelMissing(
            f"models.{model.name}: read {str(path)!r}, expected a file, and there is none",
            tip="paths in a spec are relative to its folder, paths on the command line to the folder you are in",
        )
    return path.resolve()


PACKAGES = "PACKAGES"
"""The name in a model file whose value is its requirements besides torch."""


def packages_of(path: Path) -> tuple[str, ...]:
    """The PACKAGES of a model in Python, read without running it. Raises ModelUnusable where they have no meaning."""
    content = path.read_bytes()
    if PACKAGES.encode() not in content:
        return ()
    try:
        statements = ast.parse(content).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    said = [value for statement in statements if (value := _assigned(statement, PACKAGES))]
    if not said:
        return ()
    try:
        read = ast.literal_eval(said[-1])
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        read = ast.unparse(said[-1])
    words = read if isinstance(read, tuple | list) and all(isinstance(word, str) for word in read) else None
    faults = [f"read {read!r}, expected a tuple of texts"] if words is None else [fault_of(word) for word in words]
    if fault := next(filter(None, faults), ""):
        raise ModelUnusable(
            f"{path.name}: {PACKAGES}: {fault}",
            tip='write it out: PACKAGES = ("transformers==4.57.1",); it is read and not run',
        )
    return tuple(words or ())


def _assigned(statement: ast.stmt, name: str) -> ast.expr | None:
    """The value that a statement assigns to a name."""
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return None
    named = any(isinstance(target, ast.Name) and target.id == name for target in targets)
    return statement.value if named else None
