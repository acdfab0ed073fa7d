"""The seam to the package index: which releases exist, what a lock is made of, the installation of a lock.

Everything goes through uv and pip, two ordinary clients, so no address is typed here. uv reads none of pip's settings,
so they are read from pip's files and PIP_* variables and translated; what the user told uv itself is left alone.
What the clients say is classified by its text: their exit codes do not tell a missing wheel from a closed index.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matrix.core import processes
from matrix.core.errors import (
    DiskFull,
    EngineMissing,
    HashMismatch,
    IndexUnreachable,
    MatrixError,
    NotInstallable,
    ResolutionRefused,
)
from matrix.core.processes import Completed
from matrix.core.records import Lock
from matrix.environments.interpreters import running, uv_binary
from matrix.plan.locks import variant_of

RESOLVE_SECONDS = 300.0

INSTALL_SECONDS = 3600.0

ASK_SECONDS = 120.0

SYSTEM_WIDE = Path("/etc/pip.conf")

INDEX_TIP = (
    "check the network and the index that pip or uv is set to (`python -m pip config list`, PIP_INDEX_URL, "
    "UV_DEFAULT_INDEX); what is cached still works with --offline"
)

FROM_PIP = {
    "index-url": (("UV_DEFAULT_INDEX", "UV_INDEX_URL"), "UV_DEFAULT_INDEX"),
    "extra-index-url": (("UV_INDEX", "UV_EXTRA_INDEX_URL"), "UV_INDEX"),
    "trusted-host": (("UV_INSECURE_HOST",), "UV_INSECURE_HOST"),
    "cert": (("SSL_CERT_FILE",), "SSL_CERT_FILE"),
    "client-cert": (("SSL_CLIENT_CERT",), "SSL_CLIENT_CERT"),
    "timeout": (("UV_HTTP_TIMEOUT", "UV_REQUEST_TIMEOUT", "HTTP_TIMEOUT"), "UV_HTTP_TIMEOUT"),
    "retries": (("UV_HTTP_RETRIES",), "UV_HTTP_RETRIES"),
    "proxy": (("ALL_PROXY", "HTTPS_PROXY", "https_proxy", "all_proxy"), "ALL_PROXY"),
}
"""pip's setting -> (variables with which the user has already said it to uv, the variable that says it)."""

