"""The files of the API: the index, its documents and their schema, one after the other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from matrix import __version__
from matrix.answers.pins.recommendations import Recommendation
from matrix.core.text import mark_controls
from matrix.results.published.index import API_FOLDER, API_VERSION, INDEX_PATH
from matrix.results.run import Run
from matrix.results.square import Square
from matrix.site.api import documents
from matrix.site.api.documents import ApiDocument
from matrix.site.harmless import LABEL
from matrix.site.machines import ON
from matrix.site.pages import Site, latest

SCHEMA = f"{API_FOLDER}/schema.json"


def api_files(
    site: Site, runs: Sequence[Run], tables: Sequence[Square], pins: Sequence[Recommendation]
) -> Iterator[tuple[str, str]]:
    """(path below the site's folder, text) of each document; the index is the last one."""
    entries: dict[str, list[ApiDocument]] = {"pairs": [], "releases": [], "signatures": [], "recommendations": []}
    for table in tables:
        entries["pairs"].append(_pair_entry(table))
        yield documents.pair_path(table), _text(documents.pair(table))
    for release in site.releases:
        path = documents.release_path(release)
        entries["releases"].append({"path": path, "product": release.product, "version": release.version})
        yield path, _text(documents.release_changes(release, *site.costs(release)))
    for name, group in site.signed.items():
        made = documents.signature(name, group)
        entries["signatures"].append({"path": documents.signature_path(name), "name": name, "cells": made["cells"]})
        yield documents.signature_path(name), _text(made)
    for each in pins:
        path, passes = documents.recommendation_path(each.wanted), each.advice is not None
        entries["recommendations"].append({"path": path, "for": dict(each.wanted), "passes": passes})
        yield path, _text(documents.recommendation(each))
    yield SCHEMA, (resources.files("matrix.site") / "static" / "schema.json").read_text(encoding="utf-8")
    head = {"api": API_VERSION, "kind": "index", "generator": f"iree-matrix {__version__}", "date": latest(runs)}
    yield INDEX_PATH, _text({**head, "schema": SCHEMA, "runs": [_run_entry(run) for run in runs], **entries})


def _pair_entry(table: Square) -> ApiDocument:
    return {
        "path": documents.pair_path(table),
        "run": documents.run_path(table.run),
        "rows": table.row_axis,
        "columns": table.column_axis,
        "others": dict(table.others),
    }


def _run_entry(run: Run) -> ApiDocument:
    content = Path(run.source).read_bytes()
    return {
        "name": mark_controls(Path(run.source).name, LABEL),
        "preset": run.preset,
        "question": run.question,
        "date": run.date,
        "path": documents.run_path(run),
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "other_machine": ON in run.preset,
    }


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n"
