"""A store that has a result of every job of a plan, as if all had been carried out: nothing runs. Runs leave the same
bytes, as they do where a compiler changes nothing.

`python full_stores.py SPEC STORE` fills one; a million jobs take some minutes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from matrix.core.keys import now
from matrix.core.records import Artifact, JobEnd, Outcome
from matrix.engines.choice import lookup_engine
from matrix.plan.graph import Plan
from matrix.plan.question import Question
from matrix.plan.stages import make_job
from matrix.run.planning import plan_of, uncollected
from matrix.run.store import KnownEnvironment, Store

AT_ONCE = 20_000


def fill(plan: Plan, store: Store) -> int:
    """Returns the number of results."""
    engine = lookup_engine("venv", store.places)
    digests: dict[int, str] = {}
    for request in plan.environments():
        known = KnownEnvironment(digest=f"{len(digests):064x}", refusal="", record='{"python": "3.11"}')
        store.remember_environment(engine.recipe(request), known)
        digests[id(request)] = known.digest
    by_request = {request: digests[id(request)] for request in plan.environments()}
    rows, count = [], 0
    for row in _rows(plan, store, by_request):
        rows.append((row, json.dumps(row)))
        if len(rows) == AT_ONCE:
            store.keep_records(rows, {})
            rows, count = [], count + len(rows)
    store.keep_records(rows, {})
    return count + len(rows)


def _rows(plan: Plan, store: Store, environments: Mapping[Any, str]) -> Iterator[dict[str, Any]]:
    finished_at, left = now(), dict[int, dict[str, str]]()
    per_request: dict[int, str] = {}
    arrays: dict[str, Artifact] = {}
    for node in plan.nodes:
        if node.obstacle or node.request is None:
            continue
        environment = per_request.setdefault(id(node.request), environments[node.request])
        artifacts = {name: digest for above in node.above for name, digest in left[above].items()}
        job = make_job(node, environment=environment, artifacts=artifacts)
        names = [pattern.replace("*", "0") for pattern in job.outputs]
        made = [arrays.get(name) or _left(store, node.stage, job.key, name) for name in names]
        arrays |= {each.name: each for each in made if each.name.endswith(".npy")}
        if node.stage != "run":
            left[node.index] = {**artifacts, **{each.name: each.digest for each in made}}
        end = JobEnd(key=job.key, end="exited", exit_code=0, seconds=0.01, cpu_seconds=0.01, peak_bytes=1 << 20)
        end = replace(end, log="EXEC @main\nresult[0]: hal.buffer_view\n4xf32=1 2 3 4\n")
        yield {
            "key": job.key,
            "stage": job.stage,
            "outcome": Outcome.PASSED.value,
            "label": job.label,
            "environment": environment,
            "end": asdict(end),
            "outputs": [asdict(each) for each in made],
            "command": list(job.argv or (job.script,)),
            "inputs": [list(each) for each in job.inputs],
            "finished_at": finished_at,
            "machine": "x86_64, a CPU, 2 cores",
            "engine": "venv",
            "attempts": [],
        }


def _left(store: Store, stage: str, key: str, name: str) -> Artifact:
    path = store.places.scratch / "made"
    if name.endswith(".npy"):
        path.write_bytes((Path(__file__).parents[1] / "data" / "linear_expected.npy").read_bytes())
    elif name.endswith(".json"):
        path.write_text("{}")
    else:
        path.write_text(f"{stage} {key} {name}")
    return store.put(path, name)


if __name__ == "__main__":
    spec, folder = sys.argv[1:]
    with Store(Path(folder)) as opened, uncollected():
        print(fill(plan_of(Question(preset=spec), Path(folder)), opened), "results")
