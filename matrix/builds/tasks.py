"""A task: some commands in a folder of their own, a pure function of its key, kept in the store with its log.

The stages of the matrix run tools of wheels in environments; here compilers, cmake and qemu run, several after
another in one folder, and a build is given up at its first failing command. The rest is the same: a key of contents
(no path of the machine is in it), a task that failed is an outcome and is kept like one that passed, what the machine
did wrong is an error and is not kept, and a folder appears in the store by one rename or not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matrix.core import processes
from matrix.core.disk import claimed, disk_errors
from matrix.core.errors import EngineMissing
from matrix.core.keys import digest, sha256
from matrix.core.processes import NOT_FOUND, Completed, failure
from matrix.core.records import Outcome
from matrix.images.debian.unpacked import Tree

__all__ = ["Task", "TaskEnd", "Tasks", "Tree", "claimed", "task_key"]

FORMAT = 1
"""In every key: raise it when tasks of before must not answer for tasks of now."""
RECORD = "task.json"
LOG = "log.txt"
LOG_CHARACTERS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to run, with `{name}` for the path of a tree and `{here}` for the task's own folder.

    `inputs` are laid into the folder under their names; `outputs` must be there at the end. `seconds` is the limit of
    each command.
    """

    label: str
    commands: tuple[tuple[str, ...], ...]
    trees: Mapping[str, Tree]
    inputs: Mapping[str, Path]
    outputs: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    seconds: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnd:
    """How a task ended; `folder` in the store holds its outputs and its log. `cached`: it was not run now."""

    key: str
    label: str
    outcome: Outcome
    exit_code: int
    seconds: float
    failed_command: str
    folder: Path
    cached: bool

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED

    @property
    def ending(self) -> str:
        """`passed`, `exit code 1`, `SIGILL`, `timed out`: in a word or two."""
        if self.outcome is Outcome.CRASHED:
            return signal.Signals(-self.exit_code).name
        return f"exit code {self.exit_code}" if self.outcome is Outcome.FAILED else self.outcome.value.replace("_", " ")

    @property
    def log(self) -> str:
        return (self.folder / LOG).read_text(encoding="utf-8")

    def output(self, name: str) -> Path:
        return self.folder / name

    @property
    def tree(self) -> Tree:
        """What it left, as a tree for other tasks; the log and the times are not in its digest."""
        files = {path.name: sha256(path) for path in self.folder.iterdir() if path.name not in (LOG, RECORD)}
        return Tree(path=self.folder, digest=digest(files))


def task_key(task: Task) -> str:
    """sha256 of all that decides what the task leaves. Only the trees that it names are in it."""
    used = {name for name in task.trees if _names(task, name)}
    return digest(
        {
            "format": FORMAT,
            "commands": [list(command) for command in task.commands],
            "trees": {name: task.trees[name].digest for name in sorted(used)},
            "inputs": {name: sha256(path) for name, path in sorted(task.inputs.items())},
            "outputs": list(task.outputs),
            "environment": dict(task.environment),
            "seconds": task.seconds,
        }
    )


def _names(task: Task, tree: str) -> bool:
    words = [word for command in task.commands for word in command]
    return any(f"{{{tree}}}" in word for word in (*words, *(value for _, value in task.environment)))


