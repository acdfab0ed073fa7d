"""What the plans of backends share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from matrix.plan.graph import Plan, make_plan
from matrix.plan.spec import parse_spec
from matrix.run.planning import load_catalogue


@pytest.fixture
def planned(tmp_path: Path) -> Callable[[str], Plan]:
    """The plan of a spec's text, on a machine of a class that has a name."""

    def plan(text: str) -> Plan:
        spec = parse_spec(text, source="own.toml", base=tmp_path)
        return make_plan(spec, replace(load_catalogue(spec), machine_class="one with AVX2"))

    return plan
