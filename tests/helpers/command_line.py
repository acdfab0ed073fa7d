"""What the real tests share: the command line as a person calls it, specs, stores, and a look at /proc."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrix.environments.manifest import MANIFEST_FILE, write_manifest

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
RELEASES = ("3.8.0", "3.10.0", "3.13.0")
SPEC = """
format = 1
name = "{name}"
question = "Which of these runtimes load what these compilers wrote?"
stages = {stages}

[axes]
model = {models}
torch = "2.9.1"
turbine = "3.9.0"
compiler = {compilers}
runtime = {runtimes}
"""
SLOW = 'sleep {seconds}; exec "{tool}" "$@"\n'
"""For `before_run_module`: each run job takes a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A call of the command line that is over."""

    status: int
    out: str
    err: str
    seconds: float

    @property
    def jobs_run(self) -> int:
        found = re.search(r"^(\d+) jobs run", self.err, re.MULTILINE)
        assert found, self.err
        return int(found[1])


def surroundings(**more: str) -> dict[str, str]:
    """This process's environment, without what would change how the program talks or where it looks."""
    left_out = ("IREE_MATRIX_START_LOG", "IREE_MATRIX_DATA", "XDG_CACHE_HOME")
    return {name: value for name, value in os.environ.items() if name not in left_out} | more


def begin(*words: object, cwd: Path = ROOT, before: Sequence[str] = (), **env: str) -> subprocess.Popen[str]:
    """Starts `python -m matrix …` in a process group of its own; `before` stands before this command line."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", "matrix", *(str(word) for word in words)],
        cwd=cwd,
        env=surroundings(PYTHONPATH=str(ROOT), **env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def end(process: subprocess.Popen[str], *, timeout: float = 300.0) -> Ran:
    """Waits for it. No traceback ever reaches a person."""
    begun = time.monotonic()
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert "Traceback" not in out + err, out + err
    return Ran(status=process.returncode, out=out, err=err, seconds=time.monotonic() - begun)


def matrix(*words: object, cwd: Path = ROOT, timeout: float = 300.0, before: Sequence[str] = (), **env: str) -> Ran:
    """`python -m matrix …`, to its end."""
    return end(begin(*words, cwd=cwd, before=before, **env), timeout=timeout)


def good(*words: object, **options: Any) -> Ran:
    """The same, where it must end with 0."""
    ran = matrix(*words, **options)
    assert ran.status == 0, ran.err
    return ran


def quoted(words: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def write_spec(
    folder: Path,
    *,
    name: str = "square",
    compilers: Sequence[str] = RELEASES,
    runtimes: Sequence[str] = RELEASES,
    variants: int = 1,
    more: str = "",
    stages: Sequence[str] = ("export", "compile", "run"),
    models: Sequence[str] = (),
) -> Path:
    """A spec with the committed model, or with `variants` of it whose constants differ. Returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(DATA / "linear_input.npy", folder / "input.npy")
    own = [write_model(folder, number) for number in range(1, variants + 1)]
    text = SPEC.format(
        name=name,
        stages=quoted(stages),
        models=quoted(models or [f"linear{number}" for number in range(1, variants + 1)]),
        compilers=quoted(compilers),
        runtimes=quoted(runtimes),
    )
    path = folder / f"{name}.toml"
    path.write_text(text + "".join(own) + more, encoding="utf-8")
    return path


def write_model(folder: Path, number: int) -> str:
    """x @ weights + number, and what the spec says of it. Number 1 is the committed model."""
    import numpy

    text = (DATA / "linear.mlir").read_text(encoding="utf-8")
    changed = text.replace("dense<1.0>", f"dense<{number}.0>")
    assert number == 1 or changed != text
    (folder / f"linear{number}.mlir").write_text(changed, encoding="utf-8")
    expected = numpy.load(DATA / "linear_expected.npy") + numpy.float32(number - 1)
    numpy.save(folder / f"expected{number}.npy", expected)
    lines = [f'mlir = "linear{number}.mlir"', 'inputs = ["input.npy"]', f'expected = ["expected{number}.npy"]']
    return f"\n[models.linear{number}]\n" + "\n".join(lines) + "\n"


