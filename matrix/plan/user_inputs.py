"""What users bring: models, toolchains and tolerances, as a spec or a command line names them. Does not read
their files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from matrix.core.errors import ModelUnusable
from matrix.core.keys import digest
from matrix.core.records import Stage
from matrix.core.toml_reader import Table
from matrix.plan.stages import axes, forms

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*\Z")
"""Names are used in tables, in file formats and on command lines, so they must not need escapes."""

ID = re.compile(r"(sha256:)?[0-9a-f]{64}\Z")
"""An image by its ID. A user's own name for it may be missing."""

PLACES = ("bin", "tools", "install", "venv", ".venv")
"""Folders whose names do not identify a toolchain: it is named after the one above."""

IMAGE = "image:"
"""The prefix for the name of a container image with tools, instead of a path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an output may lie from its reference, element by element: |output - reference| <= atol + rtol *
    |reference|, as numpy.testing and torch.testing say it.

    `atol` is a part of the scale of the element's channel, or an `absolute` number.
    """

    rtol: float = 0.0
    atol: float = 0.0
    absolute: bool = False

    @property
    def words(self) -> str:
        """`rtol 0.0001, atol 2e-05 of the scale`."""
        return f"rtol {self.rtol:.3g}, atol {self.atol:.3g}" + ("" if self.absolute else " of the scale")


