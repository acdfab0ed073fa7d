"""What the verbs of boards share: a preset with a user's models, and the tools that build runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path

from matrix.builds.board_programs import BoardTools
from matrix.builds.tools import BuildTools, toolchains
from matrix.core.errors import ModelMissing
from matrix.core.records import DEFAULT_ENGINE
from matrix.engines.choice import engine_maker
from matrix.engines.kind import workshop
from matrix.plan.backends.iree.source_builds import TREES
from matrix.plan.graph import Plan
from matrix.plan.spec import Spec
from matrix.plan.user_inputs import UserModel
from matrix.run.planning import load_spec
from matrix.run.store import Store

WHOLE = 1 << 20
"""From this number of bytes of MLIR on, a model is a whole one, which VMVX interprets for minutes."""


def board_spec(preset: str, source: Path | None, models: Sequence[str]) -> Spec:
    """A preset with IREE's sources from a user's folder, and with the models that are MLIR as `export --arrays`
    writes it. Raises ModelMissing."""
    spec = load_spec(preset)
    builds = {
        name: replace(build, source=str(source.absolute()) if source else build.source)
        for name, build in spec.builds.items()
    }
    files = {Path(word).stem: exported_model(Path(word)) for word in models if word.endswith(".mlir")}
    large = tuple(name for name, model in files.items() if Path(model.path).stat().st_size > WHOLE)
    exclude = tuple(
        replace(rule, when={**rule.when, "model": (*dict.fromkeys((*rule.when["model"], *large)),)})
        if "model" in rule.when
        else rule
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


def board_tools(plan: Plan, store: Store, *, emulator: str, cpu: str) -> dict[str, BoardTools]:
    """Makes the environments that build runtimes, by the runtime's name. Raises the errors of making them."""
    engine = engine_maker(DEFAULT_ENGINE, store.places, cores=1)(lambda _: None)
    qemu = furnisher(store).emulator(emulator)
    try:
        return {
            request.build.name: BoardTools(
                toolchain=toolchains()[request.build.toolchain],
                trees=engine.realise(request).root / TREES,
                qemu=qemu,
                cpu=cpu,
            )
            for request in plan.environments()
            if request.build
        }
    finally:
        engine.close()


def furnisher(store: Store) -> BuildTools:
    return BuildTools(shop=workshop(store.places), store=store.folder)


def tell_step(line: str) -> None:
    print(line, flush=True)
