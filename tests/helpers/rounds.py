"""What the times of a run in its JSON must hold, whichever system they are of."""

from __future__ import annotations

from typing import Any


def check_times_of_one_thread(run: dict[str, Any], *, rows: int, rounds: int) -> None:
    """Each of so many rows has so many rounds, and none takes more CPU time than one thread has."""
    found = [row for table in run["times"] for row in table["rows"]]
    assert len(found) == rows
    for row in found:
        assert len(row["seconds_by_round"]) == rounds
        for number, seconds in row["seconds_by_round"].items():
            assert row["cpu_seconds_by_round"][number] < 1.5 * seconds, "one thread computes"
