"""One document of the API for each square, release, signature and recommendation: the values behind its page. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from matrix.answers.advice import combination
from matrix.answers.causes import move_words
from matrix.answers.costs import CostChange
from matrix.answers.pins.recommendations import Recommendation
from matrix.results import signatures
from matrix.results.published.index import API_FOLDER, API_VERSION
from matrix.results.run import Cell, Run
from matrix.results.square import Square
from matrix.site.harmless import slug
from matrix.site.pins import pin_link, pin_name, requirements_link
from matrix.site.releases import Changed, Release, changed, plain_product
from matrix.site.squares import evidence_of, meaning, slug_of
from matrix.site.views import Signed

ApiDocument = dict[str, Any]


def run_path(run: Run) -> str:
    """The file of a run, as all paths below the root of the site."""
    return f"data/{slug(run.preset)}.json"


def pair_path(table: Square) -> str:
    return f"{API_FOLDER}/pairs/{slug_of(table)}.json"


def release_path(release: Release) -> str:
    return f"{API_FOLDER}/releases/{plain_product(release.product)}-{slug(release.version)}.json"


def signature_path(name: str) -> str:
    return f"{API_FOLDER}/signatures/{slug(name)}.json"


def recommendation_path(wanted: Mapping[str, str]) -> str:
    return f"{API_FOLDER}/recommendations/{pin_name(wanted)}.json"


def pair(table: Square) -> ApiDocument:
    """Every cell of a square: `cells[row][column]` is a place in `outcomes`, or null if there is no such cell."""
    known: dict[tuple[str, str, str, str], int] = {}
    rows: list[list[int | None]] = []
    for row in table.rows:
        there = dict(table.row(row))
        places = [_ending(there[column]) if column in there else None for column in table.columns]
        rows.append([None if each is None else known.setdefault(each, len(known)) for each in places])
    return {
        "api": API_VERSION,
        "kind": "pair",
        "question": table.run.question,
        "run": run_path(table.run),
        "page": f"square/{slug_of(table)}.html",
        "rows": {"axis": table.row_axis, "values": list(table.rows)},
        "columns": {"axis": table.column_axis, "values": list(table.columns)},
        "others": dict(table.others),
        "ties": dict(table.ties),
        "part": table.part,
        "islands": list(table.islands),
        "outcomes": [
            {"outcome": outcome, "stage": stage, "signature": signature, "words": words}
            for outcome, stage, signature, words in known
        ],
        "cells": rows,
        "evidence": [evidence_of(table, row) for row in table.rows],
    }


def _ending(cell: Cell) -> tuple[str, str, str, str]:
    return cell.outcome.value, cell.stage, cell.signature, cell.words


def release_changes(release: Release, base: str, costs: Sequence[CostChange]) -> ApiDocument:
    """What a release changed: outcomes compared with the predecessor in each square, costs compared with `base`."""
    return {
        "api": API_VERSION,
        "kind": "release",
        "product": release.product,
        "version": release.version,
        "page": release.link,
        "uploaded": {package: day.isoformat() for package, day in release.days.items()},
        "notes": release.notes,
        "outcomes": [
            {
                "axis": row.axis,
                "compared_with": row.before,
                "answer": row.answer,
                "broke": [_change(each) for each in row.broke],
                "repaired": [_change(each) for each in row.repaired],
                "otherwise": [_change(each) for each in row.otherwise],
                "same": row.same,
                "pairs": [pair_path(table) for table in tables],
            }
            for row, tables in changed(release)
        ],
        "unchanged": [
            {"axis": row.axis, "compared_with": row.before, "pair": pair_path(row.table)}
            for row in release.sections
            if not row.changed
        ],
        "costs": {"compared_with": base, "changes": [_cost(change) for change in costs]},
    }


def _change(each: Changed) -> ApiDocument:
    return {"where": each.where, "words": each.words, "cells": each.count, "evidence": each.link}


def _cost(change: CostChange) -> ApiDocument:
    return {
        "run": run_path(change.run),
        "axes": dict(change.axes),
        "measure": change.measure.name,
        "before": change.before,
        "after": change.after,
        "ratio": round(change.ratio, 6),
        "verdict": change.verdict,
        "noise_floor": change.noise_floor,
        "words": change.words,
    }


def signature(name: str, group: Signed) -> ApiDocument:
    """An error: its meaning, its messages with their number of cells, and the cells of each square."""
    cells = {frozenset(cell.axes.items()): cell for _, _, cell in group}.values()
    places: dict[str, tuple[Square, dict[str, list[str]]]] = {}
    for table, (row, column), _ in group:
        places.setdefault(slug_of(table), (table, {}))[1].setdefault(row, []).append(column)
    steps = [step for table, _, _ in group if (step := table.run.next_step(name))]
    return {
        "api": API_VERSION,
        "kind": "signature",
        "name": name,
        "code": signatures.codes().get(name, ""),
        "means": meaning(group[0][2]),
        "next": steps[0] if steps else "",
        "page": f"signature/{slug(name)}.html",
        "cells": len(cells),
        "messages": [
            {"message": said, "cells": count} for said, count in Counter(cell.message for cell in cells).most_common()
        ],
        "places": [{"pair": pair_path(table), "rows": rows} for table, rows in places.values()],
    }


def recommendation(each: Recommendation) -> ApiDocument:
    """What `advise` answers: `pins` and where they come from; or why there are none, and the nearest that passed."""
    return {
        "api": API_VERSION,
        "kind": "recommendation",
        "for": dict(each.wanted),
        "page": pin_link(each.wanted),
        "passes": each.advice is not None,
        "pins": each.pins,
        "run": run_path(each.advice.run) if each.advice else None,
        "rows": [{"heading": heading, "text": text} for heading, text in each.rows],
        "requirements": [
            {
                "path": requirements_link(each, name),
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
                "python": file.python,
                "environments": [locked.request.kind for locked in file.environments],
            }
            for file, name, text in each.requirements()
        ],
        "no_requirements": each.unlocked,
        "said": each.said,
        "nearest": [
            {"change": move_words(move), "is": combination(move.cell), "axes": dict(move.cell.axes)}
            for move in each.nearest
        ],
    }
