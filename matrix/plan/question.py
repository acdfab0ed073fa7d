"""What a command line asks beyond its spec: users' models and toolchains, replaced axes. Reads no file."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from matrix.core.errors import CellUnknown, UsageError
from matrix.core.versions import releases_first
from matrix.plan.axes import NONE, ordered_axes
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.plan.covering.cover import Cover
from matrix.plan.spec import Spec, with_optional
from matrix.plan.stages import axes as axis_rows
from matrix.plan.stages import is_file
from matrix.plan.user_inputs import (
    UserModel,
    form_of,
    image_of,
    is_toolchain,
    model_names,
    toolchain_name,
    toolchain_terms,
)

DEFAULT_PRESET = "portability"

ANY_BOARD = "BOARD"
"""Stands for a board in the command that repeats a cell: results have no name of a host."""
FIELD_PRESET = "field"
"""The default preset if all models are `.vmfb` files: then only the runtime can be chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person asked for on the command line.

    `preset` is "" for the default. `only` reduces axes (AXIS=SELECTOR), `axes` replaces them, `models` are shipped
    names or paths. `inputs`, `expected`, `function` and `opset_version` apply to all models that are files other than
    Python.
    """

    preset: str = ""
    only: tuple[str, ...] = ()
    torch_variant: str = "cuda"
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    function: str = ""
    opset_version: str = ""
    parameters: str = ""
    """How models in Python are exported: where their weights go,"""
    strict: str = ""
    """and whether torch.export is strict; "": the usual way."""
    find_links: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    """Where wheels of releases are that have no committed lock: folders or pages, and indexes."""

    cover: str = ""
    """The strength of the covering array that chooses the cells, "0" for all cells; "": as the spec says,"""
    seed: str = ""
    """its seed,"""
    densify: str = ""
    """and how many cells may be added where neighbours differ."""

    board: str = ""
    """OpenSSH's destination of a board that runs the programs of the one target,"""
    ssh_config: str = ""
    """and the file of its configuration; "": the user's own."""

    @property
    def spec_name(self) -> str:
        """The chosen preset or path."""
        shipped = all(model.endswith(".vmfb") for model in self.models) and self.models
        return self.preset or (FIELD_PRESET if shipped else DEFAULT_PRESET)

    @property
    def options(self) -> tuple[str, ...]:
        """The words that ask the same question again, without `only`."""
        words = [("--model", model) for model in self.models]
        words += [(f"--{axis}", term) for axis, terms in self.axes.items() for term in terms]
        words += [("--inputs", path) for path in self.inputs] + [("--expected", path) for path in self.expected]
        words += [("--function", self.function)] if self.function else []
        words += [("--opset-version", self.opset_version)] if self.opset_version else []
        words += [("--parameters", self.parameters)] if self.parameters else []
        words += [("--strict", self.strict)] if self.strict else []
        words += [("--find-links", place) for place in self.find_links]
        words += [("--index", address) for address in self.indexes]
        words += [(f"--{name}", word) for name in ("cover", "seed", "densify") if (word := getattr(self, name))]
        words += [("--torch-build", self.torch_variant)] if self.torch_variant != "cuda" else []
        words += [("--board", ANY_BOARD)] if self.board else []
        return tuple(word for pair in words for word in pair)


def question_text(question: Question, engine: str) -> str:
    """A question and its engine as JSON, for a store. It means the same in every folder: its paths are absolute."""
    said = asdict(question)
    said["models"] = [_absolute(word) if is_file(word) else word for word in question.models]
    for name in ("inputs", "expected"):
        said[name] = [_absolute(word) for word in said[name]]
    said["find_links"] = [_absolute_place(word) for word in question.find_links]
    own = {term for axis, terms in question.axes.items() for term in terms if is_toolchain(axis, term)}
    for axis, terms in question.axes.items():
        said["axes"][axis] = [_absolute(term) if term in own and not image_of(term) else term for term in terms]
    if question.preset.endswith(".toml"):
        said["preset"] = _absolute(question.preset)
    return json.dumps({**said, "engine": engine}, sort_keys=True)


def question_from(text: str) -> tuple[Question, str]:
    """The question and the engine of such a text."""
    said: dict[str, Any] = json.loads(text)
    engine, axes = said.pop("engine"), {axis: tuple(terms) for axis, terms in said.pop("axes").items()}
    words: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in said.items()}
    return Question(axes=axes, **words), engine


