"""The engine venv as a record: the default."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from matrix.core.disk import remove_tree, size_of
from matrix.core.records import DEFAULT_ENGINE, Board
from matrix.engines.contract import Engine, tool_line, tool_variables
from matrix.engines.kind import Cleaning, EngineKind, EngineSetting, Feature, ManualRepeat, workshop


def _make(setting: EngineSetting) -> Engine:
    from matrix.engines.venv.engine import VenvEngine
    from matrix.environments.wheel_cache import WheelCache

    places = setting.places
    return VenvEngine(
        folder=places.environments,
        scratch=places.scratch,
        scripts=setting.scripts,
        slots=setting.slots,
        on_event=setting.on_event,
        workshop=lambda: workshop(places),
        offline=setting.offline,
        cache=WheelCache(places.wheels) if setting.own_cache or places.wheels.is_dir() else None,
    )


def _shell_line(made: ManualRepeat) -> str:
    if made.environment.board:
        return _board_line(made, made.environment.board)
    said = [f"{name}={value}" for name, value in tool_variables(made.environment).items()]
    line = python_line(made) if made.script else tool_line(made.job.command, made.environment)
    return in_folder(made, (*(["env", *said] if said else []), *line))


def _board_line(made: ManualRepeat, board: Board) -> str:
    """Sends the files and the tool to the board, runs it there, and leaves nothing behind."""
    program, *words = tool_line(made.job.command, made.environment)
    name = Path(program).name
    files = {**made.files, name: Path(program)} if Path(program).is_absolute() else made.files
    links = "".join(f"ln -s {shlex.quote(str(path))} {file} && " for file, path in files.items())
    there = f'cd "$(mktemp -d)" && tar -x && chmod 700 {name} && {shlex.join([f"./{name}", *words])}; rm -rf "$PWD"'
    config = ["-F", str(board.config)] if board.config else []
    return f'cd "$(mktemp -d)" && {links}tar -ch . | {shlex.join(["ssh", *config, board.ssh, there])}'


def python_line(made: ManualRepeat) -> tuple[str, ...]:
    """The script, run by the environment's Python."""
    return (*tool_line(("python",), made.environment), str(made.scripts / made.script), made.model, *made.words)


def in_folder(made: ManualRepeat, line: tuple[str, ...]) -> str:
    """A command in a new folder with the job's files."""
    links = "".join(f"ln -s {shlex.quote(str(path))} {name} && " for name, path in made.files.items())
    return f'cd "$(mktemp -d)" && {links}{shlex.join(line)}'


def _clean(cleaning: Cleaning) -> Mapping[str, int]:
    """Removes unfinished environments. Then, if asked or while the store is too large, environments, the oldest first:
    they are made again when needed. And wheels that no environment has."""
    from matrix.environments.folders import PARTIAL, take_away
    from matrix.environments.wheel_cache import Footprint, WheelCache

    places, standing = cleaning.places, []
    freed = {"unfinished environments": 0, "environments": 0}
    for path in sorted(places.environments.iterdir()):
        if not path.is_dir():  # the claim of an environment; nothing holds it, because cleaning is exclusive
            path.unlink()
        elif PARTIAL in path.name:
            freed["unfinished environments"] += _remove(path)
        else:
            standing.append(path)
    excess = cleaning.excess_bytes - freed["unfinished environments"]
    for folder in sorted(standing, key=lambda path: path.stat().st_mtime):
        if cleaning.environments or excess > freed["environments"]:
            freed["environments"] += _remove(take_away(folder))
    before = Footprint().add([places.wheels])
    WheelCache(places.wheels).prune()
    return {**freed, "wheels": before - Footprint().add([places.wheels])}


def _remove(folder: Path) -> int:
    size = size_of(folder)
    remove_tree(folder)
    return size


VENV = EngineKind(
    name=DEFAULT_ENGINE,
    title="venv",
    make=_make,
    shell_line=_shell_line,
    takes=frozenset(Feature) - {Feature.IMAGES},
    sees_store=True,
    clean=_clean,
)
