"""Workers that tell what is not so: it is found, they are named, and nothing of it is in the run.

Each worker has a store of its own and shares it by a folder; its jobs are simulated, what it leaves is real.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from answering import plan_in
from sharded import SQUARE, ElsewhereEngine
from simulated_work import simulated

from matrix.core.records import JobResult
from matrix.run.elsewhere.executor import PoolExecutor
from matrix.run.elsewhere.pool import BatchOver, RowTold, WorkerFacts
from matrix.run.progress import PlainProgress
from matrix.run.remote.places import place_of
from matrix.run.remote.shared import SharedStore
from matrix.run.runner import Runner

LIAR, HONEST = "worker 1", "worker 2"
Lie = Callable[[Path, JobResult], list[str]]
"""What is changed in the shared folder, and the keys that are told."""


def other_bytes(shared: Path, result: JobResult) -> list[str]:
    (shared / "cas" / result.outputs[0].digest).write_bytes(b"poison")
    return [result.key]


def nothing_there(shared: Path, result: JobResult) -> list[str]:
    (shared / "ac" / result.key).unlink()
    return [result.key]


def row_of_another_job(shared: Path, result: JobResult) -> list[str]:
    path = shared / "ac" / result.key
    row = json.loads(path.read_text())
    row["row"]["result"]["inputs"] = [["module.mlir", "0" * 64]]
    path.write_text(json.dumps(row))
    return [result.key]


def row_of_another_key(shared: Path, result: JobResult) -> list[str]:
    path = shared / "ac" / result.key
    row = json.loads(path.read_text())
    row["row"]["result"]["key"] = row["row"]["result"]["end"]["key"] = "0" * 64
    path.write_text(json.dumps(row))
    return [result.key]


def key_of_no_job(shared: Path, result: JobResult) -> list[str]:
    return ["0" * 64, result.key]


class LyingPool:
    """Carries orders out at once. The first worker lies about its first compile."""

    def __init__(self, folder: Path, lie: Lie, announce) -> None:
        self.folder, self.lie, self.announce, self.lies = folder, lie, announce, 0

    def workers(self):
        return {name: WorkerFacts(machine=name) for name in (LIAR, HONEST)}

    def start(self, batch, order, worker, *, measures=False):
        content = json.loads(order)
        if not content["jobs"]:
            rows = ({"row": "environment", "places": [place], "digest": f"{place}{each['kind']}", "record": "{}"}
                    for place, each in enumerate(content["environments"]))  # fmt: skip
            self._tell(batch, rows)
        with SharedStore(self.folder / worker.replace(" ", "-"), place_of(str(self.folder / "shared"))) as store:
            for place, ordered in enumerate(content["jobs"]):
                result = simulated(store, ordered["job"], f"{batch}-{place}")
                store.record(result)
                keys = [result.key]
                if worker == LIAR and result.stage == "compile" and not self.lies:
                    self.lies += 1
                    keys = self.lie(self.folder / "shared", result)
                self._tell(batch, ({"row": "result", "key": key, "reused": False, "seconds": 1.0} for key in keys))
        self.announce(BatchOver(batch))

    def _tell(self, batch, rows):
        for row in rows:
            self.announce(RowTold(batch, json.dumps(row)))

    def stop(self):
        """Nothing is under way."""

    end = close = stop


@pytest.mark.parametrize(
    ("lie", "named", "again"),
    [
        (other_bytes, "read other bytes than its name says", True),
        (nothing_there, "", True),
        (row_of_another_job, "read the result of another job", True),
        (row_of_another_key, "read no result of this job", True),
        (key_of_no_job, "", False),
    ],
)
def test_a_lie_is_found_and_its_worker_named(tmp_path, capsys, lie, named, again):
    plan = plan_in(tmp_path / "models", SQUARE)
    pools: list[LyingPool] = []

    def make(announce):
        pools.append(LyingPool(tmp_path, lie, announce))
        return pools[0]

    with (
        SharedStore(tmp_path / "driver", place_of(str(tmp_path / "shared"))) as store,
        (tmp_path / "progress").open("w") as stream,
    ):
        executor = PoolExecutor(store=store, engine=ElsewhereEngine("m"), jobs=1, make_pool=make)
        summary = Runner(plan=plan, store=store, progress=PlainProgress(stream), executor=executor).run()
        assert pools[0].lies == 1 and summary.faults == {}
        for state in summary.states:
            assert state.result.outcome == "passed" and all(store.whole(each.digest) for each in state.result.outputs)
            assert "0" * 64 not in (state.result.key, *dict(state.result.inputs).values())
    said = (tmp_path / "progress").read_text()
    what = "it told a result, and there is none of this job" if again else "a job that it was not given: it counts for"
    assert f"{LIAR}: " in said and what in said and f"{HONEST}:" not in said
    assert named in capsys.readouterr().err
