"""The doctor on this machine itself."""

from __future__ import annotations

import os
from pathlib import Path

from matrix.cli import upkeep
from matrix.engines.kind import Finding
from matrix.environments import interpreters


def by_name(store: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in upkeep.examine(store)}


def test_this_machine_itself(tmp_path, monkeypatch):
    """Nothing is faked but the index, which a unit test does not ask."""
    monkeypatch.setattr(upkeep, "_package_index", lambda: Finding(name="package index", state="ok", found=""))
    found = by_name(tmp_path)
    assert found[f"Python {interpreters.running().minor}"].state == "ok"
    assert found["uv"].state == "ok"
    assert not [finding for finding in found.values() if "could not be checked" in finding.found]
    assert [finding for finding in found.values() if finding.state != "ok" and not finding.advice] == []
    assert os.access(tmp_path, os.W_OK)