def new_store(folder: Path, shared: Path, *, leave_out: Iterable[str] = ()) -> Path:
    """A store at `folder` with its own results, and the standing environments of another one, each by a link."""
    (folder / "environments").mkdir(parents=True)
    for environment in standing(shared):
        if not environment.name.startswith(tuple(leave_out)):
            (folder / "environments" / environment.name).symlink_to(environment)
    return folder


def standing(store: Path) -> list[Path]:
    """The folders of complete environments."""
    return sorted(path.parent for path in (store / "environments").glob("*/environment.json"))


def own_copy(store: Path, start: str) -> Path:
    """Replaces the link to an environment by a copy (of hard links) that may be spoilt. Returns its folder."""
    folder = next(path for path in standing(store) if path.name.startswith(start))
    source = folder.resolve()
    folder.unlink()
    shutil.copytree(source, folder, symlinks=True, copy_function=link_or_copy)
    return folder


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def replace_tool(environment: Path, tool: str, script: str) -> None:
    """Puts a shell script in the place of a tool of an environment, as if it had been made so. Removes first: the files
    may be hard links."""
    place = next(environment.glob(f"lib/*/site-packages/iree/*/{tool}"), None)
    place = place or next(environment.glob(f"lib/*/site-packages/iree/*/*/{tool}"))
    place.unlink()
    place.write_text("#!/bin/sh\n" + script, encoding="utf-8")
    place.chmod(0o755)
    (environment / MANIFEST_FILE).unlink(missing_ok=True)
    write_manifest(environment)


def before_run_module(store: Path, script: str, **words: object) -> None:
    """Puts a script before iree-run-module 3.10.0 of a store. `{tool}` in it is the path of the real one."""
    environment = own_copy(store, "runtime-3.10.0")
    tool = next(environment.glob("lib/*/site-packages/iree/*/iree-run-module"))
    real = tool.with_name("real-run-module")
    os.link(tool, real)
    replace_tool(environment, "iree-run-module", script.format(tool=real, **words))


def no_index(cache: Path, port: int) -> dict[str, str]:
    """Variables that name an index at a port of this machine, and a cache that holds nothing."""
    address = f"http://127.0.0.1:{port}/simple"
    nothing = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "UV_FIND_LINKS": "", "UV_HTTP_RETRIES": "0"}
    return {"UV_DEFAULT_INDEX": address, "PIP_INDEX_URL": address, "UV_CACHE_DIR": str(cache), **nothing}


def open_to_all(folder: Path) -> None:
    """Another user may look into it: it, and what is above it as far as pytest made it."""
    for each in (folder, *folder.parents):
        if each.stat().st_mode & 0o005 == 0o005:
            return
        each.chmod(0o755)


def rows(store: Path) -> dict[str, str]:
    """Key -> finished_at of every recorded result, as they stand in the store's database."""
    if not (store / "store.sqlite").is_file():
        return {}
    with contextlib.closing(sqlite3.connect(store / "store.sqlite", timeout=30)) as database:
        with contextlib.suppress(sqlite3.OperationalError):  # killed before the first migration
            return dict(database.execute("SELECT key, finished_at FROM results"))
        return {}


def started(log: Path) -> list[str]:
    """The keys of all jobs that were ever started, as the worker itself wrote them down, outside of the store."""
    return log.read_text().split() if log.exists() else []


def processes_of(place: Path) -> dict[int, str]:
    """Processes, this one apart, whose command line, environment or folder names a path: pid -> command line."""
    word = os.fsencode(place)
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if pid == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if (entry / "stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z":
                continue
            command = (entry / "cmdline").read_bytes()
            folder = os.fsencode((entry / "cwd").readlink())
            if any(word in text for text in (command, (entry / "environ").read_bytes(), folder)):
                found[pid] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


def wait_until_gone(place: Path, *, seconds: float = 10.0) -> float:
    """Waits until no process names the path, and says how long that took."""
    begun = time.monotonic()
    while left := processes_of(place):
        assert time.monotonic() - begun < seconds, f"left behind: {left}"
        time.sleep(0.02)
    return time.monotonic() - begun


def wait_for(condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Waits until a function of no argument says true."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "it never came to that"
        time.sleep(0.01)


def table(spec: Path, store: Path, **options: str) -> str:
    """The table as data: a row a cell, nothing in it depends on when or where."""
    return good("show", spec, "--store", store, "--format", "csv", **options).out