DEFAULT_TOLERANCE = {
    "float64": Tolerance(rtol=1e-6, atol=2e-7),
    "float32": Tolerance(rtol=1e-4, atol=2e-5),
    "float16": Tolerance(rtol=1e-2, atol=5e-3),
    "bfloat16": Tolerance(rtol=3e-2, atol=1.5e-2),
}
"""By dtype; a complex number has that of its parts, integers and booleans must be equal.

Measured in float32, all models and releases: at most 2.9e-6 of the scale (MobileNetV2 on ARMv6).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserModel:
    """A `[models.NAME]` table, or a file of `--model`.

    `form` is one of `stages.forms()`: a Python file with `model()` and `inputs()`, or an artifact. Paths are relative
    to the spec's folder. `inputs` and `expected` are .npy files; a Python file has none. `function` is the entry point,
    "" for the default; an importer raises the opset of an `.onnx` to `opset_version`. `parameters`, for a Python file
    only, says where its weights go: "inline" into the MLIR, "external" into an .irpa file.
    """

    name: str
    form: str
    path: str
    inputs: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    function: str = ""
    opset_version: str = ""
    parameters: str = "inline"
    strict: str = ""
    """Of a Python file: "true" or "false", torch.export's strict mode; "" for the exporter's own."""


def read_models(top: Table) -> dict[str, UserModel]:
    """The tables `[models.NAME]`."""
    models = {}
    table, known = top.table("models"), tuple(forms())
    for name in table.content:
        named(table, name)
        row = table.table(name)
        row.only((*known, "inputs", "expected", "function", "opset_version", "parameters", "strict"))
        given = [form for form in known if row.text(form)]
        form = given[0] if given else "file"
        if len(given) != 1:
            others = [f"`{form}`" for form in known if form != "file"]
            read = " and ".join(given) or "none"
            table.fault(
                name, f"read {read}, expected one of `file` (Python), {', '.join(others[:-1])} and {others[-1]}"
            )
        for key in ("inputs", "expected", "function"):
            if form == "file" and len(given) == 1 and key in row.content:
                row.fault(key, f"read {row.content[key]!r}, expected nothing beside `file`: the Python file says it")
        if form != "file" and "parameters" in row.content:
            read = row.content["parameters"]
            row.fault("parameters", f"read {read!r}, expected it beside `file` only: how an export keeps the weights")
        opset = row.text("opset_version")
        if opset and (form != "onnx" or not opset.isdigit()):
            row.fault("opset_version", f"read {opset!r}, expected a number such as '17', and only with `onnx`")
        models[name] = UserModel(
            name=name,
            form=form,
            path=row.text(form),
            inputs=row.texts("inputs"),
            expected=row.texts("expected"),
            function=row.text("function"),
            opset_version=opset,
            parameters=row.choice("parameters", ("inline", "external"), "inline"),
            strict=row.choice("strict", ("", "true", "false"), ""),
        )
    return models


def read_user_toolchains(top: Table, *, taken: Iterable[str] = ()) -> dict[str, str]:
    """The tables `[toolchains.NAME]`: name -> path, or IMAGE and an image's name. `taken` are words with another
    meaning on an axis."""
    toolchains = {}
    table = top.table("toolchains")
    for name in table.content:
        named(table, name)
        if name in taken or name[:1].isdigit():
            table.fault(name, f"read {name!r}, a release or a keyword, expected a name that begins with a letter")
        row = table.table(name)
        row.only(("path", "image"))
        image = row.text("image")
        if image and "path" in row.content:
            row.fault("image", f"read {image!r} beside `path`, expected one of them: where the tools are")
        toolchains[name] = f"{IMAGE}{image}" if image else row.text("path", required=True)
    return toolchains


@dataclass(frozen=True, slots=True, kw_only=True)
class UserBuild:
    """A `[builds.NAME]` table: a runtime that is built from source, as a value of the axis runtime.

    `source` is a pinned release or the path of an IREE tree, relative to the spec's folder; `toolchain` is a row of
    `images/armv6/toolchains.toml`, or a target of the spec with one; `options` are further ones of cmake.
    """

    name: str
    source: str
    toolchain: str
    options: tuple[str, ...] = ()


def read_builds(top: Table, *, taken: Iterable[str] = ()) -> dict[str, UserBuild]:
    """The tables `[builds.NAME]`. `taken` are words with another meaning on the axis."""
    builds = {}
    table = top.table("builds")
    for name in table.content:
        named(table, name)
        if name in taken or name[:1].isdigit():
            table.fault(name, f"read {name!r}, a release or a keyword, expected a name that begins with a letter")
        row = table.table(name)
        row.only(("source", "toolchain", "options"))
        options = row.texts("options")
        for index, word in enumerate(options):
            if not word.startswith("-D"):
                row.fault(f"options[{index}]", f"read {word!r}, expected an option of cmake such as -DNAME=VALUE")
        builds[name] = UserBuild(
            name=name,
            source=row.text("source", required=True),
            toolchain=row.text("toolchain", required=True),
            options=options,
        )
    return builds


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnValue:
    """A value of a spec's own axis (`[axis.NAME.VALUE]`): literal flags of stages, and packages for their
    environments."""

    flags: Mapping[Stage, tuple[str, ...]] = field(default_factory=dict)
    packages: tuple[str, ...] = ()


def read_own_axes(top: Table, taken: Iterable[str], stages: Sequence[Stage]) -> dict[str, dict[str, OwnValue]]:
    """The tables `[axis.NAME.VALUE]`. `taken` are the names of existing axes, `stages` those that accept flags."""
    own: dict[str, dict[str, OwnValue]] = {}
    table, names = top.table("axis"), set(taken)
    for name in table.content:
        if name in names:
            table.fault(name, f"{name!r} is an axis already, expected a new name; give its values in [axes]")
            continue
        named(table, name)
        values = table.table(name)
        own[name] = {}
        for label in values.content:
            named(values, label)
            value = values.table(label)
            value.only((*stages, "packages"))
            flags = {stage: value.texts(stage) for stage in stages}
            own[name][label] = OwnValue(flags=flags, packages=_packages(value))
    return own


def _packages(table: Table) -> tuple[str, ...]:
    read = table.texts("packages")
    for index, word in enumerate(read):
        if fault := fault_of(word):
            table.fault(f"packages[{index}]", fault)
    return read


def read_tolerance(top: Table) -> dict[str, Tolerance]:
    """The table `[tolerance]`: a number, rtol, which atol follows; or a table with both, in which atol is absolute."""
    table, read = top.table("tolerance"), dict(DEFAULT_TOLERANCE)
    table.only(DEFAULT_TOLERANCE, kind="dtype")
    for dtype in (dtype for dtype in read if dtype in table.content):
        if isinstance(table.content[dtype], Mapping):
            row = table.table(dtype)
            row.only(("rtol", "atol"))
            rtol, atol = (row.positive(key, 0.0) if key in row.content else 0.0 for key in ("rtol", "atol"))
            read[dtype] = Tolerance(rtol=rtol, atol=atol, absolute=True)
        else:
            rtol, usual = table.positive(dtype, read[dtype].rtol), read[dtype]
            read[dtype] = Tolerance(rtol=rtol, atol=rtol * usual.atol / usual.rtol)
    return read


def named(table: Table, name: str) -> None:
    if not NAME.match(name):
        table.fault(name, f"read {name!r}, expected a name of letters, digits and . _ + -")


def form_of(word: str) -> str:
    """The form of a model file, by its suffix. Raises ModelUnusable."""
    suffixes = {suffix: form.name for form in forms().values() for suffix in form.suffixes}
    form = suffixes.get(PurePath(word).suffix.lower())
    if form is None:
        raise ModelUnusable(
            f"--model: read {word!r}, expected a shipped model or a file {', '.join(suffixes)}",
            tip="`python -m matrix plan --model x` lists the shipped ones",
        )
    return form


def model_names(paths: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Path -> a name for tables: that of the file; with its folder's if two files share it; if needed, with a
    number."""
    every = list(dict.fromkeys(paths))
    stems = [as_name(PurePath(path).stem) for path in every]
    names: dict[str, str] = {}
    used = set(taken)
    for path, stem in zip(every, stems, strict=True):
        name = stem
        if stems.count(stem) > 1 or stem in used:
            name = as_name(f"{PurePath(path).parent.name}-{stem}")
        names[path] = numbered(name, used)
        used.add(names[path])
    return names


