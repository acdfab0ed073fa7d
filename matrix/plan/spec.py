"""Reads a spec: a question in words, stages, axes and rules, from TOML into frozen records."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from matrix.core.errors import SpecError, SpecSyntax
from matrix.core.records import Limits, Stage
from matrix.core.toml_reader import Table, TomlFault, parse_toml
from matrix.core.versions import KEYWORDS, did_you_mean
from matrix.plan.backends.backend import Axis, Backend, StageKind
from matrix.plan.backends.iree.source_builds import CrossToolchain
from matrix.plan.backends.shared import BACKEND_AXIS
from matrix.plan.covering.cover import Cover, read_cover
from matrix.plan.stages import backends, kinds
from matrix.plan.targets import Target, read_targets
from matrix.plan.user_inputs import (
    DEFAULT_TOLERANCE,
    OwnValue,
    Tolerance,
    UserBuild,
    UserModel,
    read_builds,
    read_models,
    read_own_axes,
    read_tolerance,
    read_user_toolchains,
)

SPEC_FORMAT = 1
SYNTAX_TIP = "correct that line, or what it lacks before it; texts and versions need quotes"
PYTHON = re.compile(r"3\.\d{1,2}")


def default_limits() -> dict[Stage, Limits]:
    return {stage: kind.limits for stage, kind in kinds().items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An `[[exclude]]` or `[[include]]`: conditions that must all hold, and the reason, which is shown with the
    cell."""

    place: str
    when: Mapping[str, tuple[str, ...]]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A `[table]`: an axis down, one across, and the values (`where`) to which it restricts other axes."""

    place: str
    rows: str
    columns: str
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkPlan:
    """A `[benchmark]` table: `passes` complete repeats of `rounds` rounds each, and the baseline release, by axis."""

    rounds: int = 7
    passes: int = 2
    baseline: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A question to the matrix. Its axis values are still selectors; `matrix.plan.axes` resolves them."""

    source: str
    base: Path
    name: str
    question: str
    backends: tuple[Backend, ...]
    stages: tuple[Stage, ...]
    axes: Mapping[str, tuple[str, ...]]
    ties: Mapping[str, str] = field(default_factory=dict)
    """Axes that have the value of another axis in each cell (`runtime = "= compiler"`): they have no selectors."""
    own_axes: Mapping[str, Mapping[str, OwnValue]] = field(default_factory=dict)
    exclude: tuple[Rule, ...] = ()
    include: tuple[Rule, ...] = ()
    cover: Cover | None = None
    """Chooses few of the cells; None: all of them."""
    limits: Mapping[Stage, Limits] = field(default_factory=default_limits)
    tolerance: Mapping[str, Tolerance] = field(default_factory=lambda: dict(DEFAULT_TOLERANCE))
    tables: tuple[View, ...]
    """The tables of the answer. The cells are those of all tables: each takes the whole axes except for its `where`."""
    models: Mapping[str, UserModel] = field(default_factory=dict)
    toolchains: Mapping[str, str] = field(default_factory=dict)
    """A user's own tools by name: paths relative to `base`. The names are values of the axes that accept tools."""
    find_links: tuple[str, ...] = ()
    """Folders, relative to `base`, and pages with wheels of releases that have no committed lock,"""
    indexes: tuple[str, ...] = ()
    """and indexes of such."""
    targets: Mapping[str, Target] = field(default_factory=dict)
    """A user's own targets by name, besides the shipped ones."""
    builds: Mapping[str, UserBuild] = field(default_factory=dict)
    """Builds from source, by name. The names are values of the axis that accepts builds."""
    options: tuple[str, ...] = ()
    """Words of the command line that changed this spec; they are needed to repeat a cell."""
    benchmark: BenchmarkPlan = BenchmarkPlan()
    repeats: Mapping[Stage, int] = field(default_factory=dict)
    """How often the jobs of a stage run, if more than once: a second compile shows a compiler whose output is not
    reproducible."""
    tools_python: str = "3.11"
    """The Python of the compiler and runtime environments. Their tools are binaries: it does not run in the jobs."""

    def terms(self, axis: str) -> tuple[str, ...]:
        """All that the axis, the tables and the rules say of it."""
        ruled = (term for rule in (*self.exclude, *self.include) for term in rule.when.get(axis, ()))
        shown = (term for table in self.tables for term in table.where.get(axis, ()))
        return (*self.axes[axis], *shown, *ruled)

    @property
    def axis_rows(self) -> dict[str, Axis]:
        """The axes of its backends, and the axis that chooses among them if it names some."""
        rows = {axis.name: axis for backend in self.backends for axis in backend.axes if axis.name in self.axes}
        return {BACKEND_AXIS.name: BACKEND_AXIS, **rows} if BACKEND_AXIS.name in self.axes else rows

    @property
    def stage_kinds(self) -> list[StageKind]:
        return [kind for backend in self.backends for kind in backend.stages]

    @property
    def timed(self) -> bool:
        """Whether it asks for times in rounds."""
        return any(kinds()[stage].rounds for stage in self.stages)

    @property
    def own_toolchains(self) -> dict[str, CrossToolchain]:
        """The toolchains that build runtimes for the spec's targets, by the target's name."""
        return {name: target.toolchain for name, target in self.targets.items() if target.toolchain}


