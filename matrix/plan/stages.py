"""The table of backends, with all stage kinds and axes; makes a job with its key from a node of a plan. Pure.

Stages and axes are identified by name, and the table has all their properties: modules that read it name none.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matrix.core.keys import job_key
from matrix.core.records import EnvironmentRequest, Job, Limits, Outcome, Part, Stage
from matrix.plan.backends.backend import Axis, Backend, EnvironmentKind, Given, ModelForm, StageKind, matching
from matrix.plan.backends.executorch import EXECUTORCH
from matrix.plan.backends.iree.record import IREE
from matrix.plan.backends.litert import LITERT
from matrix.plan.backends.onnxruntime import ONNXRUNTIME
from matrix.plan.backends.openvino import OPENVINO
from matrix.plan.backends.pytorch import PYTORCH
from matrix.plan.backends.shared import BARE
from matrix.plan.backends.tvm import TVM

BACKENDS: tuple[Backend, ...] = (IREE, ONNXRUNTIME, LITERT, OPENVINO, EXECUTORCH, PYTORCH, TVM)
"""The result of `backends()`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """The combined rows of the backends, by name, in order."""

    kinds: Mapping[Stage, StageKind]
    ranks: Mapping[Stage, int]
    backends: Mapping[Stage, Backend]
    axes: Mapping[str, Axis]
    environments: Mapping[str, EnvironmentKind]
    forms: Mapping[str, ModelForm]


@functools.cache
def _table(backends: tuple[Backend, ...]) -> _Table:
    kinds = {kind.name: kind for backend in backends for kind in backend.stages}
    return _Table(
        kinds=kinds,
        ranks={stage: rank for rank, stage in enumerate(kinds)},
        backends={kind.name: backend for backend in backends for kind in backend.stages},
        axes={axis.name: axis for backend in backends for axis in backend.axes},
        environments={kind.name: kind for backend in backends for kind in (*backend.environments, BARE)},
        forms=_first(form for backend in backends for form in backend.forms),
    )


def _first(forms: Iterable[ModelForm]) -> dict[str, ModelForm]:
    """The forms by name; of backends with the same one, that of the first."""
    found: dict[str, ModelForm] = {}
    for form in forms:
        found.setdefault(form.name, form)
    return found


def backends() -> tuple[Backend, ...]:
    """All backends, in the order of tables. A spec that names none uses the first."""
    return BACKENDS


def kinds() -> Mapping[Stage, StageKind]:
    """All stage kinds by name, each after those that it comes after."""
    return _table(BACKENDS).kinds


def axes() -> Mapping[str, Axis]:
    """All axes by name."""
    return _table(BACKENDS).axes


def environments() -> Mapping[str, EnvironmentKind]:
    """All kinds of environment by name, in the order in which they are needed."""
    return _table(BACKENDS).environments


def worker_of(stage: Stage) -> EnvironmentKind:
    """The kind of environment of the workers of a stage."""
    return environments()[kinds()[stage].environment]


def front_end() -> StageKind:
    """The stage kind that packages of a model or a spec go to: what exports."""
    return next(kind for kind in kinds().values() if kind.extended)


def exchanged(names: Iterable[str]) -> str:
    """The artifact among these that front ends write and compilers take; empty where there is none."""
    return next((name for name in names if any(name == backend.exchanged for backend in BACKENDS)), "")


def module_of(names: Iterable[str]) -> str:
    """The artifact among these that compilers make of it; empty where there is none."""
    return next((name for name in names if any(name == backend.module for backend in BACKENDS)), "")


def record_of(artifacts: Mapping[str, str]) -> str:
    """The digest of the record that a front end left beside the reference; empty where there is none."""
    return next((artifacts[kind.record] for kind in kinds().values() if kind.record in artifacts), "")


def backend_of(stage: Stage) -> Backend:
    """The backend of a known stage."""
    return _table(BACKENDS).backends[stage]


def axes_of(stage: Stage) -> tuple[str, ...]:
    """The axes of a stage; none of one that is not known."""
    return kinds()[stage].axes if stage in kinds() else ()


def later_axes(stage: Stage) -> frozenset[str]:
    """The axes of the stages behind this one that neither it nor one before it depends on; none if it is not known."""
    backend = _table(BACKENDS).backends.get(stage)
    if backend is None:
        return frozenset()
    stages = [kind.name for kind in backend.stages]
    place = stages.index(stage) + 1
    before, behind = ({axis for name in part for axis in axes_of(name)} for part in (stages[:place], stages[place:]))
    return frozenset(behind - before)


def forms() -> Mapping[str, ModelForm]:
    """All forms of a model by name."""
    return _table(BACKENDS).forms


def is_file(word: str) -> bool:
    """Whether a word names a model by its file, and not by its name."""
    return "/" in word or has_form(word)


def has_form(word: str) -> bool:
    """Whether a word ends as a model file."""
    return any(Path(word).suffix.lower() in form.suffixes for form in forms().values())


