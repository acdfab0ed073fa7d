"""A board that the command line names: over SSH it runs the programs of a question's one target. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from matrix.core.errors import UsageError
from matrix.plan.backends.shared import TARGET_AXIS
from matrix.plan.spec import Rule, Spec, View
from matrix.plan.stages import PROGRAM_PLACE
from matrix.plan.targets import DESTINATION, Target

OF_BOARD = "-board"
"""What the name of a target ends in where it is measured on such a board: results have no name of a host."""
SEVERAL_TIP = "name it with --target; several boards are `ssh` in [targets.NAME] of a spec"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedBoard:
    """OpenSSH's `destination`, the file of its configuration ("": the user's own), and the machine of this computer,
    which the target `host` means."""

    destination: str
    config: str
    here: str


def read_destination(said: str, config: str) -> tuple[str, str]:
    """The words of --board and --ssh-config, the path made absolute. Raises UsageError."""
    if config and not said:
        raise UsageError(
            f"--ssh-config: read {config!r} without --board, expected both: which board it is",
            tip="--board takes what you would give to `ssh`",
        )
    if said and not DESTINATION.match(said):
        raise UsageError(
            f"--board: read {said!r}, expected OpenSSH's destination: NAME, USER@HOST or ssh://USER@HOST:PORT",
            tip="other options of SSH stand in its configuration, yours or that of --ssh-config",
        )
    if config and not Path(config).is_file():
        raise UsageError(
            f"--ssh-config: read {config!r}, expected a file of OpenSSH's configuration, and there is none",
            tip="without it `ssh` reads your own",
        )
    return said, str(Path(config).absolute()) if config else ""


def with_board(spec: Spec, board: NamedBoard, shipped: Mapping[str, Target]) -> Spec:
    """The spec with its one target on a board, under a name of its own: in its tables and rules too. Raises UsageError
    where there is no such target, or one that no board can be reached for. An unknown target is left to the axis."""
    old = _one_target(spec, board)
    known = {**shipped, **spec.targets}
    if old not in known:
        return spec
    new = f"{old}{OF_BOARD}"
    if new in known:
        raise UsageError(f"--board: {spec.source} has a target {new!r}, expected none of that name", tip="rename it")
    _refuse(known[old])
    target = replace(
        known[old], name=new, ssh=board.destination, ssh_config=board.config, emulator=(), sysroot="", packages=""
    )
    axis, meant = TARGET_AXIS.name, {old, *(["host"] if old == board.here else [])}
    tables = [_moved(table, meant, new) for table in spec.tables]
    if not (shown := tuple(table for table in tables if table)):
        raise UsageError(
            f"--board: no table of {spec.source} shows target {old!r}, expected one", tip="choose another --target"
        )
    return replace(
        spec,
        axes={**spec.axes, axis: (new,)},
        targets={**spec.targets, new: target},
        tables=shown,
        exclude=tuple(_renamed(rule, meant, new) for rule in spec.exclude),
        include=tuple(_renamed(rule, meant, new) for rule in spec.include),
    )


def _one_target(spec: Spec, board: NamedBoard) -> str:
    """Raises UsageError."""
    terms = spec.axes.get(TARGET_AXIS.name, ())
    if len(terms) == 1 and terms[0] != "all":
        return board.here if terms[0] == "host" else terms[0]
    read = f"its targets are {', '.join(terms)}" if terms else "it has no target of its own"
    raise UsageError(f"--board: read it for {spec.source}, but {read}, expected one target", tip=SEVERAL_TIP)


def _refuse(target: Target) -> None:
    """Raises UsageError for a target whose programs need what a board over SSH is not."""
    lacks, tip = "", "targets.toml has the shipped targets, docs/boards.md says what a board needs"
    if need := target.device or target.driver:
        lacks = f"needs {need} of this machine, expected one whose programs need no device"
    elif PROGRAM_PLACE in target.emulator:
        lacks, tip = "has no operating system that SSH reaches, expected one that has", "`bundle` makes its program"
    elif not target.machine:
        lacks = "does not say whose programs it runs, expected `machine` or `triple` in its table"
    if lacks:
        raise UsageError(f"--board: target {target.name!r} {lacks}", tip=tip)


def _moved(table: View, meant: set[str], new: str) -> View | None:
    """A table for the board; None: it shows other targets."""
    terms = table.where.get(TARGET_AXIS.name)
    if terms is None:
        return table
    if not {*terms} & {"all", *meant}:
        return None
    return replace(table, where={**table.where, TARGET_AXIS.name: (new,)})


def _renamed(rule: Rule, meant: set[str], new: str) -> Rule:
    terms = rule.when.get(TARGET_AXIS.name, ())
    if not meant & {*terms}:
        return rule
    return replace(rule, when={**rule.when, TARGET_AXIS.name: tuple(new if each in meant else each for each in terms)})
