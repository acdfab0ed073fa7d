"""Operations of one system joined with those of others: by kind, order and shape, and where the base loses most."""

from __future__ import annotations

import pytest

from matrix.answers.peers.joining import Worked, joined_operations, kind_totals
from matrix.answers.peers.losses import loss_lines, losses_document


def conv(name: str, shape: tuple[int, ...], microseconds: float, kind: str = "convolution") -> Worked:
    return Worked(name=name, kind=kind, shape=shape, seconds=microseconds / 1e6)


BASE = [
    conv("line 1", (1, 72, 56, 56), 400),
    conv("line 2", (1, 72, 28, 28), 90),
    conv("line 3", (1, 24, 28, 28), 50),
    conv("line 4", (1, 1000), 30, "matmul"),
    conv("line 5", (1, 24, 28, 28), 5, "other"),
]
PADDED = [
    conv("a", (1, 80, 56, 56), 100),
    conv("b", (1, 80, 28, 28), 95),
    conv("c", (1, 32, 28, 28), 60),
    conv("d", (1000,), 20, "matmul"),
]
SHORT = [conv("A", (1, 72, 56, 56), 120), conv("C", (24, 28, 28), 10), conv("X", (1, 3, 5, 5), 1, "other")]
OTHERS = {"onnxruntime": PADDED, "openvino": SHORT}


def partners(base, others) -> dict[str, dict[str, str]]:
    return {
        row.base.name: {system: one.name for system, one in row.partners.items()}
        for row in joined_operations(base, others)
    }


def test_operations_of_one_kind_are_joined_in_their_order_by_shape():
    assert partners(BASE, OTHERS) == {
        "line 1": {"onnxruntime": "a", "openvino": "A"},
        "line 2": {"onnxruntime": "b"},
        "line 3": {"onnxruntime": "c", "openvino": "C"},
        "line 4": {"onnxruntime": "d"},
    }


def test_what_has_another_shape_or_another_order_has_no_partner():
    assert partners([BASE[0]], {"other": [conv("a", (1, 72, 56, 55), 1)]}) == {}
    swapped = [BASE[1], BASE[0]]
    assert len(partners(swapped, {"other": PADDED[:2]})) == 1, "an order cannot be crossed"


def test_the_loss_is_to_the_best_and_the_largest_stands_first():
    rows = joined_operations(BASE, OTHERS)
    assert [row.base.name for row in rows] == ["line 1", "line 3", "line 4", "line 2"]
    assert rows[0].best == "onnxruntime" and rows[0].loss == pytest.approx(300e-6)
    assert rows[1].best == "openvino" and rows[1].loss == pytest.approx(40e-6)
    assert rows[3].loss < 0, "there the base is quicker"


def test_all_operations_count_to_their_kind():
    totals = {each.kind: each for each in kind_totals(BASE, OTHERS)}
    assert totals["convolution"].base == (3, pytest.approx(540e-6))
    assert totals["other"].others == {"onnxruntime": (0, 0.0), "openvino": (1, 1e-6)}


def test_what_is_printed_and_what_is_written_are_the_same():
    lines = loss_lines("iree", BASE, OTHERS)
    assert "4 of 5 operations of iree have a partner" in lines[0]
    table = [line.split() for line in lines[3:6]]
    assert table[0][:4] == ["400", "100", "120", "300"] and lines[3].endswith("line 1")
    assert len(table) == 3 and table[1][:4] == ["50", "60", "10", "40"], "line 2 is no loss"
    assert any(line.startswith("convolution") and "540 in 3" in line for line in lines)
    document = losses_document(BASE, OTHERS)
    assert [each["best"] for each in document["joined"]] == ["onnxruntime", "openvino", "onnxruntime", "onnxruntime"]


def test_a_model_without_a_loss_says_so():
    assert any("iree loses in no operation" in line for line in loss_lines("iree", BASE, {"other": [BASE[0]]}))
