"""Puts bundles together in a store: in whatever order, the same store comes of it.

A key that has two contents is a finding: a job that should be a function of its inputs left other bytes, or ended
otherwise. Both are kept. The first is the one that most results build on, directly or through others, so the fewest
cells lack what was measured of them; `replay` looks up the rest in the alternatives.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matrix.core.errors import ShardFault
from matrix.core.records import Outcome
from matrix.core.text import counted
from matrix.run.planning import uncollected
from matrix.run.shards.bundles import Bundle, EnvironmentRow, ResultRow
from matrix.run.store import ELSEWHERE, Store

MOST_TOLD = 20
"""How many faults or findings of one kind are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFinding:
    """A job with several contents. `contents` are pairs: how it ended and what it left; how many results follow."""

    job: str
    contents: tuple[tuple[str, int], ...]

    @property
    def line(self) -> str:
        told = "; ".join(f"{what}, with {counted(number, 'result')} behind it" for what, number in self.contents)
        return f"{self.job}: {len(self.contents)} contents of one key, all kept: {told}"


@dataclass(slots=True, kw_only=True)
class Merged:
    """The result of a merge: how many results, environments and artifacts the bundles brought, and how many results the
    store has of them that it had not before."""

    results: int = 0
    new: int = 0
    environments: int = 0
    blobs: int = 0
    findings: list[KeyFinding] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    """What was not taken, a line each."""
    missing: list[str] = field(default_factory=list)
    """The shards that no bundle is of."""


def open_bundles(paths: Sequence[Path]) -> list[Bundle]:
    """The bundles, all of one plan. Raises ShardFault with all that is wrong with them; then nothing was changed."""
    opened: list[Bundle] = []
    faults: list[ShardFault] = []
    for path in paths:
        try:
            with uncollected():
                opened.append(Bundle(path))
        except ShardFault as fault:
            faults.append(fault)
    faults += _of_other_plans(opened)
    if faults:
        for bundle in opened:
            bundle.close()
        lines = [str(fault) for fault in faults]
        raise ShardFault("\n".join([*lines, "nothing was merged"]), tip=faults[0].tip)
    return opened


def _of_other_plans(bundles: Sequence[Bundle]) -> Iterator[ShardFault]:
    first = bundles[0].manifest if bundles else None
    for bundle in bundles[1:]:
        assert first
        other = bundle.manifest
        if other.plan != first.plan:
            same = " with other models, scripts, locks or options" if other.spec == first.spec else ""
            yield ShardFault(
                f"{bundle.path}: read a shard of {other.spec}{same} (plan {other.plan[:12]}), expected one of "
                f"{first.spec} (plan {first.plan[:12]}) as {bundles[0].path}",
                tip="merge the shards of one plan at a time: all made with the same words and the same checkout",
            )


def merge(store: Store, bundles: Sequence[Bundle]) -> Merged:
    """Puts bundles of one plan into the store. Raises DiskFull, StoreUnusable."""
    merged = Merged(missing=missing_shards(bundles))
    merged.blobs, merged.damaged = _merge_blobs(store, bundles)
    rows = [row for bundle in bundles for row in bundle.results]
    merged.results = len({row["key"] for row, _ in rows})
    with uncollected():
        _merge_results(store, rows, merged)
    environments = [row for bundle in bundles for row in bundle.environments]
    merged.environments = len({(row.request, row.known.digest) for row in environments})
    _merge_environments(store, environments)
    head = bundles[0].manifest
    store.begin_table(head.table, question=head.question)
    store.remember_shown(sorted({row["key"] for row, _ in rows}), whole=False)
    return merged


def missing_shards(bundles: Iterable[Bundle]) -> list[str]:
    """The shards with jobs that no bundle is of, in the waves up to the last one among them."""
    found: dict[tuple[int, int], set[int]] = defaultdict(set)
    busy: dict[tuple[int, int], set[int]] = defaultdict(set)
    for manifest in (bundle.manifest for bundle in bundles):
        found[manifest.wave, manifest.shards].add(manifest.shard)
        busy[manifest.wave, manifest.shards] |= set(manifest.busy)
    waves = {wave for wave, _ in found}
    lacking = [f"wave {wave}" for wave in range(1, max(waves, default=0)) if wave not in waves]
    for (wave, shards), there in sorted(found.items()):
        lacking += [f"wave {wave} shard {each}/{shards}" for each in sorted(busy[wave, shards] - there)]
    return lacking


# -- artifacts


def _merge_blobs(store: Store, bundles: Sequence[Bundle]) -> tuple[int, list[str]]:
    """Puts the artifacts into the store, each checked. Returns their number, and those that no bundle has whole."""
    taken, damaged = 0, dict[str, list[Bundle]]()
    for bundle in bundles:
        for digest in bundle.manifest.blobs:
            if store.whole(digest):
                continue
            with tempfile.NamedTemporaryFile(dir=store.places.scratch, delete=False) as file:
                copy, whole = Path(file.name), bundle.copy_blob(digest, file)
            if whole:
                store.put(copy, digest)
                taken += 1
            else:
                damaged.setdefault(digest, []).append(bundle)
            copy.unlink(missing_ok=True)
    makers = _makers(bundles) if damaged else {}
    return taken, [
        f"{bundle.path}: the artifact {digest[:12]}… ({makers.get(digest, 'of no result')}): read other bytes, "
        "expected that sha256"
        + (": another bundle has it, and it was taken from there" if store.whole(digest) else ": not taken")
        for digest, found in damaged.items()
        for bundle in found
    ]


