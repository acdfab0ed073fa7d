"""Shards of a small plan, each carried out in a store of its own by an executor that answers, and their bundles."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from answering import AnsweringExecutor, left_by, plan_in

from matrix.core.keys import asked_digest
from matrix.core.records import EnvironmentRequest, Job
from matrix.plan.graph import NodeState, Plan
from matrix.run.evidence import replay
from matrix.run.progress import PlainProgress
from matrix.run.runner import Runner
from matrix.run.schedule import Schedule
from matrix.run.shards.bundles import EnvironmentRow, save_bundle
from matrix.run.shards.dealing import WAVES, above_of, busy_shards, deal, part_of, plan_digest
from matrix.run.shards.merging import Merged, merge, open_bundles
from matrix.run.store import KnownEnvironment, Store

SQUARE = '[axes]\ncompiler = ["2.9.0", "3.0.0", "3.7.0"]\nruntime = ["2.9.0", "3.0.0", "3.7.0"]\n'
"""1 export, 3 compiles, 9 runs."""


class ElsewhereEngine:
    """Knows the recipes of a machine, and makes nothing."""

    name = "answering"

    def __init__(self, machine: str) -> None:
        self.machine = machine

    def recipe(self, request: EnvironmentRequest) -> str:
        return f"{self.machine}: {request.label}"


class Shards:
    """A plan, a folder for its stores and bundles, and what was carried out."""

    def __init__(self, folder: Path, body: str = SQUARE) -> None:
        self.folder = folder
        self.plan: Plan = plan_in(folder / "models", body)
        self.jobs: list[Job] = []

    def whole(self, shards: int, leaves: Callable[[Job], Mapping[str, bytes]] = left_by) -> list[Path]:
        """Both waves, the second on machines that have the bundles of the first."""
        first = [self.carried(f"a{each}", 1, each, shards, leaves=leaves) for each in range(1, shards + 1)]
        return first + [
            self.carried(f"b{each}", 2, each, shards, before=first, leaves=leaves) for each in range(1, shards + 1)
        ]

    def carried(
        self,
        machine: str,
        wave: int,
        number: int,
        shards: int,
        *,
        before: Iterable[Path] = (),
        leaves: Callable[[Job], Mapping[str, bytes]] = left_by,
        only: Callable[[str], bool] = lambda _: True,
    ) -> Path:
        """The bundle of a shard that a machine carried out; `only` chooses of its nodes, by their labels."""
        dealt = deal(self.plan, shards)[wave - 1]
        shard = dealt[number - 1]
        own = [index for index in shard.nodes if only(self.plan.nodes[index].label)]
        path = self.folder / f"{machine}.zip"
        with Store(self.folder / machine) as store:
            if bundles := list(before):
                merge_all(store, bundles)
            states = self._run(store, own, leaves) if own else []
            rows = [
                EnvironmentRow(
                    request=asked_digest(request, "answering"),
                    recipe=f"{machine}: {request.label}",
                    known=KnownEnvironment(digest=request.label, refusal="", record='{"python": "3.11"}'),
                )
                for request in shard.requests
            ]
            results = {state.result.key: state.result for state in states if state.result}
            head = {
                "plan": plan_digest(self.plan, "answering"),
                "spec": self.plan.spec.name,
                "shard": number,
                "shards": shards,
                "wave": wave,
                "waves": WAVES,
                "busy": busy_shards(dealt),
                "table": "small",
                "question": "",
                "left": 0,
            }
            save_bundle(path, store, results=list(results.values()), environments=rows, head=head)
        return path

    def _run(self, store: Store, own: list[int], leaves: Callable[[Job], Mapping[str, bytes]]) -> list[NodeState]:
        part, places = part_of(self.plan, own, above_of(self.plan, own))
        executor = AnsweringExecutor(store, leaves=leaves)
        with (self.folder / "progress").open("a") as stream:
            summary = Runner(plan=part, store=store, progress=PlainProgress(stream), executor=executor).run()
        self.jobs += executor.carried_out
        return [summary.states[place] for place in places]

    def replayed(self, store: Store, machine: str = "z") -> Schedule:
        """What a machine that made nothing finds in a store."""
        return replay(self.plan, store, ElsewhereEngine(machine))


def merge_all(store: Store, paths: Iterable[Path]) -> Merged:
    bundles = open_bundles(list(paths))
    try:
        return merge(store, bundles)
    finally:
        for bundle in bundles:
            bundle.close()


def content_of_store(folder: Path) -> tuple[object, ...]:
    """All rows of a store that a merge writes, and its artifacts."""
    with sqlite3.connect(folder / "store.sqlite") as database:
        tables = ("results", "alternatives", "environments", "shown")
        rows = tuple(tuple(sorted(database.execute(f"SELECT * FROM {table}"))) for table in tables)
    return (*rows, tuple(sorted(path.name for path in (folder / "blobs").glob("*/*"))))


def changed(path: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """A copy of a bundle with other files in it."""
    with zipfile.ZipFile(path) as made:
        files = {name: made.read(name) for name in made.namelist()}
    change(files)
    with zipfile.ZipFile(target, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return target


def with_manifest(**fields: object) -> Callable[[dict[str, bytes]], None]:
    """A change of some fields of the manifest."""

    def change(files: dict[str, bytes]) -> None:
        files["manifest.json"] = json.dumps({**json.loads(files["manifest.json"]), **fields}).encode()

    return change
