"""The embedded default passes the contract of engines."""

from __future__ import annotations

import pytest
from command_line import ROOT
from containers import workshop
from engine_contract import EngineContract

from matrix.engines.venv.engine import VenvEngine

pytestmark = pytest.mark.real


class TestVenvEngine(EngineContract):
    @staticmethod
    def new(folder, on_event):
        (folder / "scratch").mkdir(parents=True, exist_ok=True)
        return VenvEngine(
            folder=folder / "environments",
            scratch=folder / "scratch",
            scripts=ROOT / "scripts",
            slots=2,
            on_event=on_event,
            workshop=lambda: workshop(folder),
        )