def stages_in_order(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """Each stage once, in the order of the table."""
    among = set(stages)
    return tuple(stage for stage in kinds() if stage in among)


def rank_of(stage: Stage) -> int:
    """The position of a stage in the table."""
    return _table(BACKENDS).ranks[stage]


def last_stage(stages: Iterable[Stage], stage: Stage) -> Stage:
    """The last judged stage among some, for the backend of a stage: its cells end with it. If none is judged, the last
    one."""
    backend = backend_of(stage)
    among = set(stages)
    found = [kind for kind in backend.stages if kind.name in among]
    return next((kind.name for kind in reversed(found) if kind.judged), found[-1].name)


PROGRAM_PLACE, ARGUMENTS_PLACE = "{program}", "{arguments}"
"""Words of an emulator's argv: where the program stands, and its own words as one, if not behind all others."""


@dataclass(frozen=True, slots=True)
class Node:
    """A job whose inputs are not all known yet.

    `above` are the indices of the nodes whose artifacts it needs, `given` are artifacts (name, file, sha256) that come
    with the model or with its stage, `obstacle` is why it can never start: (outcome, reason).
    """

    index: int
    stage: Stage
    above: tuple[int, ...]
    request: EnvironmentRequest | None
    flags: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]
    given: tuple[tuple[str, Path, str], ...]
    label: str
    limits: Limits
    obstacle: tuple[Outcome, str] | None
    repeat: int = 0
    """Distinguishes repeats of the same job (a round of a benchmark, a second compile)."""
    machine: str = ""
    """The class of this machine, if the result depends on it."""
    script: str = ""
    """The digest of its script of `scripts/`."""
    beside: str = ""
    """For a round: a digest of all cells that it is interleaved and compared with. A time from another hour is not
    comparable, so it must not be reused."""

    @property
    def kind(self) -> StageKind:
        return kinds()[self.stage]


def make_job(node: Node, *, environment: str, artifacts: Mapping[str, str]) -> Job:
    """The job of a node. `environment` is the digest of its realised environment, `artifacts` maps the names of all
    artifacts above it to their sha256.

    A script's parameter whose name ends in `_file` is the path of an input on this machine. The key has its digest as
    another parameter, and not the path; likewise those of the files beside it.
    """
    kind = node.kind
    wanted = [Path(program).name for program in kind.programs]
    wanted += [name for pattern in kind.inputs for name in matching(artifacts, pattern)]
    wanted += [value for name, value in node.parameters if name == "weights"]
    inputs = tuple((name, artifacts[name]) for name in wanted)
    files = tuple((name, digest) for name, _, digest in node.given if kind.script and name not in wanted)
    launcher = node.request.platform.emulator if node.request and node.request.platform else ()
    given = Given(flags=node.flags, parameters=dict(node.parameters), artifacts=artifacts)
    command = launched(launcher, kind.command(given))
    facts = tuple((name, value) for name, value in node.parameters if not name.endswith("_file"))
    key = job_key(
        stage=node.stage,
        environment=environment,
        script=node.script,
        inputs=inputs,
        command=command,
        arguments=facts if kind.script else (),
        limits=node.limits,
        repeat=node.repeat,
        machine=node.machine,
        beside=node.beside,
    )
    return Job(
        key=key,
        stage=node.stage,
        label=node.label,
        environment=environment,
        inputs=(*inputs, *files),
        outputs=kind.leaves(artifacts),
        argv=() if kind.script else command,
        script=kind.script,
        arguments=node.parameters if kind.script else (),
        limits=node.limits,
        alone=kind.alone,
        loopback=kind.loopback,
        programs=kind.executable,
    )


def launched(launcher: tuple[str, ...], command: tuple[str, ...]) -> tuple[str, ...]:
    """A command behind the words of an emulator, or at the places that these name."""
    if PROGRAM_PLACE not in launcher:
        return (*launcher, *command)
    program, *words = command
    placed = {PROGRAM_PLACE: program, ARGUMENTS_PLACE: " ".join(words)}
    return tuple(placed.get(word, word) for word in launcher)


def complete(job: Job, names: Iterable[str]) -> bool:
    """Whether a job has produced all outputs that its stage requires. A model that ends the process leaves only a part
    of them, or none.

    A run without expected outputs has nothing to produce.
    """
    left = dict.fromkeys(names, "")
    return not job.outputs or all(matching(left, pattern) for pattern in kinds()[job.stage].needed)


def joined_flags(parts: Sequence[Part]) -> tuple[str, ...]:
    """The flags of all parts. A flag of a later axis overrides one of the same name of an earlier axis.

    So `cpu=host` of a flag set overrides the target's baseline. One part may repeat a flag. At the end flags get the
    names and words that the tool knows.
    """
    flags: list[str] = []
    for part in parts:
        own = {flag.partition("=")[0] for flag in part.flags}
        flags = [flag for flag in flags if flag.partition("=")[0] not in own] + list(part.flags)
    known = dict(pair for part in parts for pair in part.renamed)
    words = {today: own for today, own in known.items() if not today.startswith("--")}
    named = (flag.partition("=") for flag in flags)
    return tuple(known.get(name, name) + equal + _reworded(value, words) for name, equal, value in named)


def _reworded(value: str, words: Mapping[str, str]) -> str:
    for today, own in words.items():
        value = value.replace(today, own)
    return value
