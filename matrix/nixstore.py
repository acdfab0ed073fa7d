"""The one seam to Nix: its store is asked, filled and built in by its own commands, of any version since 2.4.

What they say when they fail becomes an error that says what to do. The commands are the classic ones, which need no
experimental feature.
"""

from __future__ import annotations

import functools
import grp
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from matrix import processes
from matrix.errors import DiskFull, EngineMissing, ImageFault, MatrixError, StoreUnusable
from matrix.nar import STORE
from matrix.processes import Completed

ASK_SECONDS = 60.0
BUILD_SECONDS = 3600.0
PUBLIC_CACHE = "https://cache.nixos.org"
"""Holds nothing of ours: asking it costs five seconds a call on a machine without a network."""
GETTING_NIX = "install Nix (on Debian: apt install nix-bin bubblewrap), or take --engine venv"
LACKING = "is not in the Nix store: put it there"
"""What `images/nix/environments.nix` says of a file that a build needs and nobody has put there."""


class InputLacking(StoreUnusable):
    """A build needs a file that is not in the store, perhaps because it was collected a moment ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What this machine's Nix is set to."""

    version: str
    sandbox: bool
    substituters: tuple[str, ...]
    build_users_group: str

    @property
    def asks_caches(self) -> bool:
        """There is a binary cache that could have an environment."""
        return any(each.rstrip("/") != PUBLIC_CACHE for each in self.substituters)

    @property
    def options(self) -> tuple[str, ...]:
        """What commands need here: no question to a cache that cannot answer, and root builds without build users
        where nobody has made any."""
        found: list[str] = []
        if not self.asks_caches:
            found += ["--option", "substitute", "false"]
        if os.geteuid() == 0 and self.build_users_group and not _is_group(self.build_users_group):
            found += ["--option", "build-users-group", ""]
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to build: an attribute of an expression, for a table, with the unpacking code below `code`."""

    expression: Path
    attribute: str
    table: Path
    code: Path

    @property
    def words(self) -> tuple[str, ...]:
        arguments = ("--arg", "code", str(self.code), "--arg", "table", str(self.table))
        return (str(self.expression), "-A", self.attribute, *arguments)


def _is_group(name: str) -> bool:
    with suppress(KeyError):
        return bool(grp.getgrnam(name))
    return False


@functools.cache
def settings() -> Settings:
    """Raises EngineMissing where there is no Nix, or none that answers."""
    if shutil.which("nix-build") is None:
        raise EngineMissing("no nix-build is on the PATH", tip=GETTING_NIX)
    said = processes.run(["nix-build", "--version"], timeout=ASK_SECONDS)
    for words in (("show-config",), ("config", "show")):  # its name before Nix 2.20, and since then
        argv = ["nix", "--extra-experimental-features", "nix-command", *words, "--json"]
        done = processes.run(argv, timeout=ASK_SECONDS)
        with suppress(ValueError, KeyError, TypeError):
            read = json.loads(done.stdout)
            return Settings(
                version=said.stdout.split()[-1],
                sandbox=read["sandbox"]["value"] is True,
                substituters=tuple(read["substituters"]["value"]) if read["substitute"]["value"] else (),
                build_users_group=str(read["build-users-group"]["value"]),
            )
    raise EngineMissing(f"Nix does not say how it is set: {done.tail}", tip="try `nix show-config`; " + GETTING_NIX)


class NixStore:
    """Raises EngineMissing where there is no Nix, its daemon is not running, or it keeps its store elsewhere."""

    def __init__(self) -> None:
        self._options = settings().options
        self.missing((f"{STORE}/00000000000000000000000000000000-nothing",))  # it answers

    def missing(self, paths: Sequence[str]) -> list[str]:
        """Those that the store does not have."""
        if not paths:
            return []
        done = self._run("nix-store", "--check-validity", "--print-invalid", *paths)
        if not done.ok:
            raise failure(done, "cannot ask the Nix store")
        return done.stdout.split()

    def add(self, path: Path) -> str:
        """Copies a file, or a whole folder, into the store; its path there. Raises DiskFull, StoreUnusable."""
        done = self._run("nix-store", "--add-fixed", *(("--recursive",) if path.is_dir() else ()), "sha256", str(path))
        if not done.ok:
            raise failure(done, f"cannot put {path.name} into the Nix store")
        return done.stdout.strip()

    def build(self, target: Target, root: Path | None = None) -> None:
        """Builds what is missing of a target, and holds it by a link at `root`, which the collector respects.

        Raises InputLacking, ImageFault, DiskFull, StoreUnusable.
        """
        link = ("--out-link", str(root)) if root else ("--no-out-link",)
        done = self._run("nix-build", *target.words, *link, seconds=BUILD_SECONDS)
        if not done.ok:
            raise failure(done, f"cannot build {target.attribute}")

    def check(self, target: Target) -> str:
        """Builds a target again and says how it differs from what the store has; empty: not at all.

        Raises InputLacking, DiskFull, StoreUnusable.
        """
        done = self._run("nix-build", *target.words, "--no-out-link", "--check", seconds=BUILD_SECONDS)
        if done.ok:
            return ""
        error = failure(done, f"cannot build {target.attribute} again")
        if isinstance(error, ImageFault):
            return str(error)
        raise error

    def closure(self, path: str | Path) -> dict[str, int]:
        """Path -> bytes (as a NAR) of everything that a path needs, itself included."""
        done = self._run("nix-store", "--query", "--requisites", str(path))
        if not done.ok:
            raise failure(done, f"cannot look at {path}")
        paths = done.stdout.split()
        sizes = self._run("nix-store", "--query", "--size", *paths).stdout.split()
        return {path: int(size) for path, size in zip(paths, sizes, strict=True)}

    def delete(self, paths: Iterable[str]) -> int:
        """Removes those paths that no root holds, one after the other. Bytes (as NARs) that went."""
        gone = 0
        for path in paths:
            size = self._run("nix-store", "--query", "--size", path)
            if size.ok and self._run("nix-store", "--delete", path).ok:
                gone += int(size.stdout)
        return gone

    def _run(self, *argv: str, seconds: float = ASK_SECONDS) -> Completed:
        return processes.run([argv[0], *self._options, *argv[1:]], timeout=seconds)


def failure(done: Completed, what: str) -> MatrixError:
    """What a failed command of Nix means."""
    said = done.output
    lines = [line.strip() for line in said.splitlines() if "warning:" not in line]
    last = "; ".join(lines[-3:]) or f"exit code {done.exit_code}"
    if "No space left on device" in said or "disk is full" in said:
        return DiskFull(f"{what}: no space left on the disk of {STORE}: {last}", tip="nix-collect-garbage frees space")
    if "cannot connect to socket" in said or "cannot connect to daemon" in said:
        return EngineMissing(f"{what}: the Nix daemon does not answer: {last}", tip="systemctl start nix-daemon")
    if LACKING in said:
        return InputLacking(f"{what}: {last}", tip="run again: what is missing is put there")
    if "hash mismatch" in said:
        return ImageFault(f"{what}: it is not what images/nix says: {last}", tip="nox -s lock shows what has changed")
    if any(word in said for word in ("Permission denied", "Read-only file system", "Operation not permitted")):
        return StoreUnusable(
            f"{what}: {STORE} cannot be written: {last}", tip="run as its owner, or start the daemon of Nix"
        )
    return processes.failure(done, what)
