"""What a command line asks beyond its spec: users' models and toolchains, replaced axes. Reads no file."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from matrix.core.errors import CellUnknown, UsageError
from matrix.core.versions import releases_first
from matrix.plan.axes import ordered_axes
from matrix.plan.spec import Spec
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
        words += [("--torch-build", self.torch_variant)] if self.torch_variant != "cuda" else []
        return tuple(word for pair in words for word in pair)


def ask(spec: Spec, question: Question, *, shipped: Collection[str]) -> Spec:
    """The spec of the question. `shipped` are names of models. Raises UsageError, ModelUnusable."""
    if strange := question.axes.keys() - spec.axes.keys():
        raise UsageError(
            f"--{min(strange)}: {spec.source} has no such axis, expected one of {', '.join(spec.axes)}",
            tip="`backend` in the spec's [axes] says whose axes it has",
        )
    axes = {**spec.axes, **question.axes}
    own = _own_models(spec, question, shipped)
    files = [model for model in own.values() if model.form != "file"]
    if not files and (question.inputs or question.expected or question.function or question.opset_version):
        raise UsageError(
            "--inputs, --expected, --function and --opset-version need a model that is a file, and there is none",
            tip="name one: --model my.mlir, my.onnx or my.vmfb; a Python file has inputs() of its own",
        )
    if question.opset_version and any(model.form != "onnx" for model in files):
        raise UsageError("--opset-version is for .onnx files only", tip="name other models in a call of their own")
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
    return replace(spec, axes=axes, ties=ties, models=models, toolchains=toolchains, options=question.options)


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


def _absolute(word: str) -> str:
    return str(Path(word).absolute())


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
        )
    return models


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


def one_of(labels: Sequence[Mapping[str, str]], choices: Sequence[str], *, axes: Sequence[str], name: str) -> int:
    """The index of the one cell that AXIS=VALUE words select; `3.8` means 3.8.0 if no value is exactly `3.8`. Raises
    CellUnknown, UsageError."""
    wanted = dict(split_choice(word, axes) for word in choices)
    found = [index for index, cell in enumerate(labels) if wanted.items() <= cell.items()]
    if not found:
        found = [index for index, cell in enumerate(labels) if _begin_with(cell, wanted)]
    if len(found) == 1:
        return found[0]
    among = [labels[index] for index in found] or labels
    open_axes = {axis: releases_first(cell[axis] for cell in among if axis in cell) for axis in axes}
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