def toolchain_name(path: str, used: Iterable[str]) -> str:
    """A name for tables, for a folder, a virtual environment, a wheel or an image."""
    if image := image_of(path):
        name = image.rpartition("/")[2].partition("@")[0]
        return numbered(_lettered(as_name(name.removeprefix("sha256:")[:12] if ID.match(name) else name)), used)
    pure = PurePath(path)
    if pure.suffix == ".whl":
        return numbered(as_name(f"wheel-{'-'.join(pure.stem.split('-')[1:2])}"), used)
    parts = [part for part in pure.parts if part not in (*PLACES, "/", ".", "..")]
    name = as_name(parts[-1]) if parts else "own"
    return numbered(_lettered(name), used)


def _lettered(name: str) -> str:
    """The name of a toolchain begins with a letter, so that it does not look like a release."""
    return name if name[:1].isalpha() else f"own-{name}"


def image_of(place: str) -> str:
    """The image name of a toolchain's place; empty if it is a path."""
    return place.removeprefix(IMAGE) if place.startswith(IMAGE) else ""


def as_name(text: str) -> str:
    """The text as a name: other characters become a dash."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip("-._+") or "own"


def numbered(name: str, used: Iterable[str]) -> str:
    taken = set(used)
    return next(each for each in (name, *(f"{name}-{number}" for number in range(2, 10_000))) if each not in taken)


def tool_axes() -> tuple[str, ...]:
    """The axes on which a toolchain can replace a release."""
    return tuple(name for name, axis in axes().items() if axis.tool)


def is_toolchain(axis: str, term: str) -> bool:
    """Whether a value on an axis of releases is a path or an image, not a version, a specifier or a keyword."""
    return axis in tool_axes() and ("/" in term or term.endswith(".whl") or term.startswith(IMAGE))


def toolchain_terms(axes: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The paths and images among the terms of the tool axes, each once."""
    return list(dict.fromkeys(term for axis in tool_axes() for term in axes.get(axis, ()) if is_toolchain(axis, term)))


LOCK_KEY_FORMAT = 1
"""Part of every key. Raise it to resolve the same question again."""


def fault_of(word: str) -> str:
    """Why a word is not a valid requirement; empty if it is."""
    try:
        requirement = Requirement(word)
    except InvalidRequirement:
        return f"read {word!r}, expected a requirement such as 'transformers==4.57.1'"
    if requirement.url:
        return f"read {word!r}, expected a package of the index, no address: only such a one has a hash to lock"
    if any(canonicalize_name(requirement.name) in (axis.package, axis.older_package) for axis in axes().values()):
        return f"read {word!r}, expected another package: {requirement.name} is chosen by an axis of the matrix"
    return ""


def pins_fit(pins: Mapping[str, str], packages: Iterable[str]) -> bool:
    """Whether the pins fit the requirements: a matching version of each package, and no other package."""
    asked = [Requirement(word) for word in packages]
    named = {canonicalize_name(requirement.name) for requirement in asked}
    return pins.keys() == named and all(
        requirement.specifier.contains(pins[canonicalize_name(requirement.name)], prereleases=True)
        and not (requirement.extras or requirement.marker or requirement.url)  # what these add is not pinned
        for requirement in asked
    )


def names(packages: Iterable[str]) -> tuple[str, ...]:
    """The names of the required packages, each once, sorted."""
    return tuple(sorted({canonicalize_name(Requirement(word).name) for word in packages}))


def key_of(base: str, packages: Iterable[str], python: str) -> str:
    """The key of the resolved lock for the exporter lock with the digest `base`: another base gives another lock."""
    return digest({"format": LOCK_KEY_FORMAT, "base": base, "packages": sorted(packages), "python": python})[:32]