class Tasks:
    """The tasks of a store. Two processes may share it: a task is claimed by a lock that dies with its holder."""

    def __init__(self, store: Path) -> None:
        self.folder = store / "armv6"
        self._stopping = threading.Event()
        with disk_errors(store):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()

    def _sweep(self) -> None:
        """Removes what killed processes left: the folders of tasks that nobody holds a claim on."""
        for left in self.folder.glob("partial-*"):
            claim = next(self.folder.glob(f"{left.name.split('-')[1]}*.lock"), None)
            if claim is None:
                continue
            with claim.open("wb") as file, contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)

    def stop(self) -> None:
        """From here on nothing is begun or kept: what runs in other threads is about to be killed."""
        self._stopping.set()

    def run(self, task: Task) -> TaskEnd:
        """The task's end, from the store if it was run before. Raises EngineMissing, DiskFull, StoreUnusable."""
        key = task_key(task)
        place = self.folder / key
        with disk_errors(self.folder), claimed(self.folder / f"{key}.lock"):
            return self._load(place, key, cached=True) or self._run(task, key, place)

    def _load(self, place: Path, key: str, *, cached: bool) -> TaskEnd | None:
        try:
            read = json.loads((place / RECORD).read_bytes())
            return TaskEnd(**{**read, "outcome": Outcome(read["outcome"])}, key=key, folder=place, cached=cached)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _run(self, task: Task, key: str, place: Path) -> TaskEnd:
        shutil.rmtree(place, ignore_errors=True)  # of another format
        scratch = Path(tempfile.mkdtemp(prefix=f"partial-{key[:12]}-", dir=self.folder))
        try:
            ended = _run_commands(task, scratch)
            if self._stopping.is_set():
                raise KeyboardInterrupt
            _refuse_killed(ended[-1], task)
            kept = scratch / "kept"
            kept.mkdir()
            outcome = _outcome(ended, task, scratch)
            if outcome is Outcome.PASSED:
                for name in task.outputs:
                    (kept / name).parent.mkdir(parents=True, exist_ok=True)
                    (scratch / name).replace(kept / name)
            log = "".join(_placeless(f"$ {done.command}\n{done.output}\n", task, scratch) for done in ended)
            (kept / LOG).write_text(log[-LOG_CHARACTERS:], encoding="utf-8")
            record = {
                "label": task.label,
                "outcome": outcome.value,
                "exit_code": ended[-1].exit_code,
                "seconds": round(sum(done.seconds for done in ended), 3),
                "failed_command": "" if outcome is Outcome.PASSED else _placeless(ended[-1].command, task, scratch),
            }
            (kept / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
            kept.rename(place)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        loaded = self._load(place, key, cached=False)
        assert loaded is not None  # it was written a moment ago
        return loaded


def _run_commands(task: Task, scratch: Path) -> list[Completed]:
    for name, path in task.inputs.items():
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, scratch / name)
    plain = {"PATH": os.defpath, "HOME": str(scratch), "TMPDIR": str(scratch), "LANG": "C.UTF-8", "TZ": "UTC"}
    env = plain | {name: _placed(value, task, scratch) for name, value in task.environment}
    ended: list[Completed] = []
    for command in task.commands:
        argv = [_placed(word, task, scratch) for word in command]
        ended.append(processes.run(argv, timeout=task.seconds, env=env, cwd=scratch))
        if ended[-1].exit_code == NOT_FOUND:
            raise EngineMissing(
                f"{task.label}: {argv[0]} cannot be started: {ended[-1].tail}",
                tip="remove the folder `armv6` of the store and run again: its tools are fetched anew",
            )
        if not ended[-1].ok:
            break
    return ended


def _refuse_killed(done: Completed, task: Task) -> None:
    """SIGKILL comes from outside: of the kernel for want of memory, or of a person. It says nothing of the task."""
    if done.exit_code == -signal.SIGKILL and not done.timed_out:
        raise failure(done, task.label, tip="nothing of it is kept: see whether memory is short, and run again")


def _placed(word: str, task: Task, scratch: Path) -> str:
    for name, tree in task.trees.items():
        word = word.replace(f"{{{name}}}", str(tree.path))
    return word.replace("{here}", str(scratch))


def _placeless(text: str, task: Task, scratch: Path) -> str:
    """A command line or a log with `{name}` again where a path of the machine stands."""
    text = text.replace(str(scratch), "{here}")
    for name, tree in task.trees.items():
        text = text.replace(str(tree.path), f"{{{name}}}")
    return text


def _outcome(ended: list[Completed], task: Task, scratch: Path) -> Outcome:
    last = ended[-1]
    if last.timed_out:
        return Outcome.TIMED_OUT
    if last.exit_code < 0:
        return Outcome.CRASHED
    complete = all((scratch / name).is_file() for name in task.outputs)
    return Outcome.PASSED if last.exit_code == 0 and complete else Outcome.FAILED
