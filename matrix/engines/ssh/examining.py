"""What `doctor` finds of the boards of a spec."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from matrix.core.data import data_root
from matrix.core.errors import EngineMissing
from matrix.core.records import Board
from matrix.engines.kind import Finding
from matrix.engines.ssh.board import SshBoard
from matrix.engines.ssh.facts import BoardFacts
from matrix.plan.targets import Target


def boards_of(targets: Mapping[str, Target], base: Path) -> dict[str, tuple[Board, str]]:
    """Target -> its board, and the machine of its programs. Paths are relative to `base`."""
    return {
        name: (
            Board(target=name, ssh=each.ssh, config=(base / each.ssh_config).resolve() if each.ssh_config else None),
            each.machine,
        )
        for name, each in targets.items()
        if each.ssh
    }


def examine_boards(boards: Iterable[tuple[Board, str]], store: Path) -> list[Finding]:
    """Connects to each board, and leaves nothing there."""
    return [_examine(board, machine, store) for board, machine in boards]


def _examine(board: Board, machine: str, store: Path) -> Finding:
    name = f"board {board.target}"
    there = SshBoard(board, script=data_root() / "scripts" / "board.sh", keep=store / "boards", on_event=lambda _: None)
    try:
        facts = there.facts()
    except EngineMissing as error:
        reason = str(error).partition(": ")[2] or str(error)
        return Finding(name=name, state="missing", found=reason, advice=error.tip or "")
    finally:
        there.close()
    why, tip = facts.fault(machine)
    return Finding(name=name, state="warning" if why else "ok", found=why or _described(facts), advice=tip)


def _described(facts: BoardFacts) -> str:
    parts = [facts.hardware, f"Linux {facts.kernel}", facts.c_library or "no glibc", f"{facts.free_kib >> 10} MiB free"]
    parts += [] if facts.temperature is None else [f"{facts.temperature:.0f} °C"]
    parts += [] if facts.clock is None else [f"{facts.clock:.0f} MHz"]
    return ", ".join(parts)