QUESTION_KEYS = ("format", "name", "question", "stages", "tools_python", "axes", "axis", "exclude", "include", "cover")
MEANS_KEYS = ("models", "toolchains", "find_links", "index", "targets", "builds")
SPEC_KEYS = (*QUESTION_KEYS, *MEANS_KEYS, "limits", "tolerance", "table", "benchmark", "repeat")


def parse_spec(text: str, *, source: str, base: Path) -> Spec:
    """A Spec from TOML text. `source` names it in messages, `base` is the folder of its relative paths. Raises
    SpecSyntax (not TOML, with the line) or SpecError (all faults of the file together)."""
    try:
        content = parse_toml(text)
    except TomlFault as fault:
        raise SpecSyntax(f"{source}: {fault}", tip=SYNTAX_TIP) from None
    faults: list[str] = []
    top = Table(content, "", faults)
    top.only(SPEC_KEYS)
    if (read := content.get("format")) != SPEC_FORMAT or type(read) is not int:
        said = f"read {read!r}" if "format" in content else "is missing"
        top.fault("format", f"{said}, expected {SPEC_FORMAT}, the format that this version reads")
    meant = _backends(top)
    rows = {axis.name: axis for backend in meant for axis in backend.axes}
    flagged = [kind.name for backend in meant for kind in backend.stages if kind.flags]
    own = read_own_axes(top, (BACKEND_AXIS.name, *rows), flagged)
    axes, ties = _axes(top, rows, own)
    axes = with_optional(axes, meant, (models := read_models(top)).values())
    names = tuple(axes)
    stages = _stages(top, meant)
    spec = Spec(
        source=source,
        base=base,
        name=top.text("name", required=True),
        question=top.text("question", required=True),
        backends=meant,
        stages=stages,
        axes=axes,
        ties=ties,
        own_axes=own,
        exclude=_rules(top, "exclude", names),
        include=_rules(top, "include", names, ties),
        cover=read_cover(top),
        limits=_limits(top),
        tolerance=read_tolerance(top),
        models=models,
        toolchains=read_user_toolchains(top, taken=KEYWORDS),
        find_links=top.texts("find_links"),
        indexes=top.texts("index"),
        targets=read_targets(top.table("targets")),
        builds=read_builds(top, taken=(*KEYWORDS, *top.table("toolchains").content)),
        benchmark=_benchmark(top, names, stages),
        repeats=_repeats(top),
        tools_python=_tools_python(top),
        tables=_views(top, names, ties, meant[0].square),
    )
    if faults:
        raise SpecError(source, faults, tip="correct the places named above; docs/spec.md lists the keys of a spec")
    return spec


