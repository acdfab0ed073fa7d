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

from matrix.core import processes
from matrix.core.errors import DiskFull, EngineMissing, ImageFault, MatrixError, StoreUnusable
from matrix.core.processes import Completed
from matrix.core.store_paths import StorePath, parse_registrations
from matrix.images.nix.nar import STORE

NIX_QUERY_SECONDS = 60.0
NIX_BUILD_SECONDS = 3600.0
PUBLIC_CACHE = "https://cache.nixos.org"
"""Holds nothing of ours: asking it costs five seconds a call on a machine without a network."""
GETTING_NIX = "install Nix (on Debian: apt install nix-bin bubblewrap), or take --engine venv"


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
class NixTarget:
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
    said = processes.run(["nix-build", "--version"], timeout=NIX_QUERY_SECONDS)
    for words in (("show-config",), ("config", "show")):  # its name before Nix 2.20, and since then
        argv = ["nix", "--extra-experimental-features", "nix-command", *words, "--json"]
        done = processes.run(argv, timeout=NIX_QUERY_SECONDS)
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

    def missing(self, paths: Sequence[str]) -> set[str]:
        """Those that the store does not have."""
        if not paths:
            return set()
        done = self._run("nix-store", "--check-validity", "--print-invalid", *paths)
        if not done.ok:
            raise nix_failure(done, "cannot ask the Nix store")
        return set(done.stdout.split())

    def add(self, *paths: Path) -> list[str]:
        """Copies files, or one whole folder, into the store; their paths there. Raises DiskFull, StoreUnusable."""
        recursive = ("--recursive",) if paths[0].is_dir() else ()
        done = self._run("nix-store", "--add-fixed", *recursive, "sha256", *map(str, paths), seconds=NIX_BUILD_SECONDS)
        if not done.ok:
            names = ", ".join(path.name for path in paths)
            raise nix_failure(done, f"cannot put {names} into the Nix store")
        return done.stdout.split()

    def hold(self, paths: Sequence[str], link: Path) -> None:
        """Keeps paths from the collector as long as `link`, and those numbered after it, are there. Raises
        InputLacking."""
        done = self._run("nix-store", "--realise", *paths, "--add-root", str(link), "--indirect")
        if not done.ok:
            raise nix_failure(done, "cannot hold what a build needs")

    def build(self, target: NixTarget, root: Path | None = None) -> None:
        """Builds what is missing of a target, and holds it by a link at `root`, which the collector respects.

        Raises InputLacking, ImageFault, DiskFull, StoreUnusable.
        """
        link = ("--out-link", str(root)) if root else ("--no-out-link",)
        done = self._run("nix-build", *target.words, *link, seconds=NIX_BUILD_SECONDS)
        if not done.ok:
            raise nix_failure(done, f"cannot build {target.attribute}")

    def check(self, target: NixTarget) -> str:
        """Builds a target again and says how it differs from what the store has; empty: not at all.

        Raises InputLacking, DiskFull, StoreUnusable.
        """
        done = self._run("nix-build", *target.words, "--no-out-link", "--check", seconds=NIX_BUILD_SECONDS)
        if done.ok:
            return ""
        error = nix_failure(done, f"cannot build {target.attribute} again")
        if isinstance(error, ImageFault):
            return str(error)
        raise error

    def changed(self, paths: Iterable[str]) -> str:
        """Which of these the disk has no longer as they were put there, and what mends it; every byte is read. Empty:
        none."""
        done = ((path, self._run("nix-store", "--verify-path", path, seconds=NIX_BUILD_SECONDS)) for path in paths)
        return "; ".join(
            f"{each.tail.strip().splitlines()[-1]} nix-store --repair-path {path} builds it anew"
            for path, each in done
            if not each.ok
        )

    def closure(self, *paths: str | Path) -> dict[str, StorePath]:
        """Everything that these need, themselves included, by path: one question where all of it is among them."""
        found = self._known(map(str, paths))
        while lacking := {path for each in found.values() for path in each.references} - found.keys():
            found |= self._known(sorted(lacking))
        return found

    def delete(self, paths: Iterable[str]) -> int:
        """Removes those of these paths that no root holds, with what refers to them: the `bin` that an older version of
        this project made of an environment holds it in the store, and nothing holds that. Bytes (as NARs) that went."""
        dead = set(self._run("nix-store", "--gc", "--print-dead").stdout.split())
        if not (wanted := [path for path in dict.fromkeys(paths) if path in dead]):
            return 0
        going = list(dict.fromkeys(self._run("nix-store", "--query", "--referrers-closure", *wanted).stdout.split()))
        unfinished = self.missing(going)  # what a killed build left has no row in the database, and goes as well
        known = self._known(path for path in going if path not in unfinished)
        self._run("nix-store", "--delete", *going, seconds=NIX_BUILD_SECONDS)
        return sum(known[path].size for path in self.missing(list(known)))

    def _known(self, paths: Iterable[str]) -> dict[str, StorePath]:
        """What the store's database has of paths that are there."""
        if not (every := list(dict.fromkeys(paths))):
            return {}  # without any, Nix would say all that it has
        done = self._run("nix-store", "--dump-db", *every)
        if not done.ok:
            raise nix_failure(done, "cannot read the database of the Nix store")
        return {each.path: each for each in parse_registrations(done.stdout)}

    def _run(self, *argv: str, seconds: float = NIX_QUERY_SECONDS) -> Completed:
        return processes.run([argv[0], *self._options, *argv[1:]], timeout=seconds)


SAID: tuple[tuple[tuple[str, ...], type[MatrixError], str, str], ...] = (
    (
        ("No space left on device", "disk is full", "no space left to unpack"),  # the system, SQLite, our own builder
        DiskFull,
        f"no space left on the disk of {STORE}: ",
        "nix-collect-garbage frees space",
    ),
    (
        ("cannot connect to socket", "cannot connect to daemon"),
        EngineMissing,
        "the Nix daemon does not answer: ",
        "systemctl start nix-daemon",
    ),
    (
        # environments.nix of a file that nobody has put there; Nix of a path
        ("is not in the Nix store: put it there", "no substituter that can build it", "don't know how to build"),
        InputLacking,
        "",
        "run again: what is missing is put there",
    ),
    (("hash mismatch",), ImageFault, "it is not what images/nix says: ", "nox -s lock shows what has changed"),
    (
        ("Permission denied", "Read-only file system", "Operation not permitted", "remounting"),
        StoreUnusable,
        f"{STORE} cannot be written: ",
        "run as its owner, or start the daemon of Nix",
    ),
)
"""What Nix says -> which error it is, what it means, what to do. The first that fits."""


def nix_failure(done: Completed, what: str) -> MatrixError:
    """What a failed command of Nix means."""
    lines = [line.strip() for line in done.output.splitlines() if "warning:" not in line]
    last = "; ".join(lines[-3:]) or f"exit code {done.exit_code}"
    for words, kind, meaning, tip in SAID:
        if any(word in done.output for word in words):
            return kind(f"{what}: {meaning}{last}", tip=tip)
    plain = processes.failure(done, what)
    if "builder for" in done.output:
        return ImageFault(str(plain), tip="the whole log: nix-store --read-log, and that .drv")
    return plain
