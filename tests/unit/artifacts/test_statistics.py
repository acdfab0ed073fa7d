"""What `iree-compile` of three releases wrote of its modules, whole and spoiled."""

from __future__ import annotations

import random
from dataclasses import asdict
from pathlib import Path

import pytest

from matrix.artifacts.compiler.statistics import read_statistics

FILES = sorted((Path(__file__).parents[2] / "data" / "statistics").glob("*.csv"))
WHOLE = {path.stem: path.read_bytes() for path in FILES}


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("20230209.425", {"dispatch_count": 2, "executable_count": 1, "transient_bytes": 262144}),
        ("20240129.785", {"dispatch_count": 3, "executable_count": 3, "constant_count": 1, "constant_bytes": 128}),
        ("2.9.0", {"dispatch_count": 3, "executable_count": 3, "transient_bytes": 256}),
        ("3.13.0", {"dispatch_count": 2, "executable_count": 1, "transient_bytes": 524288, "submission_count": 1}),
    ],
)
def test_what_releases_wrote(release, expected):
    found = read_statistics(WHOLE[release])
    assert found is not None
    assert {name: value for name, value in asdict(found).items() if name in expected} == expected


@pytest.mark.parametrize("release", WHOLE)
def test_a_file_that_was_cut_off_anywhere_gives_its_own_totals_or_none(release):
    whole = WHOLE[release]
    told = read_statistics(whole)
    for length in range(len(whole)):
        assert read_statistics(whole[:length]) in (None, told)
    assert read_statistics(whole[: whole.index(b"Executables")]) is None
    assert read_statistics(whole[: whole.index(b'0,"dispatch"') + 9]) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"0,0,0,0,1,1,524288", b"0,0,0,0,1,1,-1"),
        (b"0,0,0,0,1,1,524288", b"0,0,0,0,1,1,1e9"),
        (b"0,0,0,0,1,1,524288", b"0,0,0,0,1,1," + b"9" * 5000),
        (b"0,0,0,0,1,1,524288", "0,0,0,0,1,1,٣".encode()),
        (b"0,0,0,0,1,1,524288", b"0,0,0,0,1,524288"),
        (b'"Dispatches"', b'"Kernels"'),
        (b'"Fills","Copies"', b'"Fills","Fills"'),
        (b'"Constants",', b'"Constants'),
        (b"; Aggregate", b'"Constants",1\n; Aggregate'),
    ],
)
def test_what_does_not_fit_gives_no_number(before, after):
    spoiled = WHOLE["3.13.0"].replace(before, after)
    assert spoiled != WHOLE["3.13.0"]
    assert read_statistics(spoiled) is None


def test_any_bytes_are_read_without_an_exception():
    chance = random.Random(16)
    for _ in range(3000):
        content = bytearray(chance.choice(list(WHOLE.values())))
        for _ in range(chance.randrange(1, 8)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        read_statistics(bytes(content))
    for content in (b"", b"\n\n", b'"Constants",\n\n', b"\0" * 1000 + b"\n\n"):
        assert read_statistics(content) is None