def _backends(top: Table) -> tuple[Backend, ...]:
    """The backends that `axes.backend` names, else the first one."""
    table, known = top.table("axes"), {backend.name: backend for backend in backends()}
    read = table.texts(BACKEND_AXIS.name, (backends()[0].name,))
    for name in read:
        if name not in known:
            expected = f"expected one of {', '.join(known)}{did_you_mean(name, known)}"
            table.fault(BACKEND_AXIS.name, f"unknown backend {name!r}, {expected}")
    return tuple(known[name] for name in known if name in read) or backends()[:1]


def _stages(top: Table, meant: Sequence[Backend]) -> tuple[Stage, ...]:
    asked = [kind for backend in meant for kind in backend.stages if not kind.comes_with]
    names = [kind.name for kind in asked]
    read = top.texts("stages", tuple(kind.name for kind in asked if kind.judged))
    for index, name in enumerate(read):
        if name not in names:
            top.fault(
                f"stages[{index}]",
                f"unknown stage {name!r}, expected one of {', '.join(names)}{did_you_mean(name, names)}",
            )
    chosen = tuple(name for name in names if name in read)
    if not chosen and "stages" in top.content:
        top.fault("stages", f"read none, expected at least one of {', '.join(names)}")
    if any(stage in names and stage not in chosen for name in chosen for stage in kinds()[name].after):
        expected = f"expected no gap: a stage needs all before it ({', '.join(names)})"
        top.fault("stages", f"read {', '.join(read)}, {expected}")
    return chosen


