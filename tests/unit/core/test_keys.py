"""Keys: the same for the same job on every machine and in every version, different for every other."""

from __future__ import annotations

import pytest

from matrix.core import keys
from matrix.core.keys import canonical, digest, job_key
from matrix.core.records import Limits

JOB = {
    "stage": "run",
    "environment": "e",
    "script": "s",
    "inputs": (("a", "1"), ("b", "2")),
    "command": ("tool", "--x"),
    "arguments": (("k", "v"),),
    "limits": Limits(),
}


def test_a_key_never_changes():
    assert job_key(**JOB) == "1a1778d43191c2a4c83c8f7aa76e97aeabdd6f7ffe17b0dd70745fd6627e1c63"


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "compile"},
        {"environment": "f"},
        {"script": ""},
        {"inputs": (("a", "2"), ("b", "1"))},
        {"inputs": (("a", "1"),)},
        {"command": ("tool", "--x", "")},
        {"command": ("--x", "tool")},
        {"arguments": (("k", "w"),)},
        {"limits": Limits(seconds=601)},
        {"limits": Limits(memory_bytes=1)},
        {"limits": Limits(log_bytes=1)},
        {"repeat": 1},
    ],
)
def test_every_part_is_in_it(change):
    assert job_key(**(JOB | change)) != job_key(**JOB)


def test_the_version_is_in_it(monkeypatch):
    before = job_key(**JOB)
    monkeypatch.setattr(keys, "KEY_VERSION", 2)
    assert job_key(**JOB) != before


def test_the_order_of_named_things_is_not():
    assert job_key(**(JOB | {"inputs": JOB["inputs"][::-1]})) == job_key(**JOB)


def test_canonical_json():
    assert canonical({"b": 1, "a": [True, None, "é"]}) == b'{"a":[true,null,"\\u00e9"],"b":1}'
    assert len(digest("x")) == 64
    with pytest.raises(ValueError, match="Out of range"):
        canonical(float("nan"))
