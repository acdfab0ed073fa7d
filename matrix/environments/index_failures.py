"""Failures of pip and uv as errors of this project, classified by the text of their output.

The exit codes do not tell a missing wheel from an index that does not answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from matrix.core import processes
from matrix.core.errors import DiskFull, HashMismatch, IndexUnreachable, NotInstallable, PackageUnknown
from matrix.core.processes import Completed

INDEX_TIP = (
    "check the network and the configured index (`python -m pip config list`, PIP_INDEX_URL, "
    "UV_DEFAULT_INDEX); with UV_OFFLINE=1 what is cached still works"
)

YANKED = re.compile(r"^warning: `?(?P<what>[^`\s]+)`? is yanked(?: \(reason: \"(?P<why>.*)\"\))?", re.MULTILINE)

FULL = re.compile(r"No space left on device|os error 28|Disk quota exceeded")

MISMATCH = re.compile(r"Hash mismatch for `(?P<what>[^`]+)`")

BAD_ARCHIVE = re.compile(r"Failed to extract archive: (?P<what>\S+)")
"""uv unpacks a wheel while it comes, and may find that it is none before it knows its hash."""

OFFLINE = re.compile(r"network (?:connectivity )?(?:was|is) disabled|was(?: not|n't) found in the cache", re.IGNORECASE)

UNREACHABLE = re.compile(
    r"Request failed after|error sending request|tcp connect error|dns error|Could not connect|Failed to fetch"
    r"|error reading a body|end of file before message length"
    r"|HTTP status (?:client|server) error|operation timed out|connection broken by|Could not fetch URL"
    r"|was not found in the package registry|could not be queried due to|\b(?:401|403|407) (?:Client Error|Forbidden)",
    re.IGNORECASE,
)

UNKNOWN = re.compile(r"\b(?P<what>[A-Za-z0-9][\w.-]{0,200}) was not found in the package registry")
"""uv says this of a misspelled package, and also where an index answers everything so."""

RESOLVER_REFUSED = re.compile(
    r"No solution found|has no wheels with a matching|marked as `--no-build` but has no binary distribution"
    r"|does(?:n't| not) have a (?:source distribution or )?wheel for the current platform|has no usable wheels"
)

NO_WHEEL = re.compile(r"No matching distribution found for (?P<what>\S+)")
"""pip says this of a release without a wheel that fits, and also where the index did not answer."""

TORN = re.compile(r"^error: Failed to install: \S+ \((?P<what>[^=]+)==", re.MULTILINE)
"""uv says this of a wheel in its cache that lost a file that it needs."""

RETRIED = re.compile(r"connection broken by '.*?[>)]: (?P<why>[^'\"]+)")
"""pip's line: the cause stands behind its object, `<…>`, or since pip 26 behind its host and port, `(…)`."""

ASKED = re.compile(r"(?P<why>.*) and you require (?P<what>.+)$")


def torn_in_cache(done: Completed) -> str:
    """The package that uv could not install although it was fetched; empty: none, or the disk is full."""
    found = TORN.search(done.output)
    return found["what"] if found and not done.ok and not FULL.search(done.output) else ""


def versions_in(asked: Completed) -> list[str]:
    """The versions that `pip index versions` printed; none for an unknown package. Raises IndexUnreachable."""
    for line in asked.stdout.splitlines():
        if line.startswith("Available versions:"):
            return [word.strip() for word in line.partition(":")[2].split(",") if word.strip()]
    if asked.timed_out or UNREACHABLE.search(asked.output):
        raise IndexUnreachable(f"the package index does not answer: {cause_in(asked.output)}", tip=INDEX_TIP)
    if "No matching distribution found" in asked.output:
        return []
    raise processes.failure(asked, "cannot ask the package index")


def without_wheel(said: str) -> str:
    """The release for which `pip download` found no wheel; empty for any other failure."""
    missing = NO_WHEEL.search(said)
    return missing["what"] if missing and not UNREACHABLE.search(said) else ""


def yanked_in(warnings: str, requirements: Sequence[str]) -> str:
    """The reason, if one of the requirements was yanked from the index; else empty."""
    for match in YANKED.finditer(warnings):
        if match["what"] in requirements:
            return f"{match['what']} was yanked from the index" + (f": {match['why']}" if match["why"] else "")
    return ""


def classify_failure(done: Completed, *, what: str, where: str) -> Exception:
    """The exception for a failed command. `what` could not be done; `where` names the requirements.

    The order matters: a resolver that cannot reach the index also says "No solution found".
    """
    said = done.output
    error: Exception = processes.failure(done, what)
    if FULL.search(said):
        error = DiskFull(f"{what}: no space left on the disk", tip="free some space, or give another --store; `doctor`")
    elif mismatch := MISMATCH.search(said):
        error = HashMismatch(
            f"{what}: the wheel of {mismatch['what']} is not the one that {where} names",
            tip="if the index replaced the wheel, check it and lock again (nox -s lock); if not, do not use this index",
        )
    elif OFFLINE.search(said):
        error = IndexUnreachable(
            f"{what}: not in the cache, and the network is off", tip="unset UV_OFFLINE for one run"
        )
    elif unknown := UNKNOWN.search(said):
        error = PackageUnknown(
            f"{what}: the package index has no package {unknown['what']}", tip=INDEX_TIP, package=unknown["what"]
        )
    elif UNREACHABLE.search(said):
        error = IndexUnreachable(f"{what}: the package index does not answer: {cause_in(said)}", tip=INDEX_TIP)
    elif bad := BAD_ARCHIVE.search(said):
        error = HashMismatch(
            f"{what}: {bad['what']} is no whole wheel: {cause_in(said)}",
            tip=f"the index, or what is between it and this machine, sends other bytes than {where} names: run again, "
            "or use another index",
        )
    elif RESOLVER_REFUSED.search(said):
        error = NotInstallable(reason_in(said))
    elif done.timed_out:
        error = IndexUnreachable(f"{what}: no end after {done.seconds:.0f} s", tip=INDEX_TIP)
    return error


def reason_in(said: str) -> str:
    """Why the resolver refuses, in one line, without its chain of reasoning."""
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


def cause_in(said: str) -> str:
    """The line of the output with the cause, without addresses: they may hold a password."""
    lines = [line.strip() for line in said.splitlines() if UNREACHABLE.search(line)]
    last = [line.strip().removeprefix("cause: ") for line in said.splitlines() if line.strip().startswith("cause: ")]
    line = (last or lines or ["no answer"])[-1]
    if retried := RETRIED.search(line):
        line = retried["why"]
    return re.sub(r"\w+://\S+", "<address>", line)[:200]
