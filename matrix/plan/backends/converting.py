"""The chain of a backend that converts a model to a file of its own and runs that: stages alike in all. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from matrix.artifacts.benchmark import read_timing, strip_private_data
from matrix.core.records import Limits, Part, Stage
from matrix.plan.backends.backend import EXPECTED, INPUT, OUTPUT, Given, ModelForm, StageKind
from matrix.plan.backends.iree.values import source_parts
from matrix.plan.backends.shared import PYTHON_AXIS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrix.core.keys import Json
    from matrix.plan.catalogue import Model

_RECORD, _TIMES = "convert.json", "benchmark.json"
OPERATION_TIMES = "operations.json"
"""What each operation of a model took: what a stage of `profiled` leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedChain:
    """`stages` are the names of conversion, run and benchmark; `environments` those of the converter and the runtime,
    `axes` theirs, `scripts` too. `made` are the files that the conversion writes, the one that is opened first; `given`
    is the stages' name for a file that a user brings in its place. `profiled` is the stage that times each operation,
    and its script, of a runtime that has a profiler; `beside` are files of scripts/ that this needs besides. `chosen`
    are further axes of the conversion."""

    stages: tuple[Stage, Stage, Stage]
    environments: tuple[str, str]
    axes: tuple[str, str]
    scripts: tuple[str, str]
    made: tuple[str, ...]
    given: str
    profiled: tuple[Stage, str] | None = None
    beside: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()

    def kinds(self) -> tuple[StageKind, ...]:
        timed = (self._profile(*self.profiled),) if self.profiled else ()
        return self._conversion(), self._run(), self._benchmark(), *timed

    def _conversion(self) -> StageKind:
        return StageKind(
            name=self.stages[0],
            environment=self.environments[0],
            inputs=(),
            outputs=(*self.made, _RECORD, INPUT, EXPECTED),
            needed=(*self.made, _RECORD, EXPECTED),
            axes=(PYTHON_AXIS.name, self.axes[0], *self.chosen),
            extended=True,
            command=lambda _: (self.scripts[0],),
            script=self.scripts[0],
            record=_RECORD,
            limits=Limits(seconds=900, memory_bytes=16 << 30),
            typical_seconds=20.0,
            quiet="look for what ends the process in the model file and in what it imports: os._exit, C++ code",
        )

    def _run(self) -> StageKind:
        return StageKind(
            name=self.stages[1],
            environment=self.environments[1],
            inputs=(*self.made, self.given, INPUT),
            outputs=(OUTPUT,),
            needed=(OUTPUT,),
            axes=(self.axes[1],),
            command=self._runs,
            programs=self._programs,
            after=self.stages[:1],
            compared=True,
            on_target=True,
            limits=Limits(seconds=300, memory_bytes=8 << 30),
            typical_seconds=0.5,
        )

    def _benchmark(self) -> StageKind:
        return StageKind(
            name=self.stages[2],
            environment=self.environments[1],
            inputs=(*self.made, self.given, INPUT),
            outputs=(_TIMES,),
            needed=(_TIMES,),
            axes=(self.axes[1],),
            command=lambda given: (*self._runs(given), "--times", _TIMES),
            programs=self._programs,
            after=self.stages[:2],
            judged=False,
            on_target=True,
            alone=True,
            rounds=True,
            limits=Limits(seconds=300, memory_bytes=8 << 30),
            typical_seconds=2.5,
            strip=strip_private_data,
            read=_times,
            reads=(_TIMES,),
        )

    def _profile(self, stage: Stage, script: str) -> StageKind:
        return StageKind(
            name=stage,
            environment=self.environments[1],
            inputs=(*self.made, self.given, INPUT),
            outputs=(OPERATION_TIMES,),
            needed=(OPERATION_TIMES,),
            axes=(self.axes[1],),
            command=lambda given: ("python", script, self._opened(given), OPERATION_TIMES),
            programs=(script, *self.beside, "model_inputs.py", "timed_operations.py"),
            after=self.stages[:2],
            judged=False,
            on_target=True,
            alone=True,
            limits=Limits(seconds=300, memory_bytes=8 << 30),
            typical_seconds=3.0,
        )

    @property
    def _programs(self) -> tuple[str, ...]:
        return (self.scripts[1], "model_inputs.py", "timed_calls.py")

    def forms(self, name: str) -> tuple[ModelForm, ...]:
        """A Python file, and the file that a user brings, by the name of its suffix."""
        around = frozenset({self.stages[0]})
        given = ModelForm(name=name, suffixes=(f".{name}",), artifact=self.given, around=around)
        return (ModelForm(name="file", suffixes=(".py",)), given)

    def sources(self, model: Model) -> Mapping[Stage, Part]:
        """The meaning of a model for the stages: the conversion takes a Python file."""
        return {self.stages[0]: source_parts(model)} if model.form == "file" else {}

    def _runs(self, given: Given) -> tuple[str, ...]:
        return ("python", self.scripts[1], self._opened(given))

    def _opened(self, given: Given) -> str:
        return self.made[0] if self.made[0] in given.artifacts else self.given


def _times(outputs: Mapping[str, bytes]) -> Mapping[str, Json]:
    timing = read_timing(outputs[_TIMES])
    return asdict(timing) if timing else {}
