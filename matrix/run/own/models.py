"""Reads the models that users bring, in each form, into the records of the catalogue."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from matrix.artifacts.model_file import declared_texts
from matrix.artifacts.npy import NpyFault, check_npy, count_nans, read_npy
from matrix.artifacts.onnx import onnx_facts
from matrix.artifacts.vmfb import entry_points
from matrix.core.disk import is_file_at, is_folder_at
from matrix.core.errors import ModelMissing, ModelUnusable
from matrix.core.keys import sha256
from matrix.environments.own.packages import is_own, own_requirement
from matrix.plan.catalogue import Model
from matrix.plan.stages import forms, kinds
from matrix.plan.user_inputs import UserModel, fault_of


def user_model(model: UserModel, base: Path) -> Model:
    """A model of a spec or a command line; paths are relative to `base`. Raises ModelMissing, ModelUnusable."""
    path = _existing(model, base / model.path)
    if model.form == "file":
        external = model.parameters == "external"
        return Model(
            name=model.name,
            path=path,
            digest=sha256(path),
            external_parameters=external,
            strict=model.strict,
            packages=packages_of(path),
            files=files_of(path),
        )
    files = [(forms()[model.form].artifact, path)]
    files += [(f"input_{index}.npy", _array(model, base / name)) for index, name in enumerate(model.inputs)]
    files += [(f"expected_{index}.npy", _reference(model, base / name)) for index, name in enumerate(model.expected)]
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


def _array(model: UserModel, path: Path) -> Path:
    """A damaged array would make red cells, and none of them IREE's."""
    found = _existing(model, path)
    check_npy(found)
    return found


def _existing(model: UserModel, path: Path) -> Path:
    if not is_file_at(path):
        raise ModelMissing(
            f"models.{model.name}: read {str(path)!r}, expected a file, and there is none",
            tip="paths in a spec are relative to its folder, paths on the command line to the folder you are in",
        )
    return path.resolve()


def _reference(model: UserModel, path: Path) -> Path:
    """A file of expected outputs. Nothing can be equal to NaN."""
    found = _array(model, path)
    try:
        count = count_nans(read_npy(found.read_bytes()))
    except NpyFault:  # a dtype that cannot be compared: the judge says it
        return found
    if count:
        raise ModelUnusable(
            f"models.{model.name}: {path.name} holds {count} NaN, expected numbers: nothing can be equal to NaN",
            tip="compute it again, or leave it out: the outputs are then not compared",
        )
    return found


PACKAGES, FILES = "PACKAGES", "FILES"
"""The names in a model file of its requirements besides torch, and of the files beside it that it needs."""
MOST_FILES = 1000


def packages_of(path: Path) -> tuple[str, ...]:
    """The PACKAGES of a model in Python, read without running it. Raises ModelUnusable where they have no meaning."""
    words, fault = declared_texts(path, PACKAGES)
    read = [own_requirement(word, path.parent) if is_own(word) else (word, fault_of(word)) for word in words]
    if fault := fault or next((said for _, said in read if said), ""):
        raise ModelUnusable(
            f"{path.name}: {PACKAGES}: {fault}",
            tip='write it out: PACKAGES = ("transformers==4.57.1", "./my_layers/"); it is read and not run',
        )
    return tuple(word for word, _ in read)


def files_of(path: Path) -> tuple[tuple[str, Path, str], ...]:
    """The FILES of a model in Python: (name in its folder, file, sha256) of each, and of all in a folder, by name.
    Raises ModelUnusable where there is none, or one does not lie beside it."""
    words, fault = declared_texts(path, FILES)
    found: dict[str, Path] = {}
    for word in words:
        pure = PurePosixPath(word)
        if not word.strip() or pure.is_absolute() or ".." in pure.parts or str(pure) in (".", path.name):
            fault = fault or f"read {word!r}, expected a file or a folder beside the model, or below its folder"
            continue
        place = path.parent / pure
        below = sorted(place.rglob("*")) if is_folder_at(place) else [place]
        files = [file for file in below if is_file_at(file) and "__pycache__" not in file.parts]
        fault = fault or ("" if files else f"read {word!r}, expected a file, and there is none at {place}")
        found |= {file.relative_to(path.parent).as_posix(): file for file in files}
    if len(found) > MOST_FILES:
        fault = fault or f"read {len(found)} files, expected at most {MOST_FILES}: pack them into one"
    if fault:
        raise ModelUnusable(
            f"{path.name}: {FILES}: {fault}",
            tip='write it out: FILES = ("weights.pt", "blocks.py", "data/"); it is read and not run',
        )
    return tuple((name, found[name].resolve(), sha256(found[name])) for name in sorted(found))
