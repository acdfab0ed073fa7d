"""The whole way to the emulated board: the runtime from source, every route; the second call from the store."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import matrix

pytestmark = [pytest.mark.real, pytest.mark.full]


def test_the_smoke_test_finds_what_is_committed(tmp_path: Path) -> None:
    first = matrix("armv6-smoke", "--store", tmp_path / "store", timeout=5400)
    assert first.status == 0, first.out[-4000:] + first.err[-2000:]
    again = matrix("armv6-smoke", "--store", tmp_path / "store", timeout=300)
    assert again.status == 0
    assert again.seconds < 60
    assert again.out.partition("route ")[2] == first.out.partition("route ")[2]
