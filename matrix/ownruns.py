"""What a store has of a preset, as the run that `show --format json` would publish: answers read one kind of record."""

from __future__ import annotations

import json
from pathlib import Path

from matrix.asked import Question
from matrix.formats import as_json
from matrix.replay import replay
from matrix.report import Report
from matrix.results import PublishedRun, parse_run
from matrix.store import Store
from matrix.workplace import engine_maker, judged, plan_of


def published(report: Report) -> PublishedRun:
    """The cells in the order of the report's."""
    return parse_run(json.loads(as_json(report)), source=f"the store's {report.plan.spec.name}")


def store_run(preset: str, folder: Path, *, engine: str = "venv") -> PublishedRun:
    """Of a preset or a spec; nothing is run. Raises StoreUnusable, and all that a plan raises."""
    planned = plan_of(Question(preset=preset), folder)
    with Store(folder, read_only=True) as store:
        looking = engine_maker(engine, store, cores=1, offline=True)(lambda _: None)
        return published(judged(planned, replay(planned, store, looking).states, store))
