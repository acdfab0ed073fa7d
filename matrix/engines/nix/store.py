"""The only access to Nix: queries, fills and builds in its store by its commands, of any version since 2.4.

Their failures become errors that say what to do. The commands are the classic ones, which need no experimental feature.
"""

from __future__ import annotations

import functools
import grp
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from matrix.artifacts.json_reader import read_json
from matrix.core import processes
from matrix.core.errors import DiskFull, EngineMissing, ImageFault, MatrixError, ProgramKilled, StoreUnusable
from matrix.core.processes import Completed
from matrix.core.store_paths import StorePath, parse_registrations
from matrix.images.nix.nar import STORE

NIX_QUERY_SECONDS = 60.0
NIX_BUILD_SECONDS = 3600.0
PUBLIC_CACHE = "https://cache.nixos.org"
"""It has none of our paths, and a query takes five seconds on a machine without a network."""
GETTING_NIX = "install Nix (on Debian: apt install nix-bin bubblewrap), or use --engine venv"


class InputLacking(StoreUnusable):
    """A build needs a file that is not in the store; the garbage collector may have just removed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of Nix on this machine."""

    version: str
    sandbox: bool
    substituters: tuple[str, ...]
    build_users_group: str

    @property
    def asks_caches(self) -> bool:
        """Whether there is a binary cache that may have an environment."""
        return any(each.rstrip("/") != PUBLIC_CACHE for each in self.substituters)

    @property
    def options(self) -> tuple[str, ...]:
        """The options for all commands: no queries to a cache without our paths, and root builds without build users
        where there are none."""
        found: list[str] = []
        if not self.asks_caches:
            found += ["--option", "substitute", "false"]
        if os.geteuid() == 0 and self.build_users_group and not self.has_build_users:
            found += ["--option", "build-users-group", ""]
        return tuple(found)

    @property
    def has_build_users(self) -> bool:
        """Whether other users build where root asks: they may not enter a folder of ours."""
        return bool(self.build_users_group) and _is_group(self.build_users_group)


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
    """Raises EngineMissing where Nix is missing or does not answer."""
    if shutil.which("nix-build") is None:
        raise EngineMissing("no nix-build is on the PATH", tip=GETTING_NIX)
    said = processes.run(["nix-build", "--version"], timeout=NIX_QUERY_SECONDS)
    for words in (("show-config",), ("config", "show")):  # its name before Nix 2.20, and since then
        argv = ["nix", "--extra-experimental-features", "nix-command", *words, "--json"]
        done = processes.run(argv, timeout=NIX_QUERY_SECONDS)
        with suppress(ValueError, KeyError, TypeError, IndexError):  # the last: it was ended before it said a version
            read = read_json(done.stdout)
            return Settings(
                version=said.stdout.split()[-1],
                sandbox=read["sandbox"]["value"] is True,
                substituters=tuple(read["substituters"]["value"]) if read["substitute"]["value"] else (),
                build_users_group=str(read["build-users-group"]["value"]),
            )
    why = (done if said.ok else said).tail.strip() or "it says nothing"
    raise EngineMissing(f"Nix does not report its settings: {why}", tip="try `nix show-config`; " + GETTING_NIX)