def _makers(bundles: Iterable[Bundle]) -> dict[str, str]:
    return {
        output["digest"]: f"{output['name']} of {row['stage']} {row['label']}"
        for bundle in bundles
        for row, _ in bundle.results
        for output in row["outputs"]
    }


# -- results


def content_of(row: Mapping[str, Any]) -> str:
    """What a result says that every machine should find: the outcome, and the bytes left. Times and logs are not."""
    said = [row["outcome"], *sorted(f"{each['name']} {each['digest']}" for each in row["outputs"])]
    return hashlib.sha256("\0".join(said).encode("utf-8", "surrogateescape")).hexdigest()


def _merge_results(store: Store, rows: Sequence[ResultRow], merged: Merged) -> None:
    found: dict[str, dict[str, ResultRow]] = {}
    for row in rows:
        _add(found.setdefault(row.row["key"], {}), row)
    chosen: list[ResultRow] = []
    known = set[str]()
    several: dict[str, dict[str, ResultRow]] = {}
    for text in store.records_of(sorted(found.keys() | store.with_alternatives())):
        row = json.loads(text)
        _add(found.setdefault(row["key"], {}), ResultRow(row, json.dumps(row, sort_keys=True)))
        known.add(row["key"])
    merged.new = merged.results - len(known.intersection(row["key"] for row, _ in rows))
    for key, contents in sorted(found.items()):
        if len(contents) > 1:
            several[key] = contents
        else:
            chosen += contents.values()
    others = _ranked(store, several, rows, merged)
    for key, contents in several.items():
        left = dict(others[key])
        chosen.append(next(row for content, row in contents.items() if content not in left))
    store.keep_records(chosen, others)


def _add(contents: dict[str, ResultRow], row: ResultRow) -> None:
    """Adds a result to the contents of its key. Of two with the same content the one that ended first stays; one that
    is our fault says nothing beside one that is not."""
    ours = Outcome.INFRASTRUCTURE.value
    if row.row["outcome"] == ours and contents:
        if any(each.row["outcome"] != ours for each in contents.values()):
            return
    elif row.row["outcome"] != ours:
        for content in [content for content, each in contents.items() if each.row["outcome"] == ours]:
            del contents[content]
    content = content_of(row.row)
    known = contents.get(content)
    if known is None or _age(row) < _age(known):
        contents[content] = row


def _age(row: ResultRow) -> tuple[str, str]:
    return row.row["finished_at"], row.text


def _ranked(
    store: Store, several: Mapping[str, Mapping[str, ResultRow]], rows: Sequence[ResultRow], merged: Merged
) -> dict[str, list[tuple[str, str]]]:
    """The alternatives of each key with several contents: all but the one that most results build on."""
    if not several:
        return {}
    users = _users([*map(json.loads, store.all_records()), *(row for row, _ in rows)])
    found = {}
    for key, contents in several.items():
        shared = set.intersection(*(_left(each.row) for each in contents.values()))
        behind = {content: _behind(_left(each.row) - shared, users) for content, each in contents.items()}
        order = sorted(contents, key=lambda content: (-behind[content], content))
        found[key] = [(content, contents[content].text) for content in order[1:]]
        row = contents[order[0]].row
        merged.findings.append(
            KeyFinding(
                job=f"{row['stage']} {row['label']}",
                contents=tuple((_told(contents[each].row, shared), behind[each]) for each in order),
            )
        )
    return found


def _left(row: Mapping[str, Any]) -> set[str]:
    return {output["digest"] for output in row["outputs"]}


def _told(row: Mapping[str, Any], shared: set[str]) -> str:
    """`passed with module.vmfb 12ab…`."""
    own = [f"{each['name']} {each['digest'][:12]}…" for each in row["outputs"] if each["digest"] not in shared]
    return " with ".join([row["outcome"], *([", ".join(own)] if own else [])])


def _users(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[str, set[str]]]]:
    """For each artifact the jobs that take it, each with what it left."""
    found: dict[str, list[tuple[str, set[str]]]] = defaultdict(list)
    for row in rows:
        for _, digest in row["inputs"]:
            found[digest].append((row["key"], _left(row)))
    return found


def _behind(digests: set[str], users: Mapping[str, list[tuple[str, set[str]]]]) -> int:
    """How many jobs take one of these artifacts, or what was made of it."""
    keys, seen, ahead = set[str](), set(digests), list(digests)
    while ahead:
        for key, left in users.get(ahead.pop(), ()):
            keys.add(key)
            ahead += left - seen
            seen |= left
    return len(keys)


# -- environments


def _merge_environments(store: Store, rows: Sequence[EnvironmentRow]) -> None:
    """Keeps each under its recipe, and under its request for machines on which the recipe is another one."""
    named = [(row.recipe, row.known) for row in rows]
    named += [(ELSEWHERE.format(request=row.request, digest=row.known.digest), row.known) for row in rows]
    store.remember_environments(named)


def finding_lines(merged: Merged) -> list[str]:
    """What a merge found, a line each, cut short where there are very many."""
    lines = [finding.line for finding in merged.findings[:MOST_TOLD]]
    more = len(merged.findings) - MOST_TOLD
    return lines + [f"and {counted(more, 'more job')}"] * (more > 0)
