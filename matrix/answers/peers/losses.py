"""Where IREE loses most to the best of the other systems, by operation and by kind: for people and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matrix.answers.peers.joining import JoinedOperation, KindTotal, Worked, joined_operations, kind_totals
from matrix.answers.peers.operations import microseconds
from matrix.core.keys import Json
from matrix.core.text import plain_rows

MOST_LOSSES = 5
HOW_JOINED = (
    "the least of each operation in microseconds; operations are joined where kind, order and shape of the result "
    "agree, and each has its fused neighbours with it"
)


def loss_lines(base: str, rows: Sequence[Worked], others: Mapping[str, Sequence[Worked]]) -> list[str]:
    """The operations with the largest loss, and all of them by kind."""
    found = joined_operations(rows, others)
    losses = [each for each in found if each.loss > 0][:MOST_LOSSES]
    systems = list(others)
    table = plain_rows(
        [_cells(each, systems) for each in losses],
        headers=(base, *systems, "loss", "kind", "result", f"operation of {base}"),
    ).splitlines()
    none = [f"{base} loses in no operation that another system has too"]
    totals = [_total_cells(each, systems) for each in kind_totals(rows, others)]
    kinds = plain_rows(totals, headers=("by kind", base, *systems)).splitlines()
    whole = f"{len(found)} of {len(rows)} operations of {base} have a partner"
    head = f"where {base} loses most to the best of {_listed(systems)}: {HOW_JOINED}; {whole}"
    return [head, "", *(table if losses else none), "", *kinds]


def _listed(systems: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(systems[:-1]), *systems[-1:])))


def _cells(each: JoinedOperation, systems: Sequence[str]) -> list[str]:
    partners = [each.partners.get(system) for system in systems]
    return [
        microseconds(each.base.seconds),
        *(microseconds(one.seconds) if one else "-" for one in partners),
        microseconds(each.loss),
        each.base.kind,
        "x".join(map(str, each.base.shape)),
        each.base.name,
    ]


def _total_cells(each: KindTotal, systems: Sequence[str]) -> list[str]:
    return [each.kind, _sum(each.base), *(_sum(each.others[system]) for system in systems)]


def _sum(total: tuple[int, float]) -> str:
    return f"{microseconds(total[1])} in {total[0]}" if total[0] else "none"


def losses_document(rows: Sequence[Worked], others: Mapping[str, Sequence[Worked]]) -> dict[str, Json]:
    """All joined operations, and the kinds."""
    return {
        "joined": [
            {
                **_fields(each.base),
                "loss": each.loss,
                "best": each.best,
                "partners": {system: _fields(one) for system, one in each.partners.items()},
            }
            for each in joined_operations(rows, others)
        ],
        "kinds": [
            {
                "kind": each.kind,
                "base": {"operations": each.base[0], "least": each.base[1]},
                "others": {name: {"operations": one[0], "least": one[1]} for name, one in each.others.items()},
            }
            for each in kind_totals(rows, others)
        ],
    }


def _fields(each: Worked) -> dict[str, Json]:
    return {"name": each.name, "kind": each.kind, "shape": [*each.shape], "least": each.seconds}