class NixStore:
    """Raises EngineMissing where Nix is missing, its daemon is not running, or its store is elsewhere."""

    def __init__(self) -> None:
        self._options = settings().options
        self.missing((f"{STORE}/00000000000000000000000000000000-nothing",))  # raises where Nix does not answer

    def missing(self, paths: Sequence[str]) -> set[str]:
        """The paths that the store does not have."""
        if not paths:
            return set()
        done = self._run("nix-store", "--check-validity", "--print-invalid", *paths)
        if not done.ok:
            raise nix_failure(done, "cannot ask the Nix store")
        return set(done.stdout.split())

    def add(self, *paths: Path) -> list[str]:
        """Adds files, or one folder, to the store. Returns their paths. Raises DiskFull, StoreUnusable."""
        recursive = ("--recursive",) if paths[0].is_dir() else ()
        done = self._run("nix-store", "--add-fixed", *recursive, "sha256", *map(str, paths), seconds=NIX_BUILD_SECONDS)
        if not done.ok:
            names = ", ".join(path.name for path in paths)
            raise nix_failure(done, f"cannot put {names} into the Nix store")
        return done.stdout.split()

    def hold(self, paths: Sequence[str], link: Path) -> None:
        """Adds garbage collector roots for paths: `link`, and links with numbers after it. Raises InputLacking."""
        done = self._run("nix-store", "--realise", *paths, "--add-root", str(link), "--indirect")
        if not done.ok:
            error = nix_failure(done, "cannot keep the inputs of a build")
            if self.missing(paths):  # Nix 2.8 says no more than `build of … failed` where one goes while it looks
                raise InputLacking(str(error), tip="run again: the missing files are added")
            raise error

    def build(self, target: NixTarget, temporary: Path, root: Path | None = None) -> None:
        """Builds a target in a folder below `temporary`, and adds the garbage collector root `root` for it.

        Raises InputLacking, ImageFault, DiskFull, StoreUnusable.
        """
        link = ("--out-link", str(root)) if root else ("--no-out-link",)
        done = self._build(target, temporary, *link)
        if not done.ok:
            raise nix_failure(done, f"cannot build {target.attribute}")

    def check(self, target: NixTarget, temporary: Path) -> str:
        """Builds a target again. Returns how it differs from the store; empty: it is the same.

        Raises InputLacking, DiskFull, StoreUnusable.
        """
        done = self._build(target, temporary, "--no-out-link", "--check")
        if done.ok:
            return ""
        error = nix_failure(done, f"cannot build {target.attribute} again")
        if isinstance(error, ImageFault):
            return str(error)
        raise error

    def changed(self, paths: Iterable[str]) -> str:
        """The paths whose bytes on the disk have changed, and the commands to repair them; empty: none. Reads every
        byte."""
        done = ((path, self._run("nix-store", "--verify-path", path, seconds=NIX_BUILD_SECONDS)) for path in paths)
        bad = ((path, _last(each)) for path, each in done if not each.ok)
        return "; ".join(
            f"{said or f'{path}: Nix did not say whether it is whole;'} nix-store --repair-path {path} builds it again"
            for path, said in bad
        )

    def repair(self, path: str) -> None:
        """Lets Nix build or fetch a changed path again. Only its owner and trusted users may; a path that was added as
        it is cannot be built. `changed` says whether it helped."""
        self._run("nix-store", "--repair-path", path, seconds=NIX_BUILD_SECONDS)

    def closure(self, *paths: str | Path) -> dict[str, StorePath]:
        """The paths and all that they refer to, by path; one query if `paths` is complete."""
        found = self._known(map(str, paths))
        while lacking := {path for each in found.values() for path in each.references} - found.keys():
            found |= self._known(sorted(lacking))
        return found

    def delete(self, paths: Iterable[str]) -> int:
        """Removes those of these paths that no root keeps, with all paths that refer to them, such as a `bin` that an
        older version of this project built. Returns the removed bytes (as NARs)."""
        dead = set(self._run("nix-store", "--gc", "--print-dead").stdout.split())
        if not (wanted := [path for path in dict.fromkeys(paths) if path in dead]):
            return 0
        going = list(dict.fromkeys(self._run("nix-store", "--query", "--referrers-closure", *wanted).stdout.split()))
        unfinished = self.missing(going)  # a killed build leaves paths that are not in the database
        known = self._known(path for path in going if path not in unfinished)
        self._run("nix-store", "--delete", *going, seconds=NIX_BUILD_SECONDS)
        return sum(known[path].size for path in self.missing(list(known)))

    def _known(self, paths: Iterable[str]) -> dict[str, StorePath]:
        """The rows of the store's database for paths that exist."""
        if not (every := list(dict.fromkeys(paths))):
            return {}  # without a path Nix would list the whole store
        done = self._run("nix-store", "--dump-db", *every)
        if not done.ok:
            raise nix_failure(done, "cannot read the database of the Nix store")
        return {each.path: each for each in parse_registrations(done.stdout)}

    def _build(self, target: NixTarget, temporary: Path, *more: str) -> Completed:
        """Nix makes a folder for each build, and one that is killed leaves it: below `temporary` it is ours to
        remove."""
        argv = ["nix-build", *self._options, *target.words, *more]
        own = {} if settings().has_build_users else {"TMPDIR": str(temporary)}
        return processes.run(argv, timeout=NIX_BUILD_SECONDS, env={**os.environ, **own})

    def _run(self, *argv: str, seconds: float = NIX_QUERY_SECONDS) -> Completed:
        return processes.run([argv[0], *self._options, *argv[1:]], timeout=seconds)


SAID: tuple[tuple[tuple[str, ...], type[MatrixError], str, str], ...] = (
    (
        ("No space left on device", "disk is full", "no space left to unpack"),  # the system, SQLite, the builder
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
        # environments.nix says the first of a file, Nix the others of a path
        ("is not in the Nix store: put it there", "no substituter that can build it", "don't know how to build"),
        InputLacking,
        "",
        "run again: the missing files are added",
    ),
    (("hash mismatch",), ImageFault, "it is not what images/nix says: ", "nox -s lock shows what has changed"),
    (
        ("Permission denied", "Read-only file system", "Operation not permitted", "remounting"),
        StoreUnusable,
        f"{STORE} cannot be written: ",
        "run as its owner, or start the daemon of Nix",
    ),
)
"""(texts in Nix's output, error, its meaning, what to do); the first that fits counts."""


def _last(done: Completed) -> str:
    return next(reversed(done.tail.strip().splitlines()), "")


TRACEBACK = re.compile(r"^([ >]*)Traceback \(most recent call last\):\n(?:\1[ \t].*\n)*", re.M)
"""Of a builder, as it is printed at once or quoted from the log; the line of the exception is not in it."""
FROM_OUTSIDE = re.compile(
    r"interrupted by the user|unexpected (?:EOF|end-of-file)"
    r"|builder for .* failed (?:due to signal|with exit code 130\b)"
)
"""Nix or a builder was ended by a signal, a builder also before it said its first word. Python as the first process of
a sandbox ends with 130 for SIGINT."""


def nix_failure(done: Completed, what: str) -> MatrixError:
    """The error for a failed command of Nix."""
    lines = [line.strip() for line in done.output.splitlines() if "warning:" not in line]
    last = "; ".join(lines[-3:]) or f"exit code {done.exit_code}"
    for words, kind, meaning, tip in SAID:
        if any(word in done.output for word in words):
            return kind(f"{what}: {meaning}{last}", tip=tip)
    calm = replace(done, stdout=TRACEBACK.sub("", done.stdout), stderr=TRACEBACK.sub("", done.stderr))
    plain = processes.failure(calm, what)
    if FROM_OUTSIDE.search(done.output):
        return ProgramKilled(str(plain), tip="run the same command again")
    if "builder for" in done.output:
        return ImageFault(str(plain), tip="the whole log: nix-store --read-log, and that .drv")
    return plain