def _axes(
    top: Table, rows: Mapping[str, Axis], own: Mapping[str, Mapping[str, OwnValue]]
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """The selectors of each axis, and the axes that are tied to another one."""
    table = top.table("axes")
    defaults = {name: axis.default for name, axis in rows.items()} | {name: tuple(own[name]) for name in own}
    for key in table.content:
        if key not in defaults and key != BACKEND_AXIS.name:
            meant = f"; did you mean {key[:-1]!r}?" if key[:-1] in defaults else did_you_mean(key, defaults)
            table.fault(key, f"unknown axis {key!r}, expected one of {', '.join(defaults)}{meant}")
    named = (name for name in defaults if name in table.content or name in own or not rows[name].optional)
    names = (*([BACKEND_AXIS.name] if BACKEND_AXIS.name in table.content else []), *named)
    axes = {name: table.texts(name, defaults.get(name, ())) for name in names}
    read = {name: terms[0][1:].strip() for name, terms in axes.items() if len(terms) == 1 and _is_tie(terms[0])}
    ties = {}
    for name, terms in axes.items():
        others = [axis for axis in names if axis != name and axis not in read]
        if name in read and read[name] in others:
            ties[name] = read[name]
        elif name in read:
            table.fault(
                name, f"tied to {read[name]!r}, expected one of {', '.join(others)}{did_you_mean(read[name], others)}"
            )
        elif any(_is_tie(term) for term in terms):
            table.fault(name, f"read {list(terms)!r}, expected a tie ('= axis') alone, or selectors")
    return {name: () if name in ties else terms for name, terms in axes.items()}, ties


def with_optional(
    axes: Mapping[str, tuple[str, ...]], backends: Sequence[Backend], models: Iterable[UserModel]
) -> dict[str, tuple[str, ...]]:
    """The selectors with those of the optional axes that a Python model or one of the models reaches, in order."""
    forms = {model.form for model in models}
    forms |= {form.name for backend in backends for form in backend.forms if not form.artifact}
    added = {
        axis.name: axis.default
        for backend in backends
        for axis in backend.axes
        if axis.optional and any(backend.reaches(axis.name, form, axes) for form in forms)
    }
    rows, found = (axis.name for backend in backends for axis in backend.axes), {**added, **axes}
    return {name: found[name] for name in (BACKEND_AXIS.name, *rows, *axes) if name in found}


def _is_tie(term: str) -> bool:
    return term.startswith("=") and not term.startswith("==")


def _rules(top: Table, key: str, names: Collection[str], ties: Mapping[str, str] | None = None) -> tuple[Rule, ...]:
    """The rules. An include cannot name an axis of `ties`: it would add a cell that breaks the tie."""
    rules = []
    for table in top.tables(key):
        table.only(("when", "reason"))
        when = table.table("when")
        when.only(names, kind="axis")
        if not when.content:
            table.fault("when", 'is missing or empty, expected conditions such as { compiler = "<3.0" }')
        for axis, other in (ties or {}).items():
            if axis in when.content:
                when.fault(axis, f"{axis} is tied to {other}, expected a condition on {other} alone")
        conditions = {axis: when.texts(axis) for axis in when.content if axis in names}
        rules.append(Rule(place=table.place, when=conditions, reason=table.text("reason", required=True)))
    return tuple(rules)


def _limits(top: Table) -> dict[Stage, Limits]:
    table = top.table("limits")
    table.only(kinds())
    limits = default_limits()
    for stage in limits:
        row = table.table(stage)
        row.only(("seconds", "memory_mib", "output_mib"))
        seconds = row.positive("seconds", limits[stage].seconds)
        memory = row.positive("memory_mib", limits[stage].memory_bytes / (1 << 20))
        output = row.positive("output_mib", limits[stage].output_bytes / (1 << 20))
        sizes = {"memory_bytes": int(memory * (1 << 20)), "output_bytes": int(output * (1 << 20))}
        limits[stage] = replace(limits[stage], seconds=seconds, **sizes)
    return limits


def _views(top: Table, names: Sequence[str], ties: Mapping[str, str], square: tuple[str, str]) -> tuple[View, ...]:
    """`[table]`, or several `[[table]]`."""
    one = not isinstance(top.content.get("table"), list)
    tables = [top.table("table")] if one else top.tables("table")
    return tuple(_view(table, names, ties, square) for table in tables)


def _view(table: Table, names: Sequence[str], ties: Mapping[str, str], square: tuple[str, str]) -> View:
    table.only(("rows", "columns", "where"))
    rows, columns = table.choice("rows", names, square[0]), table.choice("columns", names, square[1])
    if rows == columns:
        table.fault("columns", f"read {rows!r} twice, expected another axis than rows")
    where = table.table("where")
    where.only(names, kind="axis")
    for axis in where.content:
        if axis in ties:
            where.fault(axis, f"{axis} is tied to {ties[axis]}, expected a condition on {ties[axis]} alone")
    conditions = {axis: where.texts(axis) for axis in where.content if axis in names and axis not in ties}
    return View(place=where.place, rows=rows, columns=columns, where=conditions)


def _benchmark(top: Table, names: Collection[str], stages: Sequence[Stage]) -> BenchmarkPlan:
    table = top.table("benchmark")
    table.only(("rounds", "passes", "baseline"))
    read = table.table("baseline")
    read.only(names, kind="axis")
    baseline = {axis: read.text(axis, required=True) for axis in read.content if axis in names}
    if not baseline and any(kinds()[stage].rounds for stage in stages):
        table.fault("baseline", 'is missing, expected the release to compare with, such as { compiler = "3.8.0" }')
    return BenchmarkPlan(rounds=table.count("rounds", 7), passes=table.count("passes", 2), baseline=baseline)


def _tools_python(top: Table) -> str:
    read = top.text("tools_python", "3.11")
    if not PYTHON.fullmatch(read):
        top.fault("tools_python", f"read {read!r}, expected a Python such as '3.11'")
    return read


def _repeats(top: Table) -> dict[Stage, int]:
    table = top.table("repeat")
    stages = [kind.name for kind in kinds().values() if kind.repeatable]
    table.only(stages)
    return {stage: count for stage in stages if (count := table.count(stage, 1)) > 1}
