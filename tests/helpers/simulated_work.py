"""Workers of Dask that simulate `work`: each job takes the seconds that are typical of its stage, nothing is computed.

Its result is recorded. Scheduler, tasks, rows and the run are real.

`python simulated_work.py ADDRESS NUMBER` is a process with so many workers.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from samples import result

from matrix.core.keys import now
from matrix.core.records import JobResult
from matrix.plan.stages import kinds
from matrix.run.elsewhere.cluster.dask_pool import DaskPool
from matrix.run.elsewhere.cluster.tasks import TELL_SECONDS, TOPIC
from matrix.run.store import Store

BUSY = "busy"
"""The file beside the store that has a line for each batch: when it began and ended, how many jobs it had, and what
these take together."""
_OF_A_THREAD = threading.local()
_OPENS = threading.Lock()
"""Stores keep processes apart and not threads: one thread at a time opens one."""


class SimulatedPool(DaskPool):
    """`words` is the folder of the store."""

    @staticmethod
    def carry(run: str, batch: int, key: str, order: str, words: list[str]) -> list[str]:
        from distributed import get_worker

        begun, worker, folder = time.time(), get_worker(), Path(words[0])
        with _OPENS:
            store = _OF_A_THREAD.__dict__.setdefault("store", None) or Store(folder)
        _OF_A_THREAD.store = store
        content = json.loads(order)
        rows = [
            json.dumps({"row": "environment", "places": [place], "digest": f"{place}{each['kind']}", "record": "{}"})
            for place, each in enumerate(content["environments"])
            if not content["jobs"]
        ]
        told, due, last, simulated_seconds = 0, time.monotonic(), time.monotonic(), 0.0
        for place, ordered in enumerate(content["jobs"]):
            job = ordered["job"]
            due += (seconds := kinds()[job["stage"]].typical_seconds)
            simulated_seconds += seconds
            time.sleep(max(0.0, due - time.monotonic()))
            store.record(simulated(store, job, f"{batch}-{place}"))
            fields = {"key": job["key"], "reused": False, "seconds": 0.0}
            rows += [json.dumps({"row": "started", "key": job["key"]}), json.dumps({"row": "result", **fields})]
            if time.monotonic() - last > TELL_SECONDS:
                worker.log_event(TOPIC, {"of": run, "batch": batch, "first": told, "rows": rows[told:]})
                told, last = len(rows), time.monotonic()
        with (folder.parent / BUSY).open("a") as file:
            file.write(f"{begun} {time.time()} {len(content['jobs'])} {simulated_seconds}\n")
        return [*rows, ""]


def simulated(store: Store, job: dict[str, Any], name: str) -> JobResult:
    """A result that passed: every job leaves bytes of its own, except runs, which all leave the same."""
    outputs = []
    for pattern in job["outputs"]:
        path = store.places.scratch / f"{name}-{len(outputs)}"
        path.write_text("equal" if job["stage"] == "run" else f"{job['key']} {pattern}")
        outputs.append(store.put(path, pattern.replace("*", "0")))
    plain = result(job["stage"], key=job["key"], outputs=outputs)
    inputs = tuple((name, digest) for name, digest in job["inputs"])
    return replace(plain, environment=job["environment"], inputs=inputs, finished_at=now())


async def serve(address: str, number: int) -> None:
    from distributed import Worker

    workers = [
        await Worker(address, nthreads=1, memory_limit=0, dashboard=False, dashboard_address="127.0.0.1:0")
        for _ in range(number)
    ]
    await asyncio.gather(*(worker.finished() for worker in workers))


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
