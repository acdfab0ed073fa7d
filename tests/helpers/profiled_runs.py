"""Runs with profiles, made here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from counted_runs import Place, counted_run

from matrix.results.measured.profiled_code import CodeProfile, ModelOperation, ProfiledDispatch, ProfiledModel
from matrix.results.run import Run

RUNTIME = 50
"""Instructions of each profile outside of its module."""
MLIR = "a" * 64


def profiled_run(places: Mapping[Place, Mapping[str, Mapping[str, int]]], *, unnamed: int = 0) -> Run:
    """A run whose cells have profiles: place -> dispatch -> operation -> instructions. All read the same MLIR."""
    run = counted_run(dict.fromkeys(places))
    names = list(dict.fromkeys(name for each in places.values() for parts in each.values() for name in parts))
    lines = {name: 10 + 3 * place for place, name in enumerate(names)}
    profiles = {}
    for place, dispatches in places.items():
        rows = [
            ProfiledDispatch(
                name=f"main$async_{name}",
                instructions=sum(parts.values()),
                calls=2,
                operations={str(lines[operation]): count for operation, count in parts.items()},
                folded=("main$async_dispatch_9",) if name == "dispatch_1" else (),
            )
            for name, parts in dispatches.items()
        ]
        whole = sum(each.instructions for each in rows) + RUNTIME + unnamed
        ordered = tuple(sorted(rows, key=lambda each: -each.instructions))
        profiles["count " + " ".join(place)] = CodeProfile(
            instructions=whole, unnamed=unnamed, mlir=MLIR, dispatches=ordered
        )
    operations = tuple(
        ModelOperation(line=line, name=name, result="4x8xf32", digest=f"{line:012}") for name, line in lines.items()
    )
    model = ProfiledModel(source="linear.mlir", operations=operations)
    return replace(run, preset="profiles", profiles=profiles, profiled_models={MLIR: model})