def ask(spec: Spec, question: Question, *, shipped: Collection[str]) -> Spec:
    """The spec of the question. `shipped` are names of models. Raises UsageError, ModelUnusable."""
    optional = {axis.name for backend in spec.backends for axis in backend.axes if axis.optional}
    if strange := question.axes.keys() - spec.axes.keys() - optional:
        raise UsageError(
            f"--{min(strange)}: {spec.source} has no such axis, expected one of {', '.join(spec.axes)}",
            tip="`backend` in the spec's [axes] says whose axes it has",
        )
    axes = {**spec.axes, **question.axes}
    own = _own_models(spec, question, shipped)
    _refuse_alone(question, own)
    axes = with_optional(axes, spec.backends, own.values())
    if question.models:
        names = {model.path: name for name, model in own.items()}
        axes["model"] = tuple(names.get(_absolute(word), word) for word in question.models)
    toolchains = dict(spec.toolchains)
    meant: dict[str, str] = {}
    for term in toolchain_terms(question.axes):
        path = term if image_of(term) else _absolute(term)
        meant[term] = toolchain_name(path, toolchains)
        toolchains[meant[term]] = path
    axes |= {
        axis: tuple(meant[term] if is_toolchain(axis, term) else term for term in terms)
        for axis, terms in question.axes.items()
    }
    ties = _follow_ties(spec, question, axes)
    models = {**spec.models, **own}
    return replace(
        spec,
        axes=axes,
        ties=ties,
        cover=_cover(spec, question),
        models=models,
        toolchains=toolchains,
        find_links=(*spec.find_links, *map(_absolute_place, question.find_links)),
        indexes=(*spec.indexes, *question.indexes),
        options=question.options,
    )


def _cover(spec: Spec, question: Question) -> Cover | None:
    """What the command line says of the covering array, in place of the spec. Raises UsageError."""
    given = {name: int(word) for name in ("cover", "seed", "densify") if (word := getattr(question, name))}
    strength = given.pop("cover", spec.cover.strength if spec.cover else 0)
    if not strength and given:
        word = min(given)
        raise UsageError(
            f"--{word}: read {given[word]}, expected it with a covering array, and there is none",
            tip="`--cover 2` beside it, or a table [cover] in the spec",
        )
    return replace(spec.cover or Cover(), strength=strength, **given) if strength else None


def _refuse_alone(question: Question, own: Mapping[str, UserModel]) -> None:
    """Raises UsageError for an option of a model that is not there."""
    files = [model for model in own.values() if model.form != "file"]
    if not files and (question.inputs or question.expected or question.function or question.opset_version):
        word, read = next((f"--{word}", read) for word, read in _of_files(question) if read)
        raise UsageError(
            f"{word}: read {read!r}, expected a model that is a file beside it, and there is none",
            tip="name one: --model my.mlir, my.onnx, my.tflite or my.vmfb; a Python file has inputs() of its own",
        )
    exported = [model for model in own.values() if model.form == "file"]
    if not exported and (question.parameters or question.strict):
        word, read = ("parameters", question.parameters) if question.parameters else ("strict", question.strict)
        raise UsageError(
            f"--{word}: read {read!r}, expected a model beside it that is a Python file, and there is none",
            tip="name one: --model my.py; a shipped one by its path: --model scripts/models/linear.py",
        )
    if question.opset_version and any(model.form != "onnx" for model in files):
        raise UsageError(
            f"--opset-version: read {question.opset_version!r}, expected it with .onnx files only",
            tip="name other models in a call of their own",
        )