DECIDED_HERE = (
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "UV_SYSTEM_PYTHON",
    "UV_PYTHON",
    "UV_COMPILE_BYTECODE",
    "UV_TORCH_BACKEND",
    "PYTHONHOME",
    "PYTHONPATH",
)
"""Variables that would aim uv at another environment than the one asked for, or at another variant of torch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageIndex:
    """The index as this machine is set to use it. `environment` is the whole environment of the clients."""

    environment: Mapping[str, str]
    options: tuple[str, ...] = ()
    offline: bool = False

    def releases(self, package: str, *, pythons: Sequence[str]) -> list[str]:
        """The final releases with a wheel for one of `pythons` (`3.11`), newest first as pip says them.

        pip only lists what fits one Python, so each is asked. Raises IndexUnreachable when there is none at all.
        """
        from concurrent.futures import ThreadPoolExecutor

        from packaging.version import Version

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda python: self._releases(package, python), pythons))
        found = {version for answer in answers for version in answer}
        if not found:
            raise IndexUnreachable(f"the index offers no release of {package}", tip=INDEX_TIP)
        return sorted((version for version in found if not Version(version).is_prerelease), key=Version, reverse=True)

    def _releases(self, package: str, python: str) -> list[str]:
        """One question to pip, whose address of the default index is then used too."""
        words = ["index", "versions", package, "--python-version", python, "--only-binary", ":all:"]
        return versions_in(self._pip([*words, "--disable-pip-version-check"], timeout=ASK_SECONDS))

    def _pip(self, words: Sequence[str], *, timeout: float) -> Completed:
        """One call of some pip of this machine, on the same index as uv."""
        env = dict(self.environment)
        if set_for_uv := env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL"):
            env.setdefault("PIP_INDEX_URL", set_for_uv)
        for pip in self._pips():
            done = processes.run([*pip, *words], timeout=timeout, env=env)
            if "No module named pip" not in done.output:
                return done
        raise EngineMissing("no pip on this machine", tip="install it: python -m ensurepip")

    def _pips(self) -> Iterator[list[str]]:
        from importlib.util import find_spec

        if find_spec("pip"):
            yield [sys.executable, "-m", "pip"]
        else:
            yield [str(running().path), "-m", "pip"]
        yield [uv_binary(), "tool", "run", "--quiet", "pip"]

    def resolve(
        self, requirements: Sequence[str], *, lowest_python: str, variant: str = "cuda", previous: str = ""
    ) -> str:
        """A lock's text, without its header: every wheel for every Python from `lowest_python` on, with its hashes.

        Versions of the `previous` text are kept where they still fit, so that a new numpy does not change all locks.
        Raises ResolutionRefused, IndexUnreachable, DiskFull or MatrixError.
        """
        import tempfile

        with tempfile.TemporaryDirectory(prefix="lock-") as scratch:
            folder = Path(scratch)
            wanted, lock = folder / "requirements.in", folder / "lock.txt"
            wanted.write_text("\n".join(requirements) + "\n", encoding="utf-8")
            lock.write_text(without_hashes(previous), encoding="utf-8")
            argv = [uv_binary(), "pip", "compile", wanted.name, "--output-file", lock.name]
            argv += ["--universal", "--generate-hashes", "--no-build", "--no-header", "--no-annotate", "--no-config"]
            argv += ["--python", str(running().path), "--python-version", lowest_python]
            done = self._uv(argv, variant, RESOLVE_SECONDS, folder)
            what = "cannot resolve " + " ".join(requirements)
            if not done.ok:
                try:
                    raise classified(done, what=what, where="the requirements")
                except NotInstallable as refused:
                    raise ResolutionRefused(f"{what}: {refused.reason}", tip=refused.reason) from None
            if yanked := yanked_in(done.stderr, requirements):
                raise ResolutionRefused(f"{what}: {yanked}", tip=yanked)
            return lock.read_text(encoding="utf-8")

    def install(self, root: Path, lock: Lock) -> None:
        """Put exactly the wheels of a lock into the virtual environment at `root`; nothing is built or byte-compiled.

        Raises NotInstallable, IndexUnreachable, HashMismatch, DiskFull or MatrixError.
        """
        argv = [uv_binary(), "pip", "sync", str(lock.path.resolve()), "--require-hashes", "--no-build", "--no-config"]
        argv += ["--no-compile-bytecode", "--python", str(root / "bin" / "python")]
        done = self._uv(argv, variant_of(lock), INSTALL_SECONDS, root)
        if not done.ok:
            raise classified(done, what=f"cannot install {lock.name}", where=f"{lock.name}.txt")

    def download(self, wanted: Path, *, python: str, machine: str, glibc: str, folder: Path) -> None:
        """Put the wheels of a requirements file into `folder`, for a Python (`3.11`) and a C library (`2.36`)
        on a machine: pip does it, uv has no such command.

        Raises NotInstallable, IndexUnreachable, HashMismatch, DiskFull or MatrixError.
        """
        newest = int(glibc.partition(".")[2])
        platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 4, -1)]
        platforms += [f"{name}_{machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1")]
        words = ["download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--no-cache-dir"]
        words += ["--python-version", python, "--implementation", "cp", "--abi", f"cp{python.replace('.', '')}"]
        words += ["--abi", "abi3", "--abi", "none"]
        words += [f"--platform={platform}" for platform in platforms]
        words += ["--requirement", str(wanted), "--dest", str(folder), "--disable-pip-version-check"]
        done = self._pip(words, timeout=INSTALL_SECONDS)
        if not done.ok:
            none = NO_WHEEL.search(done.output)
            if none and not UNREACHABLE.search(done.output):
                raise NotInstallable(f"{none['what']} has no wheel for Python {python} on {machine}")
            raise classified(done, what=f"cannot fetch wheels for Python {python} on {machine}", where=wanted.name)

    def venv(self, root: Path, python: Path) -> None:
        """An empty virtual environment at `root`, which may be moved afterwards. Raises DiskFull or MatrixError."""
        argv = [uv_binary(), "venv", str(root), "--python", str(python), "--relocatable"]
        argv += ["--no-project", "--no-config", "--no-python-downloads"]
        done = processes.run(argv, timeout=ASK_SECONDS, env=self.environment, cwd=root.parent)
        if not done.ok:
            raise classified(done, what=f"cannot make a virtual environment of {python}", where="uv venv")

    def answers(self, package: str, *, timeout: float) -> Completed:
        """One real, uncached question about a package."""
        import tempfile

        with tempfile.TemporaryDirectory(prefix="ask-") as scratch:
            argv = [uv_binary(), "pip", "compile", "-", "--no-deps", "--no-header", "--no-config", "--quiet"]
            argv += ["--python", str(running().path), "--no-cache", *self.options]
            env = {**self.environment, "UV_HTTP_RETRIES": "0"}
            return processes.run(argv, timeout=timeout, env=env, cwd=Path(scratch), stdin=package)

    def _uv(self, argv: list[str], variant: str, timeout: float, cwd: Path) -> Completed:
        backend = ["--torch-backend=cpu"] if variant == "cpu" else []
        offline = ["--offline"] if self.offline else []
        return processes.run([*argv, *self.options, *backend, *offline], timeout=timeout, env=self.environment, cwd=cwd)


def configured(environ: Mapping[str, str] = os.environ, *, offline: bool = False) -> PackageIndex:
    """The index that this machine's pip and uv are set to. Starts no process."""
    settings = pip_settings(environ)
    environment = {name: value for name, value in environ.items() if name not in DECIDED_HERE}
    environment |= translated(settings, environ)
    no_index = settings.get("no-index", "").lower() in ("1", "true", "yes", "on")
    return PackageIndex(environment=environment, options=("--no-index",) if no_index else (), offline=offline)


def pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """pip's settings, by the long option's name. Later ones win: global, user, site, PIP_CONFIG_FILE, PIP_*.

    As pip documents it under "Configuration files"; pip itself is not started, it costs half a second.
    """
    import configparser

    settings: dict[str, str] = {}
    for path in pip_files(environ):
        parser = configparser.RawConfigParser()
        with contextlib.suppress(OSError, configparser.Error, UnicodeDecodeError):
            parser.read(path, encoding="utf-8")
        for section in ("global", "install"):
            if parser.has_section(section):
                settings.update({_setting(name): value for name, value in parser.items(section)})
    for name, value in environ.items():
        if name.startswith("PIP_") and name not in ("PIP_CONFIG_FILE",) and value:
            settings[_setting(name.removeprefix("PIP_"))] = value
    return settings


def _setting(name: str) -> str:
    plain = name.strip().lower().replace("_", "-").removeprefix("--")
    return "timeout" if plain == "default-timeout" else plain


def pip_files(environ: Mapping[str, str]) -> list[Path]:
    """pip's configuration files on Linux, in the order in which they are read. They need not exist."""
    chosen = environ.get("PIP_CONFIG_FILE", "")
    if chosen == os.devnull:
        return []
    home = Path(environ.get("HOME") or "~").expanduser()
    shared = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    files = [Path(folder) / "pip" / "pip.conf" for folder in reversed(shared) if folder]
    files.append(SYSTEM_WIDE)
    if not (chosen and Path(chosen).exists()):
        files.append(home / ".pip" / "pip.conf")
        files.append(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf")
    files.append(Path(sys.prefix) / "pip.conf")
    return [*files, Path(chosen)] if chosen else files


def translated(settings: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """pip's settings as variables for uv. What the user has said to uv is not repeated or overridden."""
    variables = {}
    for name, (said, variable) in FROM_PIP.items():
        value = " ".join(settings.get(name, "").split())
        if value and not any(environ.get(other) for other in said):
            variables[variable] = value
    if "UV_INDEX" in variables and not environ.get("UV_INDEX_STRATEGY"):
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # pip takes the best version of all its indexes
    if "UV_HTTP_TIMEOUT" in variables:  # pip takes 2.5, uv whole seconds only
        variables["UV_HTTP_TIMEOUT"] = _whole_seconds(variables["UV_HTTP_TIMEOUT"])
    links = [place for place in settings.get("find-links", "").split() if "://" in place or Path(place).exists()]
    if links and not environ.get("UV_FIND_LINKS"):
        variables["UV_FIND_LINKS"] = ",".join(links)
    return variables


def _whole_seconds(text: str) -> str:
    try:
        return str(max(1, round(float(text))))
    except ValueError:
        return "30"


def versions_in(asked: Completed) -> list[str]:
    """The versions that `pip index versions` printed, none where it knows no such package. Raises IndexUnreachable."""
    for line in asked.stdout.splitlines():
        if line.startswith("Available versions:"):
            return [word.strip() for word in line.partition(":")[2].split(",") if word.strip()]
    if asked.timed_out or UNREACHABLE.search(asked.output):
        raise IndexUnreachable(f"the package index does not answer: {_gist(asked.output)}", tip=INDEX_TIP)
    if "No matching distribution found" in asked.output:
        return []
    raise processes.failure(asked, "cannot ask the package index")


def without_hashes(text: str) -> str:
    """A lock's requirements alone. Given to uv as a preference; its hashes would be believed even where wrong."""
    kept = (line.rstrip(" \\") for line in text.splitlines() if not line.lstrip().startswith(("#", "--hash")))
    return "".join(line + "\n" for line in kept if line)


def yanked_in(warnings: str, requirements: Sequence[str]) -> str:
    """The reason if one of the asked requirements was withdrawn from the index, else nothing."""
    for match in YANKED.finditer(warnings):
        if match["what"] in requirements:
            return f"{match['what']} was yanked from the index" + (f": {match['why']}" if match["why"] else "")
    return ""


YANKED = re.compile(r"^warning: `?(?P<what>[^`\s]+)`? is yanked(?: \(reason: \"(?P<why>.*)\"\))?", re.MULTILINE)

FULL = re.compile(r"No space left on device|os error 28|Disk quota exceeded")

MISMATCH = re.compile(r"Hash mismatch for `(?P<what>[^`]+)`")

NO_HASH = re.compile(r"In `--require-hashes` mode, .*|.*contains no hash.*", re.IGNORECASE)

OFFLINE = re.compile(r"network (?:connectivity )?(?:was|is) disabled|was(?: not|n't) found in the cache", re.IGNORECASE)

UNREACHABLE = re.compile(
    r"Request failed after|error sending request|tcp connect error|dns error|Could not connect|Failed to fetch"
    r"|HTTP status (?:client|server) error|operation timed out|connection broken by|Could not fetch URL"
    r"|was not found in the package registry|could not be queried due to|\b(?:401|403|407) (?:Client Error|Forbidden)",
    re.IGNORECASE,
)

REFUSED = re.compile(
    r"No solution found|has no wheels with a matching|marked as `--no-build` but has no binary distribution"
    r"|does(?:n't| not) have a (?:source distribution or )?wheel for the current platform|has no usable wheels"
)

NO_WHEEL = re.compile(r"No matching distribution found for (?P<what>\S+)")
"""What pip says where a release has no wheel that fits; also where it could not ask."""


def classified(done: Completed, *, what: str, where: str) -> Exception:
    """The exception that a failed uv command means. `what` could not be done, `where` are the requirements.

    The order matters: a resolver that could not reach the index also says "No solution found".
    """
    said = done.output
    error: Exception = processes.failure(done, what)
    if FULL.search(said):
        error = DiskFull(f"{what}: no space left on the disk", tip="free some space, or give another --store; `doctor`")
    elif mismatch := MISMATCH.search(said):
        error = HashMismatch(
            f"{what}: the wheel of {mismatch['what']} is not the one that {where} names",
            tip="if the index replaced it, look at it, then lock anew: nox -s lock; if not, do not use this index",
        )
    elif OFFLINE.search(said):
        error = IndexUnreachable(f"{what}: not in the cache, and the network is off", tip="run once without --offline")
    elif UNREACHABLE.search(said):
        error = IndexUnreachable(f"{what}: the package index does not answer: {_gist(said)}", tip=INDEX_TIP)
    elif REFUSED.search(said):
        error = NotInstallable(reason_in(said))
    elif done.timed_out:
        error = IndexUnreachable(f"{what}: no end after {done.seconds:.0f} s", tip=INDEX_TIP)
    return error


ASKED = re.compile(r"(?P<why>.*) and you require (?P<what>.+)$")


def reason_in(said: str) -> str:
    """Why the resolver refuses, in one line without the logic around it."""
    text = re.sub(r"[\u00d7\u2500-\u257f\u25b6]+", " ", said)  # uv before 0.12 draws a tree
    start = re.search(r"\bBecause\b", text)
    body = text[start.end() :] if start else text
    body = re.split(r"\n\s*\n|\n\s*hint:", body)[0]
    line = " ".join(body.split())
    line = re.sub(r",? we can conclude that your requirements are unsat.*$", "", line)
    if (asked := ASKED.match(line)) and asked["what"] in asked["why"]:
        line = asked["why"]
    line = re.sub(r", we can conclude that (\S+) cannot be used\. And because you require \1$", "", line)
    line = re.sub(r"^error: ", "", line)
    return line.rstrip(".") if len(line) <= 400 else line[:397] + "..."


def _gist(said: str) -> str:
    """The line of the output that names the trouble, without addresses: they may hold a password."""
    lines = [line.strip() for line in said.splitlines() if UNREACHABLE.search(line)]
    last = [line.strip().removeprefix("cause: ") for line in said.splitlines() if line.strip().startswith("cause: ")]
    line = (last or lines or ["no answer"])[-1]
    return re.sub(r"\w+://\S+", "<address>", line)[:200]


def refusal_of(error: MatrixError) -> str:
    """The one-line reason of a ResolutionRefused."""
    return error.tip
