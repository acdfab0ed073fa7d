"""What results say of a machine: the flags of its CPU that decide which instructions a compiler may choose."""

from __future__ import annotations

import re

import pytest

from matrix.core.machine import machine_class, machine_identity, memory_bytes, numeric_flags
from matrix.results.times import machine_words


def test_the_flags_for_numbers_are_named_and_no_others():
    assert numeric_flags("fpu sse4_2 smep avx2 fma pse36 avx512_bf16 amx_tile rdrand") == [
        "sse4_2",
        "avx2",
        "fma",
        "avx512_bf16",
        "amx_tile",
    ]
    assert numeric_flags("half thumb fastmult vfp edsp neon vfpv3 asimddp sve2") == [
        "vfp",
        "neon",
        "vfpv3",
        "asimddp",
        "sve2",
    ]


def test_one_core_is_one_and_keys_are_those_of_before():
    assert machine_words("x86_64, AMD EPYC, 1 cores") == "x86_64, AMD EPYC, 1 core"
    assert machine_words("x86_64, AMD EPYC, 11 cores") == "x86_64, AMD EPYC, 11 cores"
    assert not re.search(r"\b1 cores", machine_class())
    assert re.search(r", \d+ cores, features [0-9a-f]{12}$", machine_identity())


@pytest.mark.parametrize(
    ("limits", "expected"),
    [({}, 8 << 20), ({"a": "max", "a/b": "max"}, 8 << 20), ({"a": "4096", "a/b": "max"}, 4096), ({"a/b": "5"}, 5)],
)
def test_the_memory_is_the_machines_or_what_a_cgroup_or_one_above_leaves(tmp_path, limits, expected):
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemFree: 1 kB\nMemTotal:       8192 kB\n")
    (proc / "self" / "cgroup").write_text("0::/a/b\n")
    (groups / "a" / "b").mkdir(parents=True)
    for folder, text in limits.items():
        (groups / folder / "memory.max").write_text(text + "\n")
    assert memory_bytes(proc, groups) == expected