def _follow_ties(spec: Spec, question: Question, axes: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """A replacement of a tied axis also replaces the axis that it is tied to, unless that one is replaced too, or the
    value is a user's own tools: a user's compiler has no matching runtime. Then the tie is dropped. Returns the
    remaining ties."""
    ties = dict(spec.ties)
    for axis, other in spec.ties.items():
        terms = question.axes.get(axis, ())
        if terms and (other in question.axes or any(is_toolchain(axis, term) for term in terms)):
            del ties[axis]
        elif terms:
            axes[axis], axes[other] = (), terms
    return ties


def _of_files(question: Question) -> tuple[tuple[str, str], ...]:
    """The options that only a model in a file has."""
    inputs, expected = next(iter(question.inputs), ""), next(iter(question.expected), "")
    options = (("inputs", inputs), ("expected", expected), ("function", question.function))
    return (*options, ("opset-version", question.opset_version))


def _absolute(word: str) -> str:
    return str(Path(word).absolute())


def _absolute_place(word: str) -> str:
    return word if "://" in word else _absolute(word)


def _own_models(spec: Spec, question: Question, shipped: Collection[str]) -> dict[str, UserModel]:
    """The models that are files. A word that is no path names a shipped model, or none: then its axis reports it."""
    known = {*spec.models, *shipped}
    words = [word for word in question.models if word not in known and ("." in word or "/" in word)]
    paths = {_absolute(word): form_of(word) for word in words}
    taken = known & {*question.models}
    models = {}
    for path, name in model_names(paths, taken).items():
        given = paths[path] != "file"
        models[name] = UserModel(
            name=name,
            form=paths[path],
            path=path,
            inputs=tuple(map(_absolute, question.inputs)) if given else (),
            expected=tuple(map(_absolute, question.expected)) if given else (),
            function=question.function if given else "",
            opset_version=question.opset_version if given else "",
            parameters=(question.parameters or "inline") if not given else "inline",
            strict=question.strict if not given else "",
        )
    return models


def selectors(only: Sequence[str], spec: Spec) -> dict[str, tuple[str, ...]]:
    """Axis -> selectors, of AXIS=SELECTOR words. Raises UsageError."""
    chosen: dict[str, tuple[str, ...]] = {}
    for word in only:
        axis, selector = split_choice(word, ordered_axes(spec), place="--only")
        chosen[axis] = (*chosen.get(axis, ()), selector)
    return chosen


def split_choice(word: str, axes: Sequence[str], *, place: str) -> tuple[str, str]:
    """AXIS and SELECTOR of AXIS=SELECTOR. Raises UsageError, which names the place."""
    axis, equals, selector = word.partition("=")
    if not equals or axis not in axes or not selector:
        close = difflib.get_close_matches(axis, axes, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(
            f"{place}: read {word!r}, expected AXIS=VALUE with an axis of {', '.join(axes)}{meant}",
            tip="for example: compiler=3.8.0 runtime=3.11.0",
        )
    if axis == MODEL_AXIS.name and is_file(selector):
        selector = next(iter(model_names([selector]).values()))
    return axis, selector


def one_of(
    labels: Sequence[Mapping[str, str]],
    choices: Sequence[str],
    *,
    axes: Sequence[str],
    name: str,
    words: Sequence[str] = (),
) -> int:
    """The index of the one cell that AXIS=VALUE words select; `3.8` means 3.8.0 if no value is exactly `3.8`. `words`
    stand before them in the command that an error proposes. Raises CellUnknown, UsageError."""
    absent = {f"{axis}={NONE}" for axis in axis_rows() if axis not in axes}  # true of all of them
    wanted = dict(split_choice(word, axes, place="AXIS=VALUE") for word in choices if word not in absent)
    found = [index for index, cell in enumerate(labels) if all(cell.get(axis, NONE) == wanted[axis] for axis in wanted)]
    if not found:
        found = [index for index, cell in enumerate(labels) if _begin_with(cell, wanted)]
    if len(found) == 1:
        return found[0]
    among = [labels[index] for index in found] or labels
    open_axes = {axis: releases_first(cell.get(axis, NONE) for cell in among) for axis in axes}
    listed = "\n".join(f"  {axis}: {', '.join(values)}" for axis, values in open_axes.items() if len(values) > 1)
    count = f"{len(found)} cells fit" if found else "no cell fits"
    first = among[0] if found else {}
    named = [axis for axis in axes if found and (axis in wanted or len(open_axes[axis]) > 1)]
    example = " ".join(shlex.quote(f"{axis}={first.get(axis, NONE)}") for axis in named)
    example = example or "compiler=3.8.0 runtime=3.11.0"
    raise CellUnknown(
        f"AXIS=VALUE: {count} {' '.join(choices) or 'no choice'}, expected exactly one; the values of {name}:\n"
        f"{listed}",
        tip=f"for example: python -m matrix why {' '.join([*map(shlex.quote, words), example])}",
        several=bool(found),
    )


def _begin_with(cell: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(cell.get(axis) == term or cell.get(axis, "").startswith(f"{term}.") for axis, term in wanted.items())
